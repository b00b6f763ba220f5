"""Connected parts and holes of all objects of a label image at once."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as label_parts


def main_parts(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Keep the largest connected part of each object, of equal ones the first.

    Parameters
    ----------
    labels : int32 array (h, w)
        0 background, 1 to n.
    """
    parts, count = label_parts(labels, background=0, return_num=True, connectivity=1)
    area = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    owner = np.zeros(count + 1, labels.dtype)
    owner[parts.ravel()] = labels.ravel()
    order = np.lexsort((-area, owner[1:]))
    _, first = np.unique(owner[1:][order], return_index=True)
    if len(first) == count:
        return labels
    owner[1 + np.delete(order, first)] = 0
    return owner[parts]


def with_holes(labels: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the labels of objects that have holes, ascending.

    Parameters
    ----------
    labels : int32 array (h, w)
        0 background; every object is one connected part.
    """
    padded = np.pad(labels, 1)
    corners = [padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]]
    mixed = (corners[0] != corners[1]) | (corners[2] != corners[3]) | (corners[0] != corners[2])
    quads = [corner[mixed] for corner in corners]
    # Euler number of each object by its 2 x 2 neighbourhoods: those with one of its pixels, less
    # those with three, less twice those with two across; each counted once for each such pixel
    alike = [np.ones(len(quads[0]), np.int8) for _ in quads]
    for first, second in itertools.combinations(range(4), 2):
        equal = quads[first] == quads[second]
        alike[first] += equal
        alike[second] += equal
    across = [quads[0] == quads[3], quads[1] == quads[2]]
    euler = np.zeros(int(labels.max(initial=0)) + 1)
    for corner, (quad, number) in enumerate(zip(quads, alike, strict=True)):
        diagonal = (number == 2) & across[corner in (1, 2)]
        weight = 3.0 * (number == 1) - (number == 3) - 3.0 * diagonal
        euler += np.bincount(quad, weight, minlength=len(euler))
    there = np.bincount(labels.ravel(), minlength=len(euler)) > 0
    holed = there & (euler < 12)
    holed[0] = False
    return np.flatnonzero(holed)


def filled(
    labels: NDArray[np.int32], number: int, around: tuple[slice, slice], free: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return an object with its holes filled.

    Parameters
    ----------
    labels : int32 array (h, w)
    number : int
        The object's label.
    around : tuple of slice
        Where it lies.
    free : bool array, as large as `around`
        Pixels of holes that it may take.

    Returns
    -------
    bool array, as large as `around`
    """
    mask = labels[around] == number
    whole: NDArray[np.bool_] = ndimage.binary_fill_holes(mask) & (mask | free)
    return whole
