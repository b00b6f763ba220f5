"""Clean masks: fill small holes and drop small islands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..formats.rle import RLE, encode

_EIGHT = np.ones((3, 3), bool)


def remove_small_regions(mask: RLE, min_area: float) -> tuple[RLE, bool]:
    """Fill holes smaller than `min_area` pixels, then drop islands smaller than that.

    Holes and islands are 8-connected. The whole background counts as a hole if it is that small.
    If every island is too small, the largest is kept (the first of equals, row by row).

    Parameters
    ----------
    mask : RLE
        The mask; not empty.
    min_area : float
        Pixels.

    Returns
    -------
    mask : RLE
        The cleaned mask.
    changed : bool
        Whether there was a small hole or island, even if the largest was kept.
    """
    rows, cols = mask.size
    row0, col0, row1, col1 = mask.bounds
    # Outside the mask's box there is only background: one row or column on each side stands for
    # all of them, weighted by their number.
    height = np.array([row0, *[1] * (row1 - row0), rows - row1])
    width = np.array([col0, *[1] * (col1 - col0), cols - col1])
    part = np.pad(mask.decode_bounds(), 1)[height > 0][:, width > 0]
    weight = np.multiply.outer(height[height > 0], width[width > 0])

    filled = _fill(part, weight, min_area)
    cleaned = _drop(filled if filled is not None else part, weight, min_area)
    if filled is None and cleaned is None:
        return mask, False
    result = cleaned if cleaned is not None else filled
    if result is None:
        return mask, False
    top, left = int(row0 > 0), int(col0 > 0)
    inner = np.zeros_like(result)
    inner[top : top + row1 - row0, left : left + col1 - col0] = True
    if np.any(result & ~inner):
        full = np.repeat(np.repeat(result, height[height > 0], axis=0), width[width > 0], axis=1)
        return encode(full), True
    return encode(result).place((row0 - top, col0 - left), mask.size), True


def _fill(
    part: NDArray[np.bool_], weight: NDArray[np.int64], min_area: float
) -> NDArray[np.bool_] | None:
    labels, count = ndimage.label(~part, _EIGHT)
    small = np.bincount(labels.ravel(), weight.ravel(), count + 1) < min_area
    small[0] = False
    return part | small[labels] if small.any() else None


def _drop(
    part: NDArray[np.bool_], weight: NDArray[np.int64], min_area: float
) -> NDArray[np.bool_] | None:
    labels, count = ndimage.label(part, _EIGHT)
    area = np.bincount(labels.ravel(), weight.ravel(), count + 1)
    keep = area >= min_area
    keep[0] = False
    if keep[1:].all():
        return None
    if not keep.any():
        keep[1 + int(np.argmax(area[1:]))] = True
    kept: NDArray[np.bool_] = keep[labels]
    return kept
