"""Connected parts of a mask: those that its prompts are in, small holes and small islands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .windows import PlacedMask

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
        Unchanged without a positive point or box. If the prompts are in no part, the part nearest
        to the first positive point is kept, or the one that fills most of the box.
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


def clean(mask: PlacedMask, shape: tuple[int, int], min_area: float) -> tuple[PlacedMask, bool]:
    """Fill holes smaller than an area, then drop islands smaller than it.

    Both are 8-connected. All background together counts as a hole if it is that small. If every
    island is too small, the largest stays (the first of equals, row by row).

    Parameters
    ----------
    mask : PlacedMask
    shape : (int, int)
        Rows and columns of the image.
    min_area : float
        Pixels; 0 changes nothing.

    Returns
    -------
    mask : PlacedMask
    changed : bool
        Whether there was a small hole or island, even if the only one was kept.
    """
    if mask.empty or min_area <= 0:
        return mask, False
    # Outside the mask's window there is only background: one line on each side represents it,
    # weighted by the number of lines there.
    repeats = [
        np.array([part.start, *[1] * (part.stop - part.start), size - part.stop])
        for part, size in zip(mask.window.slices, shape, strict=True)
    ]
    rows, cols = (count[count > 0] for count in repeats)
    pixels = np.pad(mask.mask, 1)[np.ix_(*(count > 0 for count in repeats))]
    weight = np.multiply.outer(rows, cols)

    holes, _ = ndimage.label(~pixels, _EIGHT)
    small = np.bincount(holes.ravel(), weight.ravel()) < min_area
    small[0] = False
    pixels = pixels | small[holes]
    islands, _ = ndimage.label(pixels, _EIGHT)
    area = np.bincount(islands.ravel(), weight.ravel())
    keep = area >= min_area
    keep[0] = False
    if not small.any() and keep[1:].all():
        return mask, False
    if not keep.any():
        keep[1 + int(np.argmax(area[1:]))] = True
    pixels = keep[islands]
    top, left = int(mask.window.row > 0), int(mask.window.col > 0)
    inner = pixels[top : top + mask.window.height, left : left + mask.window.width]
    if np.count_nonzero(inner) == np.count_nonzero(pixels):
        return PlacedMask.of(inner, mask.window.row, mask.window.col), True
    # the background around it was small enough to be a hole
    return PlacedMask.of(np.repeat(np.repeat(pixels, rows, axis=0), cols, axis=1)), True
