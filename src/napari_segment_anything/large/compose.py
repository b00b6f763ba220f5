"""The labels of a chunk, from the tiles that see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import TileGrid
from .ledger import TileResult
from .runners import Turns
from .stitching import Stitched
from .tiles import TileJob, writing


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPlan:
    """Whose objects to draw in a chunk.

    Parameters
    ----------
    index : int
        The tile whose core is the chunk.
    sources : tuple of (int, uint32 array, uint32 array)
        Tiles that see it: final ids and ranks of their objects, background first.
    """

    index: int
    sources: tuple[tuple[int, NDArray[np.uint32], NDArray[np.uint32]], ...]


def plan_chunk(grid: TileGrid, stitched: Stitched, index: int) -> ChunkPlan:
    """Collect what a chunk needs of the outcome of stitching.

    Parameters
    ----------
    grid : TileGrid
    stitched : Stitched
    index : int
        The tile whose core is the chunk.
    """
    sources = []
    core = grid.core(index)
    for tile in sorted((index, *grid.neighbours(index))):
        span = stitched.of(tile)
        if span.start == span.stop or core.intersection(grid.window(tile)) is None:
            continue
        label = stitched.label[span]
        if label.any():
            zero = np.zeros(1, np.uint32)
            sources.append(
                (
                    tile,
                    np.concatenate([zero, label]),
                    np.concatenate([zero, np.where(label > 0, stitched.rank[span], 0)]).astype(
                        np.uint32
                    ),
                )
            )
    return ChunkPlan(index, tuple(sources))


def draw(grid: TileGrid, plan: ChunkPlan, results: dict[int, TileResult]) -> NDArray[np.uint32]:
    """Draw a chunk: every pixel belongs to the best ranked object that claims it.

    Parameters
    ----------
    grid : TileGrid
    plan : ChunkPlan
    results : dict of int to TileResult
        Of the tiles in `plan.sources`.

    Returns
    -------
    uint32 array (rows, columns)
    """
    core = grid.core(plan.index)
    out = np.zeros(core.shape, np.uint32)
    best = np.zeros(core.shape, np.uint32)
    for tile, label, rank in plan.sources:
        window = grid.window(tile)
        common = core.intersection(window)
        if common is None:
            continue
        local = results[tile].labels[common.slices_in(window)]
        there = common.slices_in(core)
        claim = rank[local]
        wins = claim > best[there]
        best[there][wins] = claim[wins]
        out[there][wins] = label[local][wins]
    return out


def compose_chunk(
    job: TileJob, plan: ChunkPlan, turns: Turns
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write the final labels of a chunk.

    Parameters
    ----------
    job : TileJob
    plan : ChunkPlan
    turns : Turns
        Not waited for, as this takes little processor time.

    Returns
    -------
    ids, areas : int64 array
        The ids in it, and pixels of each.
    """
    turns.check()
    grid, ledger = job.tiles.grid, job.ledger
    results = {tile: ledger.get(tile) for tile, _, _ in plan.sources}
    labels = draw(grid, plan, results)
    ids, areas = _counted(labels)
    array: Any = ledger.labels.array
    with writing(ledger.labels.path):
        array[(*grid.plane(plan.index), *grid.core(plan.index).slices)] = labels.astype(array.dtype)
    return ids, areas


def _counted(labels: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids in a label image, ascending, and pixels of each; ids lie close together."""
    below = int(labels[labels > 0].min(initial=np.iinfo(labels.dtype).max)) - 1
    counts = np.bincount(np.maximum(labels, below).ravel() - np.uint32(below))
    counts[0] = 0
    found = np.flatnonzero(counts)
    return found + below, counts[found]
