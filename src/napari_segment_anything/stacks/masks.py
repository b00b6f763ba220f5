"""Masks of single objects in a plane: taken apart, measured and drawn together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..engine import Embedding, PlacedMask, Window
from ..measures import clicks

_EIGHT = np.ones((3, 3), bool)
_ON_TOP = 2.0


def overlapping_parts(mask: PlacedMask, last: PlacedMask) -> PlacedMask:
    """Return the connected parts of `mask` that share pixels with `last`; there may be none."""
    parts, count = ndimage.label(mask.mask, _EIGHT)
    if count < 2:
        return mask
    before = last.within(mask.window)
    keep = np.zeros(count + 1, bool)
    keep[np.unique(parts[before])] = True
    keep[0] = False
    return PlacedMask.of(keep[parts], mask.window.row, mask.window.col)


def surroundings(mask: PlacedMask, reach: int, embedding: Embedding, margin: int) -> Window:
    """Return what of a plane lies within `reach` of a mask's window and is in an embedding.

    Parameters
    ----------
    mask : PlacedMask
    reach : int
        Pixels.
    embedding : Embedding
        Of a window of the plane with its margin.
    margin : int
        Mirrored pixels on each side of the plane.
    """
    inner, seen = mask.window, embedding.window
    rows, cols = (side - 2 * margin for side in embedding.image_shape)
    top = max(0, inner.row - reach, seen.row - margin)
    left = max(0, inner.col - reach, seen.col - margin)
    bottom = min(rows, inner.row + inner.height + reach, seen.row + seen.height - margin)
    right = min(cols, inner.col + inner.width + reach, seen.col + seen.width - margin)
    return Window(top, left, bottom - top, right - left)


def interior_point(mask: PlacedMask) -> tuple[int, int]:
    """(row, col) of the pixel of a mask that is farthest from its outline."""
    row, col = clicks.interior_point(mask.mask)
    return mask.window.row + row, mask.window.col + col


def centre(mask: PlacedMask) -> NDArray[np.float64]:
    """Mean row and column of a mask's pixels."""
    origin = (mask.window.row, mask.window.col)
    place: NDArray[np.float64] = np.argwhere(mask.mask).mean(axis=0) + origin
    return place


def radius_of(mask: PlacedMask) -> float:
    """Radius of the disc of the same area, at least 1."""
    return max(float(np.sqrt(mask.area / np.pi)), 1.0)


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance from the outline, positive inside; pixels next to it have half a pixel."""
    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~padded)[1:-1, 1:-1]
    distance: NDArray[np.float64] = inside - outside - np.where(mask, 0.5, -0.5)
    return distance


def depth(mask: PlacedMask) -> NDArray[np.float32]:
    """How deep inside the mask each pixel of its box lies: 1 at the deepest, 0 outside."""
    distance = ndimage.distance_transform_edt(np.pad(mask.mask, 1))[1:-1, 1:-1]
    result: NDArray[np.float32] = (distance / distance.max()).astype(np.float32)
    return result


def compose(
    objects: Iterable[tuple[int, PlacedMask, bool]], shape: Sequence[int]
) -> NDArray[np.uint32]:
    """Draw the objects of a plane.

    A pixel in several masks goes to a prompted one first, then to the mask in which it lies
    deepest, relative to the mask's size; exact ties go to the lower id. The order of the objects
    does not matter.

    Parameters
    ----------
    objects : iterable of (int, PlacedMask, bool)
        Id, mask, and whether there were prompts for it on this plane.
    shape : (int, int)
        Rows and columns of the plane.
    """
    labels = np.zeros((shape[0], shape[1]), np.uint32)
    best: NDArray[np.float32] | None = None
    items = sorted(objects, key=lambda item: item[0])
    for number, mask, prompted in items:
        if len(items) == 1:
            mask.paste(labels, number)
            break
        if best is None:
            best = np.zeros(labels.shape, np.float32)
        inside = depth(mask) + np.float32(_ON_TOP if prompted else 0.0)
        wins = mask.mask & (inside > best[mask.window.slices])
        labels[mask.window.slices][wins] = number
        best[mask.window.slices][wins] = inside[wins]
    return labels
