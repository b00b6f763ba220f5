"""The parts of a mask that its prompts are in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)


def prompted_parts(
    mask: npt.NDArray[np.bool_],
    points: npt.ArrayLike = (),
    labels: npt.ArrayLike | None = None,
    box: Sequence[float] | None = None,
) -> npt.NDArray[np.bool_]:
    """Keep the connected parts of a mask that hold a positive point or lie mostly in the box.

    Parameters
    ----------
    mask : bool array (height, width)
    points : array-like (k, 2)
        (row, col) in the mask; those outside of it are in no part.
    labels : array-like (k,), optional
        1 inside the object, 0 outside; all 1 by default.
    box : four floats, optional
        (row_min, col_min, row_max, col_max) in the mask.

    Returns
    -------
    bool array (height, width)
        Unchanged where no prompt says where the object is. If the prompts are in no part, the part
        nearest to the first positive point stays, or the one with most of the box.
    """
    places = np.asarray(points, np.float64).reshape(-1, 2)
    inside = np.ones(len(places), bool) if labels is None else np.asarray(labels).astype(bool)
    places = places[inside]
    if box is None and not len(places):
        return mask
    parts, count = ndimage.label(mask, _EIGHT)
    if count < 2:
        return mask
    keep = np.zeros(count + 1, bool)
    at = np.floor(places + 0.5).astype(int)
    there = at[((at >= 0) & (at < mask.shape)).all(axis=1)]
    keep[parts[there[:, 0], there[:, 1]]] = True
    if box is not None:
        low = np.maximum(np.floor(np.asarray(box[:2]) + 0.5), 0).astype(int)
        high = np.maximum(np.floor(np.asarray(box[2:]) + 0.5), -1).astype(int)
        within = parts[low[0] : high[0] + 1, low[1] : high[1] + 1]
        shared = np.bincount(within.ravel(), minlength=count + 1)
        keep |= 2 * shared > np.bincount(parts.ravel(), minlength=count + 1)
        shared[0] = 0
        if not keep[1:].any() and shared.any():
            keep[shared.argmax()] = True
    keep[0] = False
    if not keep.any() and len(at):
        cells = np.argwhere(mask)
        nearest = cells[np.square(cells - at[0]).sum(1).argmin()]
        keep[parts[tuple(nearest)]] = True
    result: npt.NDArray[np.bool_] = keep[parts] if keep.any() else mask
    return result
