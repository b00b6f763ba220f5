"""Objects of all tiles, and which of them have pixels in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Window
from ..measures import shared_pixels
from .grid import TileGrid
from .ledger import TileResult

RIM = 3


@dataclass(frozen=True, slots=True, eq=False)
class TileObjects:
    """All tiles' objects, one after another; see `TileResult`.

    Parameters
    ----------
    offset : int64 array (tiles + 1,)
        Where each tile's objects begin.
    tile : int64 array (m,)
        Which tile each is of.
    windows : int64 array (m, 4)
        First row and column, last row and column of that tile's window.
    """

    offset: NDArray[np.int64]
    tile: NDArray[np.int64]
    windows: NDArray[np.int64]
    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]
    core_areas: NDArray[np.int64]
    touches: NDArray[np.uint8]
    scores: NDArray[np.float32]
    stability: NDArray[np.float32]

    @classmethod
    def collect(
        cls, grid: TileGrid, tiles: Sequence[int], get: Callable[[int], TileResult]
    ) -> TileObjects:
        """Read the results of tiles, and drop their pixels.

        Parameters
        ----------
        grid : TileGrid
        tiles : sequence of int
            Numbers of the tiles that have results, ascending.
        get : callable
            From a number to the result.
        """
        counts = np.zeros(len(grid), np.int64)
        parts = [_NOTHING]
        for index in tiles:
            found = get(index)
            counts[index] = len(found)
            parts.append(tuple(getattr(found, name) for name in _MEASURES))
        columns = map(np.concatenate, zip(*parts, strict=True))
        tile = np.repeat(np.arange(len(grid)), counts)
        ends = np.array([grid.window(i).box for i in range(len(grid))]).reshape(-1, 4)
        return cls(np.concatenate([[0], np.cumsum(counts)]), tile, ends[tile], *columns)


_MEASURES = ("boxes", "areas", "core_areas", "touches", "scores", "stability")
_NOTHING: tuple[NDArray[Any], ...] = (
    np.zeros((0, 4), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64),
    np.zeros(0, np.uint8), np.zeros(0, np.float32), np.zeros(0, np.float32),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of objects of two tiles that have pixels in common.

    Parameters
    ----------
    a, b : int64 array (k,)
        Numbers of the two.
    common, in_a, in_b : int64 array (k,)
        Pixels in common, and pixels of each, where both tiles look.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    common: NDArray[np.int64]
    in_a: NDArray[np.int64]
    in_b: NDArray[np.int64]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union, where both tiles look."""
        return self.common / np.maximum(self.in_a + self.in_b - self.common, 1)

    @property
    def inside(self) -> NDArray[np.float64]:
        """Part of the smaller one that lies in the other."""
        return self.common / np.maximum(np.minimum(self.in_a, self.in_b), 1)


def compare(
    grid: TileGrid, a: int, first: TileResult, b: int, second: TileResult
) -> NDArray[np.int64]:
    """Compare two tiles on the pixels that both see, without those at the rim of either's window.

    Parameters
    ----------
    grid : TileGrid
    a, b : int
        Numbers of the tiles.
    first, second : TileResult
        Their results.

    Returns
    -------
    int64 array (pairs, 5)
        Label in a, label in b, pixels in common, and pixels of each there.
    """
    one, other = grid.window(a), grid.window(b)
    common = _inside(grid, one.intersection(other))
    if common is None:
        return np.zeros((0, 5), np.int64)
    x = first.labels[common.slices_in(one)].ravel().astype(np.int64)
    y = second.labels[common.slices_in(other)].ravel().astype(np.int64)
    i, j, counts = shared_pixels(x, y)
    in_a = np.bincount(x, minlength=len(first) + 1)
    in_b = np.bincount(y, minlength=len(second) + 1)
    return np.stack([i, j, counts, in_a[i], in_b[j]], axis=1)


def _inside(grid: TileGrid, common: Window | None) -> Window | None:
    """Leave out the rim of what two windows share.

    There a neighbour that reaches in by a pixel looks like the object that it touches.
    """
    if common is None:
        return None
    ends, region = common.box, grid.region.box
    starts, sides = [], []
    for axis, side in enumerate(common.shape):
        first, last = ends[axis], ends[axis + 2]
        begin = first + RIM if first > region[axis] else first
        end = last + 1 - (RIM if last < region[axis + 2] else 0)
        if end - begin < side // 2:
            begin, end = first, last + 1
        starts.append(begin)
        sides.append(end - begin)
    return Window(*starts, *sides)
