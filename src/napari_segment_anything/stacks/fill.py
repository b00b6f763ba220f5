"""Masks for planes that an object is missing from, between two that have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .masks import PlaneMask


def between(first: PlaneMask, second: PlaneMask, share: float) -> PlaneMask | None:
    """Return the shape between two sections.

    Signed distances of both are averaged (Raya and Udupa 1990), each moved so that the centres
    lie on a line.

    Parameters
    ----------
    first, second : PlaneMask
        Sections on two planes.
    share : float
        0 at the first plane, 1 at the second.
    """
    centres = [_centre(mask) for mask in (first, second)]
    middle = (1 - share) * centres[0] + share * centres[1]
    moves = [np.round(middle - centre).astype(int) for centre in centres]
    row = min(m.row + int(move[0]) for m, move in zip((first, second), moves, strict=True)) - 1
    col = min(m.col + int(move[1]) for m, move in zip((first, second), moves, strict=True)) - 1
    ends = [
        (m.row + int(move[0]) + m.shape[0], m.col + int(move[1]) + m.shape[1])
        for m, move in zip((first, second), moves, strict=True)
    ]
    height = max(end[0] for end in ends) + 1 - row
    width = max(end[1] for end in ends) + 1 - col
    distances = [
        _signed(mask.within(row - int(move[0]), col - int(move[1]), height, width))
        for mask, move in zip((first, second), moves, strict=True)
    ]
    shape = (1 - share) * distances[0] + share * distances[1] > 0
    top, left = max(0, -row), max(0, -col)  # moved over the plane's edge by rounding
    return PlaneMask.of(shape[top:, left:], row + top, col + left)


def _centre(mask: PlaneMask) -> NDArray[np.float64]:
    places = np.argwhere(mask.pixels)
    centre: NDArray[np.float64] = places.mean(axis=0) + np.array([mask.row, mask.col])
    return centre


def _signed(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    inside: NDArray[np.float64] = ndimage.distance_transform_edt(mask)
    outside: NDArray[np.float64] = ndimage.distance_transform_edt(~mask)
    return inside - outside
