"""Small holes and islands of a mask, as everything mode's `min_mask_region_area` means them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .placed_mask import PlacedMask

_EIGHT = np.ones((3, 3), bool)


def clean(cut: PlacedMask, shape: tuple[int, int], min_area: float) -> PlacedMask:
    """Fill holes smaller than an area, then drop islands smaller than it.

    Parameters
    ----------
    cut : PlacedMask
    shape : (int, int)
        Rows and columns of the image. All background outside of the mask's rectangle counts, too.
    min_area : float
        Pixels; 0 changes nothing. If every island is too small, the largest stays.
    """
    if cut.empty or min_area <= 0:
        return cut
    window = cut.window
    # Around the mask there is background only: one line on each side, with the weight of all
    # lines there, stands for it.
    repeats = [
        np.array([part.start, *[1] * (part.stop - part.start), size - part.stop])
        for part, size in zip(window.slices, shape, strict=True)
    ]
    kept = [count > 0 for count in repeats]
    part = np.pad(cut.mask, 1)[np.ix_(*kept)]
    rows, cols = (count[keep] for count, keep in zip(repeats, kept, strict=True))
    weight = np.multiply.outer(rows, cols)

    holes, _ = ndimage.label(~part, _EIGHT)
    small = np.bincount(holes.ravel(), weight.ravel()) < min_area
    small[0] = False
    if small.any():
        part = part | small[holes]
    islands, count = ndimage.label(part, _EIGHT)
    if count > 1:
        area = np.bincount(islands.ravel(), weight.ravel())
        keep = area >= min_area
        keep[0] = False
        if not keep.any():
            keep[1 + int(np.argmax(area[1:]))] = True
        part = keep[islands]
    top, left = int(window.row > 0), int(window.col > 0)
    inner = part[top : top + window.height, left : left + window.width]
    if np.count_nonzero(inner) == np.count_nonzero(part):
        return PlacedMask.of(inner, window.row, window.col)
    # the background around it was small enough to be a hole
    whole = np.repeat(np.repeat(part, rows, axis=0), cols, axis=1)
    return PlacedMask.of(whole)
