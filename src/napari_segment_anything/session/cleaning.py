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
    # Around the mask there is background only: one line on each side, with the weight of all
    # lines there, stands for it.
    inner = mask[where]
    repeats = [
        np.array([part.start, *[1] * (part.stop - part.start), size - part.stop])
        for part, size in zip(where, mask.shape, strict=True)
    ]
    kept = [count > 0 for count in repeats]
    part = np.pad(inner, 1)[np.ix_(*kept)]
    rows, cols = (count[keep] for count, keep in zip(repeats, kept, strict=True))
    weight = np.multiply.outer(rows, cols)

    holes, _ = ndimage.label(~part, _EIGHT)
    small = np.bincount(holes.ravel(), weight.ravel()) < min_area
    small[0] = False
    part = part | small[holes]
    islands, _ = ndimage.label(part, _EIGHT)
    area = np.bincount(islands.ravel(), weight.ravel())
    keep = area >= min_area
    keep[0] = False
    if not keep.any():
        keep[1 + int(np.argmax(area[1:]))] = True
    return np.repeat(np.repeat(keep[islands], rows, axis=0), cols, axis=1)
