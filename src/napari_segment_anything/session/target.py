"""Label arrays that a session writes to, window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..engine import Window
from ..errors import ParameterError

_BLOCK = 1 << 24


@runtime_checkable
class LabelTarget(Protocol):
    """Labels to which objects are written.

    A plane is a tuple of indices along the axes that are not displayed; windows are in
    full-resolution pixels.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full resolution."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        ...

    def read(self, plane: Sequence[int], window: Window) -> np.ndarray:
        """Return labels: int (height, width)."""
        ...

    def write(self, plane: Sequence[int], window: Window, values: np.ndarray) -> None:
        """Replace labels by values (height, width)."""
        ...

    def largest(self) -> int:
        """Return the largest label, 0 if there is none."""
        ...


def check_id(target: LabelTarget, label: int) -> int:
    """Check that a label fits the target's dtype; return it.

    Raises
    ------
    ParameterError
        If it does not.
    """
    most = int(np.iinfo(target.dtype).max)
    if not 1 <= int(label) <= most:
        raise ParameterError(
            f"label {label} does not fit labels of type {np.dtype(target.dtype)}, which run from 1 "
            f"to {most}; use labels of a larger type, such as a new layer"
        )
    return int(label)


class ArrayTarget:
    """A NumPy or zarr array of labels, changed in place.

    Parameters
    ----------
    array : NumPy array, zarr array, or alike
        Of integers; anything that can be read and assigned by slices.
    displayed : (int, int), optional
        Axes that are rows and columns of a plane; the last two by default.

    Raises
    ------
    ParameterError
        If it cannot be written to (dask, read-only) or does not hold integers.
    """

    def __init__(self, array: Any, *, displayed: tuple[int, int] | None = None) -> None:
        check_writable(array)
        ndim = len(array.shape)
        if ndim < 2:
            raise ParameterError(
                f"labels have rows and columns; these have the shape {array.shape}"
            )
        wanted = (ndim - 2, ndim - 1) if displayed is None else displayed
        axes = (int(wanted[0]) % ndim, int(wanted[1]) % ndim)
        if axes[0] == axes[1]:
            raise ParameterError(f"rows and columns are different axes, not {tuple(wanted)}")
        self.array = array
        self.displayed = axes
        self._others = tuple(axis for axis in range(ndim) if axis not in axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(int(n) for n in self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    def read(self, plane: Sequence[int], window: Window) -> np.ndarray:
        """Return labels, a copy: int (height, width)."""
        part = np.array(self.array[self._index(plane, window)])
        return part if self.displayed[0] < self.displayed[1] else part.T

    def write(self, plane: Sequence[int], window: Window, values: np.ndarray) -> None:
        """Replace labels by values (height, width)."""
        values = np.asarray(values, self.dtype)
        if values.shape != window.shape:
            raise ParameterError(f"values have shape {values.shape}, the window {window.shape}")
        part = values if self.displayed[0] < self.displayed[1] else values.T
        self.array[self._index(plane, window)] = np.ascontiguousarray(part)

    def largest(self) -> int:
        """Return the largest label, 0 if there is none; lazy arrays are read chunk by chunk."""
        if isinstance(self.array, np.ndarray):
            return max(0, int(self.array.max())) if self.array.size else 0
        if getattr(self.array, "nchunks_initialized", None) == 0:
            fill = getattr(self.array, "fill_value", 0)
            return max(0, int(fill or 0))
        found = 0
        for index in _blocks(self.array):
            found = max(found, int(np.max(self.array[index])))
        return found

    def _index(self, plane: Sequence[int], window: Window) -> tuple[Any, ...]:
        if len(plane) != len(self._others):
            raise ParameterError(
                f"a plane of these labels has {len(self._others)} indices, not {len(plane)}"
            )
        index: list[Any] = [slice(None)] * (2 + len(self._others))
        for axis, place in zip(self._others, plane, strict=True):
            index[axis] = int(place)
        for axis, part in zip(self.displayed, window.slices, strict=True):
            if part.stop > self.array.shape[axis]:
                raise ParameterError(f"{window} lies outside the labels, {self.array.shape}")
            index[axis] = part
        return tuple(index)


class PyramidTarget:
    """Multiscale labels, written at every level and read at the full resolution.

    A pixel of a reduced level gets the label at its centre.

    Parameters
    ----------
    levels : sequence of arrays
        The full resolution first; each as for `ArrayTarget`.
    displayed : (int, int), optional
        Axes that are rows and columns of a plane; the last two by default.

    Raises
    ------
    ParameterError
        As for `ArrayTarget`, or if levels have different axes or grow.
    """

    def __init__(self, levels: Sequence[Any], *, displayed: tuple[int, int] | None = None) -> None:
        if not len(levels):
            raise ParameterError("multiscale labels need at least one level")
        self.levels = tuple(ArrayTarget(level, displayed=displayed) for level in levels)
        full = self.levels[0]
        for level in self.levels[1:]:
            if len(level.shape) != len(full.shape) or any(
                small > large for small, large in zip(level.shape, full.shape, strict=True)
            ):
                raise ParameterError("the levels of a pyramid come from fine to coarse, same axes")
        self.displayed = full.displayed

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full resolution."""
        return self.levels[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels, the smallest of the levels'."""
        return min((level.dtype for level in self.levels), key=lambda kind: np.iinfo(kind).max)

    def read(self, plane: Sequence[int], window: Window) -> np.ndarray:
        """Return labels of the full resolution: int (height, width)."""
        return self.levels[0].read(plane, window).astype(self.dtype, copy=False)

    def write(self, plane: Sequence[int], window: Window, values: np.ndarray) -> None:
        """Replace labels by values (height, width), at every level."""
        full = self.levels[0]
        values = np.asarray(values)
        full.write(plane, window, values)
        for level in self.levels[1:]:
            where = self._reduced_plane(level, plane)
            if where is None:
                continue
            picks = []
            for axis, part in zip(full.displayed, window.slices, strict=True):
                middles = _middles(full.shape[axis], level.shape[axis])
                first, last = np.searchsorted(middles, [part.start, part.stop])
                picks.append((int(first), middles[first:last] - part.start))
            (row, rows), (col, cols) = picks
            if len(rows) and len(cols):
                small = Window(row, col, len(rows), len(cols))
                level.write(where, small, values[np.ix_(rows, cols)])

    def largest(self) -> int:
        """Return the largest label of the full resolution, 0 if there is none."""
        return self.levels[0].largest()

    def _reduced_plane(self, level: ArrayTarget, plane: Sequence[int]) -> tuple[int, ...] | None:
        full = self.levels[0]
        indices = []
        for axis, place in zip(full._others, plane, strict=True):
            middles = _middles(full.shape[axis], level.shape[axis])
            found = np.flatnonzero(middles == place)
            if not found.size:
                return None
            indices.append(int(found[0]))
        return tuple(indices)


def check_writable(array: Any) -> None:
    """Check that an array can hold labels and be changed.

    Raises
    ------
    ParameterError
        If not. The message names a remedy.
    """
    module = type(array).__module__.split(".")[0]
    if module == "dask":
        raise ParameterError(
            "labels in a dask array cannot be changed; compute it first (array.compute()), keep "
            "them as zarr, or use a new layer"
        )
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise ParameterError(f"labels are an array, not {type(array).__name__}")
    if np.dtype(array.dtype).kind not in "ui":
        raise ParameterError(f"labels are integers, not {array.dtype}; convert them first")
    read_only = getattr(array, "read_only", False)
    if isinstance(array, np.ndarray):
        read_only = not array.flags.writeable
    if read_only is True or not hasattr(array, "__setitem__"):
        raise ParameterError("these labels are read-only; use a copy of them, or a new layer")


def _middles(full: int, reduced: int) -> np.ndarray:
    """Return which full-resolution pixel lies in the middle of each reduced one."""
    factor = full / reduced
    return np.minimum(((np.arange(reduced) + 0.5) * factor).astype(np.int64), full - 1)


def _blocks(array: Any) -> Iterator[tuple[slice, ...]]:
    """Cover an array with blocks of whole chunks, of bounded size."""
    shape = tuple(int(n) for n in array.shape)
    chunks = getattr(array, "chunks", None)
    try:
        steps = [int(size) for size in chunks]  # type: ignore[union-attr]
    except TypeError:
        steps = [1] * (len(shape) - 2) + [1024, 1024]
    for axis in reversed(range(len(shape))):  # join neighbours while there is room
        room = _BLOCK // max(1, math.prod(steps))
        if room >= 2:
            steps[axis] = min(shape[axis], steps[axis] * room)
    counts = [-(-size // step) for size, step in zip(shape, steps, strict=True)]
    for place in np.ndindex(*counts):
        yield tuple(
            slice(i * step, min((i + 1) * step, size))
            for i, step, size in zip(place, steps, shape, strict=True)
        )
