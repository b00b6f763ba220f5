"""Label images on disk for napari: with an image's axes, and while they are being written."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...large import TileGrid, TileStatus

WHOLE_BYTES = 64 << 20
"""A plane of labels up to this size is kept in memory completely, a larger one reduced."""
HELD_BYTES = 192 << 20
_SMALLEST = 64
"""napari never reads the smallest level of a pyramid again, so it must be too small to be seen."""


class _Lazy(ABC):
    """The attributes that napari needs of a lazy array."""

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.ndim, self.dtype = len(self.shape), np.dtype(dtype)
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

    @abstractmethod
    def __getitem__(self, key: Any) -> np.ndarray: ...


class Aligned(_Lazy):
    """A lazy array with its axes in another order, and axes of length 1 where it has none.

    Parameters
    ----------
    array : array-like
        With shape, dtype and basic indexing.
    order : sequence of (int or None)
        For each axis of the result the array's axis, or None.
    """

    def __init__(self, array: Any, order: Sequence[int | None]) -> None:
        super().__init__([1 if axis is None else array.shape[axis] for axis in order], array.dtype)
        self.array, self._order = array, tuple(order)

    def __getitem__(self, key: Any) -> np.ndarray:
        parts = _full_key(key, self.ndim)
        index: list[Any] = [0] * len(self.array.shape)
        kept: list[int | None] = []
        for axis, part in zip(self._order, parts, strict=True):
            if axis is not None:
                index[axis] = part if isinstance(part, slice) else int(part)
            if isinstance(part, slice):
                kept.append(axis)
        pixels = np.asarray(self.array[tuple(index)])
        here = [axis for axis in kept if axis is not None]
        pixels = pixels.transpose([sorted(here).index(axis) for axis in here])
        for place, axis in enumerate(kept):
            if axis is None:
                pixels = np.expand_dims(pixels, place)
        return pixels


def aligned(array: Any, order: Sequence[int | None]) -> Any:
    """Return an array with its axes in another order; itself where they are in that order."""
    return array if tuple(order) == tuple(range(len(array.shape))) else Aligned(array, order)


def _full_key(key: Any, ndim: int) -> tuple[Any, ...]:
    key = key if isinstance(key, tuple) else (key,)
    place = next((i for i, part in enumerate(key) if part is Ellipsis), None)
    if place is not None:
        fill = (slice(None),) * (ndim - len(key) + 1)
        key = (*key[:place], *fill, *key[place + 1 :])
    return (*key, *(slice(None),) * (ndim - len(key)))


class _Strided(_Lazy):
    """Every n-th row and column of an array on disk, read when indexed."""

    def __init__(self, array: Any, step: int) -> None:
        self._array, self._step = array, step
        *others, rows, cols = array.shape
        super().__init__((*others, -(-rows // step), -(-cols // step)), array.dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        *others, rows, cols = _full_key(key, self.ndim)
        wide = tuple(_stretch(part, size, self._step)
                     for part, size in zip((rows, cols), self.shape[-2:], strict=True))  # fmt: skip
        return np.asarray(self._array[(*others, *wide)])


def _stretch(part: Any, size: int, step: int) -> Any:
    if not isinstance(part, slice):
        return int(part) * step
    first, last, every = part.indices(size)
    return slice(
        first * step, (last - 1) * step + 1 if last > first else first * step, every * step
    )


class LiveLabels:
    """The levels of a label image that is being written, tile by tile.

    Copies of the planes in view are kept in memory and updated with the tiles, reduced where a
    plane is large, so that showing a whole plane reads nothing from disk. They are levels of a
    pyramid, so that napari colours no more pixels than the canvas shows at each update.

    Parameters
    ----------
    array : zarr.Array
        The labels: axes of the planes, rows, columns.
    grid : TileGrid
        Of the run that writes them.
    """

    def __init__(self, array: Any, grid: TileGrid) -> None:
        self._array, self._grid = array, grid
        rows, cols = grid.shape
        plane = rows * cols * np.dtype(array.dtype).itemsize
        step = 1
        while plane > WHOLE_BYTES * step * step:
            step *= 2
        self.step = step
        self._seen: dict[int, NDArray[np.uint8]] = {}
        self._planes: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._wanted: set[int] = set()
        self._most = max(1, HELD_BYTES // max(1, plane // (step * step)))
        self._lock = threading.Lock()
        levels: list[Any] = [_Strided(array, 2**i) for i in range(step.bit_length() - 1)]
        copies, more = _Copies(self), 1
        while more == 1 or max(copies.shape[-2:]) // more > _SMALLEST:
            levels.append(_Strided(copies, more))
            more *= 2
        self.levels = tuple(levels)

    def update(self, status: NDArray[np.uint8]) -> None:
        """Copy what tiles have written. Call it on the thread that runs them."""
        with self._lock:
            wanted = self._wanted | set(self._planes)
            self._wanted.clear()
        for plane in sorted(wanted):
            self._follow(plane, status[plane])

    def _follow(self, plane: int, status: NDArray[np.uint8]) -> None:
        copy = self._planes.get(plane)
        if copy is None:
            shape = [-(-n // self.step) for n in self._grid.shape]
            copy, self._seen[plane] = np.zeros(shape, self._array.dtype), np.zeros_like(status)
        seen = self._seen[plane]
        for row, col in np.argwhere((status == TileStatus.DONE) & (seen != TileStatus.DONE)):
            core = self._grid.core(self._grid.index(plane, int(row), int(col)))
            first = -(-core.row // self.step), -(-core.col // self.step)
            pixels = np.asarray(self._array[(
                *self._grid.plane(self._grid.index(plane, 0, 0)),
                slice(first[0] * self.step, core.row + core.height, self.step),
                slice(first[1] * self.step, core.col + core.width, self.step),
            )])  # fmt: skip
            rows, cols = pixels.shape
            copy[first[0] : first[0] + rows, first[1] : first[1] + cols] = pixels
        self._seen[plane] = status.copy()
        with self._lock:
            self._planes[plane] = copy
            self._planes.move_to_end(plane)
            while len(self._planes) > self._most:
                gone, _ = self._planes.popitem(last=False)
                self._seen.pop(gone, None)

    def copy_of(self, plane: int) -> NDArray[Any] | None:
        """Return the reduced copy of a plane; None before the next `update`."""
        with self._lock:
            found = self._planes.get(plane)
            if found is None:
                self._wanted.add(plane)
            return found


class _Copies(_Lazy):
    """The reduced copies as one array; 0 for planes without a copy."""

    def __init__(self, owner: LiveLabels) -> None:
        self._owner = owner
        grid = owner._grid
        sides = [-(-n // owner.step) for n in grid.shape]
        super().__init__((*grid.planes, *sides), owner._array.dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        *others, rows, cols = _full_key(key, self.ndim)
        planes = np.arange(self._owner._grid.plane_count).reshape(self._owner._grid.planes)
        chosen = planes[tuple(others)]
        found = [self._one(int(plane))[rows, cols] for plane in np.ravel(chosen)]
        if not np.ndim(chosen):
            return found[0]
        return np.stack(found).reshape((*np.shape(chosen), *found[0].shape))

    def _one(self, plane: int) -> np.ndarray:
        found = self._owner.copy_of(plane)
        return np.broadcast_to(self.dtype.type(0), self.shape[-2:]) if found is None else found
