"""A function in place of a model, and runs whose tiles were segmented without fault."""

from __future__ import annotations

import os
import time

import numpy as np
from scipy import ndimage

from napari_segment_anything.engine import Window
from napari_segment_anything.formats.ome_zarr import create_labels
from napari_segment_anything.large.compose import draw, plan_chunk
from napari_segment_anything.large.grid import TileGrid
from napari_segment_anything.large.ledger import Ledger, TileResult, TileStatus
from napari_segment_anything.large.runners import ThreadRunner
from napari_segment_anything.large.segmenting import WindowObjects
from napari_segment_anything.large.stitching import Stitched, stitch
from napari_segment_anything.large.tiles import measure
from napari_segment_anything.progress import finish


def bright_objects(pixels):
    """What is bright and connected, in place of a model; the larger, the better the score."""
    time.sleep(float(os.environ.get("SECONDS_PER_TILE", "0")))
    smooth = ndimage.gaussian_filter(pixels[..., 0].astype(np.float32), 2)
    labels, count = ndimage.label(smooth > 110)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return labels, 1 - 1 / (1 + areas)


def tile_result(labels, grid, index, scores=None) -> TileResult:
    """What a tile would keep of a label image of its window."""
    ids = np.unique(labels[labels > 0])
    n = len(ids)
    local = np.zeros(int(labels.max(initial=0)) + 1, np.uint16)
    local[ids] = np.arange(1, n + 1)
    known = np.resize(np.asarray(0.9 if scores is None else scores, np.float32), n)
    return measure(WindowObjects(local[labels], known, np.full(n, 0.95, np.float32)), grid, index)


def begun(path, shape, tile, overlap, region=None, planes=()):
    """A new run over an image of a shape."""
    grid = TileGrid.over(shape, planes, tile, overlap, region)
    axes = "TZYX"[-2 - len(planes) :]
    labels = create_labels(
        path, "x", shape=(*planes, *shape), axes=axes,
        chunks=(*(1 for _ in planes), grid.stride, grid.stride),
    )  # fmt: skip
    return grid, Ledger.create(labels, grid, {})


def put(ledger, index, result) -> None:
    ledger.put(index, result)
    ledger.set_status(ledger.grid.place(index), TileStatus.DONE)


def stitched_labels(ledger) -> tuple[np.ndarray, Stitched]:
    """Stitch and draw all chunks: (planes, rows, columns) or (rows, columns)."""
    grid = ledger.grid
    outcome = finish(stitch(ledger, ThreadRunner(1)))
    out = np.zeros((*grid.planes, *grid.shape), np.uint32)
    for index in range(len(grid)):
        plan = plan_chunk(grid, outcome, index)
        results = {tile: ledger.get(tile) for tile, _, _ in plan.sources}
        core = grid.core(index)
        out[(*grid.plane(index), *core.slices)] = draw(grid, plan, results)
    return out, outcome


def pieces(truth, window: Window) -> np.ndarray:
    """The truth in a window, every connected piece of an object with an id of its own."""
    cut = truth[window.slices]
    out, count = np.zeros(cut.shape, np.int64), 0
    for label, spans in enumerate(ndimage.find_objects(cut), 1):
        if spans is not None:
            part, n = ndimage.label(cut[spans] == label, np.ones((3, 3)))
            out[spans][part > 0] = part[part > 0] + count
            count += n
    return out


def same_partition(a, b) -> bool:
    """Whether two label images are the same but for the names of the ids."""
    a, b = a.astype(np.int64).ravel(), b.astype(np.int64).ravel()
    if ((a > 0) != (b > 0)).any():
        return False
    pairs = np.unique(np.stack([a, b]), axis=1)
    return len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))
