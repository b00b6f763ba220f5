"""Small holes and islands of a mask, as everything mode's `min_mask_region_area` means them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .regions import bounds

_EIGHT = np.ones((3, 3), bool)


def clean(mask: np.ndarray, min_area: float) -> np.ndarray:
    """Fill holes smaller than an area, then drop islands smaller than it.

    Parameters
    ----------
    mask : bool array (height, width)
    min_area : float
        Pixels; 0 changes nothing. If every island is too small, the largest stays.

    Returns
    -------
    bool array (height, width)
    """
    where = bounds(mask) if min_area > 0 else None
    if where is None:
        return mask
    rows, cols = where
    # one line of background around the mask, where there is one
    wide = (
        slice(max(rows.start - 1, 0), rows.stop + 1),
        slice(max(cols.start - 1, 0), cols.stop + 1),
    )
    part = mask[wide]
    holes, _ = ndimage.label(~part, _EIGHT)
    area = np.bincount(holes.ravel())
    small = area < min_area
    small[0] = False
    small[_outer(holes, wide, mask.shape)] = False
    part = part | small[holes]
    islands, _ = ndimage.label(part, _EIGHT)
    area = np.bincount(islands.ravel())
    keep = area >= min_area
    keep[0] = False
    if not keep.any():
        keep[1 + int(np.argmax(area[1:]))] = True
    result = np.zeros_like(mask)
    result[wide] = keep[islands]
    return result


def _outer(holes: np.ndarray, wide: tuple[slice, slice], shape: tuple[int, ...]) -> np.ndarray:
    """Return the holes that go on beyond the part that is looked at."""
    rows, cols = wide
    sides = []
    if rows.start > 0:
        sides.append(holes[0])
    if rows.stop < shape[0]:
        sides.append(holes[-1])
    if cols.start > 0:
        sides.append(holes[:, 0])
    if cols.stop < shape[1]:
        sides.append(holes[:, -1])
    return np.unique(np.concatenate(sides)) if sides else np.zeros(0, np.intp)
