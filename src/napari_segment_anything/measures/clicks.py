"""Simulated prompts of a careful user, from the true object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import ParameterError


@dataclass(frozen=True, slots=True)
class Click:
    """A point prompt.

    Parameters
    ----------
    row, col : float
        Position in the image.
    label : int
        1 inside the object, 0 outside.
    """

    row: float
    col: float
    label: int


def interior_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel farthest from a mask's edge, the paper's single point (SAM, section 7.1).

    The border of the array counts as an edge. Of several such pixels, the one nearest to their mean
    is taken.

    Raises
    ------
    ParameterError
        If the mask is empty.
    """
    (row, col), depth = _deepest(mask)
    if depth == 0:
        raise ParameterError("an empty mask has no interior point")
    return row, col


def tight_box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """(row_min, col_min, row_max, col_max) at the outer edges of the outermost pixels.

    Pixel centres lie at integers: the box of the single pixel (3, 5) is (2.5, 4.5, 3.5, 5.5).

    Raises
    ------
    ParameterError
        If the mask is empty.
    """
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ParameterError("an empty mask has no box")
    return (
        float(rows[0]) - 0.5, float(cols[0]) - 0.5, float(rows[-1]) + 0.5, float(cols[-1]) + 0.5,
    )  # fmt: skip


def next_click(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Click | None:
    """A click in the middle of the largest error: positive in false negatives, else negative.

    The size of an error is the radius of the largest disc that fits into it (Sofiiuk et al., RITM),
    so that thin rims matter little.

    Parameters
    ----------
    found, truth : bool array (rows, columns)
        Masks.

    Returns
    -------
    Click or None
        None if the masks are equal.
    """
    missed, spilled = _deepest(truth & ~found), _deepest(found & ~truth)
    if missed[1] == spilled[1] == 0:
        return None
    (row, col), label = (missed[0], 1) if missed[1] >= spilled[1] else (spilled[0], 0)
    return Click(row, col, label)


def _deepest(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], float]:
    """Pixel farthest from the mask's edge, and its distance; 0 for an empty mask."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (0, 0), 0.0
    part = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    distance = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    depth = float(distance.max())
    places = np.argwhere(distance >= depth - 1e-9)
    middle = places[np.argmin(((places - places.mean(0)) ** 2).sum(1))]
    return (int(rows[0] + middle[0]), int(cols[0] + middle[1])), depth


def inscribed_ellipse(
    box: tuple[float, float, float, float], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Mask of the ellipse inscribed in a box.

    Parameters
    ----------
    box : tuple of float
        (row_min, col_min, row_max, col_max), edges.
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    bool array (rows, columns)
    """
    row_min, col_min, row_max, col_max = box
    rows = (np.arange(shape[0]) - (row_min + row_max) / 2) / ((row_max - row_min) / 2)
    cols = (np.arange(shape[1]) - (col_min + col_max) / 2) / ((col_max - col_min) / 2)
    inside: NDArray[np.bool_] = rows[:, None] ** 2 + cols[None] ** 2 <= 1
    return inside
