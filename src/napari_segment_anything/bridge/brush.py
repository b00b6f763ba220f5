"""What napari's brush, fill and polygon tools did to the target, as steps of the session's history.

napari tells of a stroke when it is done, as pieces: either a box, a mask in it, the labels before
and the label painted; or indices with labels before and after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..engine import Window
from .images import ImageAxes

Stroke = tuple[tuple[int, ...], Window, np.ndarray, np.ndarray]


def strokes(event_value: Sequence[Any], data: Any, axes: ImageAxes) -> Iterator[Stroke]:
    """Turn a paint event into changes of planes.

    Parameters
    ----------
    event_value : sequence of pieces
        Of napari's paint event, in the order they were painted.
    data : array
        The labels, as they are after it.
    axes : ImageAxes
        Of the image.

    Yields
    ------
    (plane, window, before, after)
        Labels int (height, width) without and with the stroke.
    """
    pieces = [piece for piece in map(_piece, event_value) if piece is not None]
    if not pieces:
        return
    starts = np.min([low for low, _, _, _ in pieces], axis=0)
    stops = np.max([high for _, high, _, _ in pieces], axis=0)
    index = tuple(slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))
    after = np.array(data[index])
    before = after.copy()
    for low, _, where, old in reversed(pieces):
        before[tuple(w + a - s for w, a, s in zip(where, low, starts, strict=True))] = old
    shift = len(axes.shape) - before.ndim
    rows, cols = (axis - shift for axis in axes.displayed)
    others = [axis for axis in range(before.ndim) if axis not in (rows, cols)]
    window = Window(starts[rows], starts[cols], before.shape[rows], before.shape[cols])
    for place in np.ndindex(*(before.shape[axis] for axis in others)):
        at: list[Any] = [slice(None)] * before.ndim
        plane = []
        for axis, offset in zip(others, place, strict=True):
            at[axis] = offset
            if axis + shift != axes.channel:
                plane.append(int(starts[axis]) + offset)
        old, new = before[tuple(at)], after[tuple(at)]
        if (old != new).any():
            yield tuple(plane), window, old, new


def _piece(atom: Any) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...], Any] | None:
    """Return first and last corner, indices relative to the first, and the labels before."""
    if hasattr(atom, "slice_key"):
        low = np.array([part.start for part in atom.slice_key])
        high = np.array([part.stop for part in atom.slice_key])
        mask = np.ones(high - low, bool) if atom.mask is None else np.asarray(atom.mask)
        old = np.asarray(atom.old_values)
        return low, high, np.nonzero(mask), old[mask] if old.shape == mask.shape else old.ravel()
    indices, old = [np.atleast_1d(np.asarray(part)) for part in atom[0]], np.asarray(atom[1])
    if not len(indices) or not indices[0].size:
        return None
    low = np.array([part.min() for part in indices])
    high = np.array([part.max() + 1 for part in indices])
    return low, high, tuple(part - a for part, a in zip(indices, low, strict=True)), old
