"""Masks as run-length codes: COCO's column-major RLE, plain and compressed.

A code alternates runs of background and foreground pixels, starting with background, in
column-major order, as COCO and SA-1B store masks. Operations work on the runs; only `RLE.decode`
allocates an array of the image's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FormatError
from .rle_text import compress, decompress

MAX_PIXELS = 2**32 - 1
# Above this share of changing pixels, transposing the mask is cheaper than sorting the changes.
_DENSE = 1 / 24


@dataclass(frozen=True, slots=True, eq=False)
class RLE:
    """One mask as run lengths.

    Build it with `encode`, `from_counts` or `from_coco`, which check the code and bring it into a
    canonical form, so that equal masks compare equal.

    Parameters
    ----------
    size : tuple of int
        (rows, columns) of the image.
    counts : uint32 array (k,)
        Run lengths, background first, in column-major order. Read-only. Only the first may be 0.
    """

    size: tuple[int, int]
    counts: NDArray[np.uint32]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RLE):
            return NotImplemented
        return self.size == other.size and np.array_equal(self.counts, other.counts)

    def __hash__(self) -> int:
        return hash((self.size, self.counts.tobytes()))

    def __repr__(self) -> str:
        return f"RLE(size={self.size}, runs={len(self.counts)}, area={self.area})"

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return int(self.counts[1::2].sum(dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Memory of the run lengths, in bytes."""
        return int(self.counts.nbytes)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Half-open (row_start, col_start, row_stop, col_stop), for slicing; zeros if empty."""
        begin, end = self._runs()
        if not len(begin):
            return (0, 0, 0, 0)
        rows = self.size[0]
        last = end - 1
        if np.any(begin // rows != last // rows):
            # A run that continues in the next column touches the last and the first row.
            row_start, row_stop = 0, rows
        else:
            row_start, row_stop = (begin % rows).min(), (last % rows).max() + 1
        return int(row_start), int(begin[0] // rows), int(row_stop), int(last[-1] // rows) + 1

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(row_min, col_min, row_max, col_max) of the outermost foreground pixels.

        The maximum is inclusive, as for a box prompt through pixel centres; zeros if the mask is
        empty.
        """
        row_start, col_start, row_stop, col_stop = self.bounds
        return row_start, col_start, max(row_stop - 1, 0), max(col_stop - 1, 0)

    @property
    def bbox(self) -> list[float]:
        """COCO's [x, y, width, height] in pixels; zeros if the mask is empty."""
        row_start, col_start, row_stop, col_stop = self.bounds
        sides = (col_start, row_start, col_stop - col_start, row_stop - row_start)
        return [float(v) for v in sides]

    def decode(self) -> NDArray[np.bool_]:
        """Return the mask: bool (rows, columns), C-contiguous."""
        out = np.zeros(self.size, bool)
        row_start, col_start, row_stop, col_stop = self.bounds
        if col_stop:
            out[row_start:row_stop, col_start:col_stop] = self.decode_bounds()
        return out

    def decode_bounds(self) -> NDArray[np.bool_]:
        """Return the part of the mask inside `bounds`."""
        rows = self.size[0]
        row_start, col_start, row_stop, col_stop = self.bounds
        if not col_stop:
            return np.zeros((0, 0), bool)
        begin, end = self._runs()
        edges = np.empty(2 * len(begin) + 2, np.int64)
        edges[0], edges[-1] = col_start * rows, col_stop * rows
        edges[1:-1:2], edges[2:-1:2] = begin, end
        values = np.zeros(len(edges) - 1, bool)
        values[1::2] = True
        columns = np.repeat(values, np.diff(edges)).reshape(col_stop - col_start, rows)
        return np.ascontiguousarray(columns[:, row_start:row_stop].T)

    def place(self, origin: tuple[int, int], size: tuple[int, int]) -> RLE:
        """Move the mask to another frame.

        Parameters
        ----------
        origin : tuple of int
            (row, col) of this mask's pixel (0, 0) in the new frame; may be negative.
        size : tuple of int
            (rows, columns) of the new frame; pixels outside are dropped.

        Returns
        -------
        RLE
            The mask of a crop in the full image, or the reverse.
        """
        rows, columns = _check_size(size)
        column, start, stop = _split(*self._runs(), self.size[0])
        column = column + int(origin[1])
        start = np.maximum(start + int(origin[0]), 0)
        stop = np.minimum(stop + int(origin[0]), rows)
        keep = (start < stop) & (column >= 0) & (column < columns)
        base = column[keep] * rows
        return _from_runs(base + start[keep], base + stop[keep], (rows, columns))

    def to_coco(self, *, compressed: bool = True) -> dict[str, Any]:
        """Return COCO's {"size": [rows, columns], "counts": ...}, ready for JSON.

        `counts` is the ASCII string of pycocotools, or a list of integers.
        """
        counts: Any = compress(self.counts) if compressed else self.counts.tolist()
        return {"size": list(self.size), "counts": counts}

    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        edges = np.cumsum(self.counts, dtype=np.int64)
        even = len(edges) // 2 * 2
        return edges[0:even:2], edges[1:even:2]


def encode(mask: ArrayLike) -> RLE:
    """Encode one mask.

    Parameters
    ----------
    mask : array (rows, columns)
        Boolean, or any numbers of which non-zero ones are foreground.

    Returns
    -------
    RLE
        The mask's code.

    Raises
    ------
    FormatError
        If the array is not two-dimensional or has no pixels.
    """
    array = np.asarray(mask)
    if array.ndim != 2:
        raise FormatError(f"A mask has two dimensions (rows, columns); got shape {array.shape}.")
    if array.dtype != np.bool_:
        array = array != 0
    rows, columns = _check_size(array.shape)
    change = np.empty((rows, columns), bool)
    np.not_equal(array[1:], array[:-1], out=change[1:])
    change[0, 0] = array[0, 0]
    np.not_equal(array[0, 1:], array[-1, :-1], out=change[0, 1:])
    if np.count_nonzero(change) > _DENSE * change.size:
        edges = np.flatnonzero(change.T)
    else:
        row, column = np.divmod(np.flatnonzero(change), columns)
        edges = column * rows + row
        edges.sort()
    counts = np.diff(edges, prepend=0, append=rows * columns)
    return _freeze(counts, (rows, columns))


def encode_labels(
    labels: ArrayLike, origin: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None
) -> dict[int, RLE]:
    """Encode every object of a label image.

    Parameters
    ----------
    labels : int array (rows, columns)
        0 is background; each other value is one object.
    origin : tuple of int
        (row, col) of its first pixel in the frame of the masks.
    size : tuple of int, optional
        (rows, columns) of that frame, which holds the whole label image; by default its shape.

    Returns
    -------
    dict of int to RLE
        The objects in ascending order of their ids.

    Raises
    ------
    FormatError
        If the array is not two-dimensional, or not of integers, or does not fit the frame.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise FormatError(
            f"A label image has two dimensions and integers; got {array.dtype} {array.shape}."
        )
    rows, columns = _check_size(array.shape)
    frame = _check_size(array.shape if size is None else size)
    top, left = origin
    if min(top, left) < 0 or top + rows > frame[0] or left + columns > frame[1]:
        raise FormatError(f"Labels of {array.shape} at {origin} do not fit a frame of {frame}.")
    # a row of background below, so that no run goes on in the next column
    flat = np.zeros((columns, rows + 1), array.dtype)
    flat[:, :rows] = array.T
    flat = flat.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begin = np.concatenate([[0], edges])
    end = np.concatenate([edges, [flat.size]])
    value = flat[begin]
    keep = value != 0
    order = np.argsort(value[keep], kind="stable")
    begin, end, value = begin[keep][order], end[keep][order], value[keep][order]
    column, row = np.divmod(begin, rows + 1)
    end += (column + left) * frame[0] + row + top - begin
    begin = (column + left) * frame[0] + row + top
    ids, first = np.unique(value, return_index=True)
    return dict(zip(ids.tolist(), _codes(begin, end, first, frame), strict=True))


def _codes(
    begin: NDArray[np.int64], end: NDArray[np.int64], first: NDArray[np.intp], size: tuple[int, int]
) -> list[RLE]:
    """Codes of several masks, from the runs of all and where those of each mask start."""
    if not len(first):
        return []
    new = np.zeros(len(begin), bool)
    new[first] = True
    new[1:] |= begin[1:] != end[:-1]
    begin, end = begin[new], end[np.append(new[1:], True)]
    first = np.cumsum(new)[first] - 1
    number = np.diff(first, append=len(begin))
    # of each mask: a gap and a length for each run, and what follows the last
    mask = np.repeat(np.arange(len(first)), number)
    place = 2 * np.arange(len(begin)) + mask
    counts = np.empty(2 * len(begin) + len(first), np.uint32)
    before = np.append(0, end[:-1])
    before[first] = 0
    counts[place], counts[place + 1] = begin - before, end - begin
    last = first + number - 1
    counts[place[last] + 2] = size[0] * size[1] - end[last]
    counts.flags.writeable = False
    starts = place[first]
    stops = place[last] + 2 + (end[last] < size[0] * size[1])
    return [RLE(size, counts[a:b]) for a, b in zip(starts, stops, strict=True)]


def from_counts(counts: ArrayLike, size: Sequence[int]) -> RLE:
    """Make an `RLE` of run lengths, background first.

    Parameters
    ----------
    counts : int array (k,)
        Run lengths in column-major order.
    size : sequence of int
        (rows, columns) of the image.

    Raises
    ------
    FormatError
        If a count is negative or not an integer, or they do not add up to the image's size.
    """
    rows, columns = _check_size(size)
    try:
        array = np.asarray(counts)
    except ValueError as error:
        raise FormatError("Run lengths must be a flat list of integers.") from error
    if array.size == 0:
        array = np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise FormatError("Run lengths must be a flat list of integers.")
    if array.size and (array.min() < 0 or array.max() > MAX_PIXELS):
        raise FormatError("Run lengths must not be negative or above 2^32 - 1.")
    total = int(array.sum(dtype=np.int64))
    if total != rows * columns:
        raise FormatError(
            f"Run lengths add up to {total} pixels, but size {rows} x {columns} "
            f"has {rows * columns}."
        )
    edges = np.cumsum(array, dtype=np.int64)
    if len(edges) % 2:
        edges = edges[:-1]
    begin, end = edges[::2], edges[1::2]
    keep = end > begin
    return _from_runs(begin[keep], end[keep], (rows, columns))


def from_coco(segmentation: Mapping[str, Any]) -> RLE:
    """Read COCO's {"size": [rows, columns], "counts": list, string or bytes}.

    Raises
    ------
    FormatError
        If a key is missing, or the counts are damaged or do not fill the size.
    """
    if not isinstance(segmentation, Mapping):
        raise FormatError(
            f"A run-length code is an object with 'size' and 'counts'; "
            f"got {type(segmentation).__name__}."
        )
    for key in ("size", "counts"):
        if key not in segmentation:
            raise FormatError(f"A run-length code needs the key '{key}'.")
    size, counts = segmentation["size"], segmentation["counts"]
    if isinstance(counts, str | bytes):
        counts = decompress(counts)
    elif not isinstance(counts, list | tuple | np.ndarray):
        raise FormatError(
            f"'counts' is a list of integers or a string; got {type(counts).__name__}."
        )
    return from_counts(counts, size)


def intersection(a: RLE, b: RLE) -> int:
    """Count the pixels two masks share, from their runs.

    Parameters
    ----------
    a, b : RLE
        Two masks of images of the same size.

    Raises
    ------
    FormatError
        If the masks belong to images of different size.
    """
    _same_size(a, b)
    if len(a.counts) < len(b.counts):
        a, b = b, a
    return _shared(_Cumulative(a), b)


class _Cumulative:
    """Foreground pixels before a position: piecewise linear, so interpolation is exact."""

    __slots__ = ("area", "edges")

    def __init__(self, mask: RLE) -> None:
        self.edges = np.concatenate([[0], np.cumsum(mask.counts, dtype=np.int64)])
        steps = mask.counts.astype(np.int64)
        steps[::2] = 0
        self.area = np.concatenate([[0], np.cumsum(steps)])


def _shared(a: _Cumulative, b: RLE) -> int:
    begin, end = b._runs()
    total = np.interp(end, a.edges, a.area).sum() - np.interp(begin, a.edges, a.area).sum()
    return round(float(total))


def _split(
    begin: NDArray[np.int64], end: NDArray[np.int64], rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut runs at column ends: (column, first row, row after the last) of each piece."""
    first = begin // rows
    pieces = (end - 1) // rows - first + 1
    run = np.repeat(np.arange(len(begin)), pieces)
    offset = np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    column = first[run] + offset
    start = np.maximum(begin[run] - column * rows, 0)
    stop = np.minimum(end[run] - column * rows, rows)
    return column, start, stop


def _from_runs(begin: NDArray[np.int64], end: NDArray[np.int64], size: tuple[int, int]) -> RLE:
    """Code of ascending, non-empty runs that may touch one another."""
    if len(begin):
        apart = begin[1:] != end[:-1]
        begin = begin[np.concatenate([[True], apart])]
        end = end[np.concatenate([apart, [True]])]
    edges = np.empty(2 * len(begin), np.int64)
    edges[::2], edges[1::2] = begin, end
    return _freeze(np.diff(edges, prepend=0, append=size[0] * size[1]), size)


def _freeze(counts: NDArray[Any], size: tuple[int, int]) -> RLE:
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    counts = counts.astype(np.uint32)
    counts.flags.writeable = False
    return RLE(size, counts)


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    try:
        rows, columns = (int(v) for v in size)
        exact = all(int(v) == v for v in size)
    except (TypeError, ValueError) as error:
        raise FormatError(f"A mask's size is [rows, columns]; got {size!r}.") from error
    if not exact or rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise FormatError(
            f"A mask's size is two positive integers with at most 2^32 - 1 pixels; got {size!r}."
        )
    return rows, columns


def _same_size(a: RLE, b: RLE) -> None:
    if a.size != b.size:
        raise FormatError(f"The masks are of images of different size: {a.size} and {b.size}.")
