"""Masks for planes that an object is missing from, between two that have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..engine import PlacedMask


def between(first: PlacedMask, second: PlacedMask, share: float) -> PlacedMask:
    """Return the shape between two sections.

    Signed distances of both are averaged (Raya and Udupa 1990), each moved so that the centres
    lie on a line.

    Parameters
    ----------
    first, second : PlacedMask
        Sections on two planes.
    share : float
        0 at the first plane, 1 at the second.
    """
    centres = [_centre(mask) for mask in (first, second)]
    middle = (1 - share) * centres[0] + share * centres[1]
    moves = [np.round(middle - centre).astype(int).tolist() for centre in centres]
    boxes = np.array([m.window.box for m in (first, second)]) + np.tile(moves, 2)
    (row, col), (bottom, right) = boxes[:, :2].min(0) - 1, boxes[:, 2:].max(0) + 1
    distances = [
        _signed(mask.crop(row - down, col - across, bottom + 1 - row, right + 1 - col))
        for mask, (down, across) in zip((first, second), moves, strict=True)
    ]
    shape = (1 - share) * distances[0] + share * distances[1] > 0
    top, left = max(0, -row), max(0, -col)  # moved over the plane's edge by rounding
    return PlacedMask.of(shape[top:, left:], row + top, col + left)


def _centre(mask: PlacedMask) -> NDArray[np.float64]:
    origin = np.array([mask.window.row, mask.window.col])
    centre: NDArray[np.float64] = np.argwhere(mask.mask).mean(axis=0) + origin
    return centre


def _signed(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    inside: NDArray[np.float64] = ndimage.distance_transform_edt(mask)
    outside: NDArray[np.float64] = ndimage.distance_transform_edt(~mask)
    return inside - outside
