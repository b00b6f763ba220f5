"""Tiles: which part of a plane each one owns, and which part it reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..engine import Window
from ..errors import ImageError, ParameterError
from ..limits import TILES
from ..parameters import TILING

REACH = 2


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Tiles over the planes of an image.

    A tile's core is what it owns; cores lie side by side on the chunks of the labels. Its
    window is what is read and segmented: `tile` pixels a side, the core with half of `overlap`
    around it, moved inwards at the image's edge so that all windows have the same scale.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a plane.
    planes : tuple of int
        Number of planes along each further axis; () for a single plane.
    tile : int
        Side of a window in pixels.
    overlap : int
        Pixels that windows of neighbouring tiles share.
    region : Window
        The part of the planes that is segmented.
    """

    shape: tuple[int, int]
    planes: tuple[int, ...]
    tile: int
    overlap: int
    region: Window

    @classmethod
    def over(
        cls,
        shape: tuple[int, int],
        planes: tuple[int, ...],
        tile: int,
        overlap: int,
        region: Window | None = None,
    ) -> TileGrid:
        """Return the grid over an image.

        Parameters
        ----------
        shape, planes, tile, overlap
            As for `TileGrid`.
        region : Window, optional
            By default all of a plane.

        Raises
        ------
        ParameterError
            If tiles are too small, the overlap does not leave a core, or the region lies outside.
        """
        TILING["tile"].check("tile", tile)
        if not 0 <= overlap <= tile // 2:
            raise ParameterError(
                f"overlap lies between 0 and half the tile ({tile // 2}), not {overlap}"
            )
        whole = Window.full(shape)
        grid = cls(shape, planes, tile, overlap, whole if region is None else region.clip(shape))
        rows, cols = grid.counts
        TILES.check(
            grid.plane_count * rows * cols,
            "the image is too large for tiles of this size",
            ImageError,
        )
        return grid

    @property
    def stride(self) -> int:
        """Side of a core, and of a chunk of the labels."""
        return self.tile - self.overlap

    @property
    def first(self) -> tuple[int, int]:
        """Row and column, in cores, of the first tile that meets the region."""
        return self.region.row // self.stride, self.region.col // self.stride

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of tiles. A remainder that the last window covers is no further tile."""
        counts = []
        for low, side, first in zip(
            (self.region.row, self.region.col), self.region.shape, self.first, strict=True
        ):
            more = -(-(low + side - self.overlap // 2) // self.stride) - first
            counts.append(1 if side <= self.tile else max(1, more))
        return counts[0], counts[1]

    @property
    def plane_count(self) -> int:
        """Planes in all."""
        return math.prod(self.planes)

    def __len__(self) -> int:
        return self.plane_count * self.counts[0] * self.counts[1]

    def place(self, index: int) -> tuple[int, int, int]:
        """Return plane number, row and column (both counted from 0) of a tile."""
        rows, cols = self.counts
        plane, rest = divmod(index, rows * cols)
        return plane, *divmod(rest, cols)

    def index(self, plane: int, row: int, col: int) -> int:
        """Return the number of a tile, given its plane's number, its row and its column."""
        rows, cols = self.counts
        return (plane * rows + row) * cols + col

    def plane(self, index: int) -> tuple[int, ...]:
        """Return the indices of the plane a tile lies in."""
        if not self.planes:
            return ()
        return tuple(int(i) for i in np.unravel_index(self.place(index)[0], self.planes))

    def core(self, index: int) -> Window:
        """Return what a tile owns: its chunk, the last one also the remainder, in the region."""
        _, *place = self.place(index)
        starts, sides = [], []
        for at, count, first, low, side in zip(
            place,
            self.counts,
            self.first,
            (self.region.row, self.region.col),
            (self.region.height, self.region.width),
            strict=True,
        ):
            begin = max((first + at) * self.stride, low)
            end = low + side
            if at + 1 < count:
                end = min((first + at + 1) * self.stride, end)
            starts.append(begin)
            sides.append(end - begin)
        return Window(starts[0], starts[1], sides[0], sides[1])

    def window(self, index: int) -> Window:
        """Return what a tile reads."""
        _, *place = self.place(index)
        starts, sides = [], []
        for at, first, low, side in zip(
            place,
            self.first,
            (self.region.row, self.region.col),
            (self.region.height, self.region.width),
            strict=True,
        ):
            begin = (first + at) * self.stride - self.overlap // 2
            begin = max(low, min(begin, low + side - self.tile))
            starts.append(begin)
            sides.append(min(self.tile, low + side - begin))
        return Window(starts[0], starts[1], sides[0], sides[1])

    def neighbours(self, index: int) -> Iterator[int]:
        """Yield the other tiles of the plane whose windows share pixels with this one's."""
        plane, row, col = self.place(index)
        rows, cols = self.counts
        mine = self.window(index)
        for r in range(max(0, row - REACH), min(rows, row + REACH + 1)):
            for c in range(max(0, col - REACH), min(cols, col + REACH + 1)):
                other = self.index(plane, r, c)
                if other != index and mine.intersection(self.window(other)) is not None:
                    yield other

    def inner_edges(self, index: int) -> tuple[bool, bool, bool, bool]:
        """Whether the window's top, left, bottom and right edges lie inside the region."""
        window, region = self.window(index), self.region
        return (
            window.row > region.row,
            window.col > region.col,
            window.row + window.height < region.row + region.height,
            window.col + window.width < region.col + region.width,
        )
