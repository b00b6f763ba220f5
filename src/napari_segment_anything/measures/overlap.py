"""How the objects of two segmentations overlap: counted once, the basis of all measures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError


@dataclass(frozen=True, slots=True, eq=False)
class OverlapTable:
    """Pixels that true and found objects share: a sparse contingency table.

    Returned by `overlap_table` and `overlap_of_masks`. True objects never overlap each other; found
    objects may if they are given as masks.

    Parameters
    ----------
    true_ids, found_ids : int64 array (n,), (m,)
        Labels of the objects, ascending; for masks their positions from 0.
    true_areas, found_areas : int64 array (n,), (m,)
        Pixels of each object.
    true_index, found_index : int64 array (p,)
        Pairs that share pixels, as positions in `true_ids` and `found_ids`, each pair once.
    shared : int64 array (p,)
        Number of pixels shared by each pair, at least 1.
    """

    true_ids: NDArray[np.int64]
    found_ids: NDArray[np.int64]
    true_areas: NDArray[np.int64]
    found_areas: NDArray[np.int64]
    true_index: NDArray[np.int64]
    found_index: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def true_count(self) -> int:
        """Number of true objects."""
        return len(self.true_ids)

    @property
    def found_count(self) -> int:
        """Number of found objects."""
        return len(self.found_ids)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair: float64 (p,), above 0."""
        union = self.true_areas[self.true_index] + self.found_areas[self.found_index] - self.shared
        quotient: NDArray[np.float64] = self.shared / union
        return quotient

    def transposed(self) -> OverlapTable:
        """Return the table with true and found exchanged."""
        return OverlapTable(
            self.found_ids, self.true_ids, self.found_areas, self.true_areas,
            self.found_index, self.true_index, self.shared,
        )  # fmt: skip


def overlap_table(truth: ArrayLike, found: ArrayLike) -> OverlapTable:
    """Count the overlaps of two label images.

    Parameters
    ----------
    truth, found : integer array, equal shapes, any number of dimensions
        0 is background.

    Raises
    ------
    ParameterError
        If the shapes differ or the arrays do not hold integers.
    """
    a, b = np.asarray(truth), np.asarray(found)
    if a.shape != b.shape:
        raise ParameterError(f"label images of shapes {a.shape} and {b.shape} cannot be compared")
    for labels in (a, b):
        if labels.dtype.kind not in "iub":
            raise ParameterError(f"label images hold integers, not {labels.dtype}")
    true_ids, true_ranks = _ranked(a)
    found_ids, found_ranks = _ranked(b)
    first, second, shared = shared_pixels(true_ranks, found_ranks)
    return OverlapTable(
        true_ids,
        found_ids,
        np.bincount(true_ranks.ravel(), minlength=len(true_ids) + 1)[1:],
        np.bincount(found_ranks.ravel(), minlength=len(found_ids) + 1)[1:],
        first - 1,
        second - 1,
        shared,
    )


def _ranked(labels: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the objects, and each pixel's position in them from 1; 0 is background."""
    ids, flat = np.unique(labels, return_inverse=True)
    real = ids != 0
    ranks = (np.cumsum(real) * real)[flat].reshape(labels.shape)
    return ids[real].astype(np.int64), ranks.astype(np.int64)


def shared_pixels(
    first: NDArray[np.integer], second: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find the pairs of objects of two label images that share pixels.

    Parameters
    ----------
    first, second : integer array, equal shapes
        Not negative; 0 is background.

    Returns
    -------
    first, second, pixels : int64 array (k,)
        The labels of each pair, in ascending order, and the number of pixels it shares.
    """
    both = (first > 0) & (second > 0)
    a, b = first[both].astype(np.int64), second[both].astype(np.int64)
    width = int(b.max(initial=0)) + 1
    keys, pixels = np.unique(a * width + b, return_counts=True)
    return keys // width, keys % width, pixels.astype(np.int64)


def overlap_of_masks(
    truth: ArrayLike, masks: Iterable[tuple[int, int, NDArray[np.bool_]]]
) -> OverlapTable:
    """Count the overlaps of a label image with masks, which may overlap each other.

    Parameters
    ----------
    truth : integer array (rows, columns)
        0 is background.
    masks : iterable of (int, int, bool array)
        Each mask cut to a rectangle: its first row, its first column, its pixels. Found ids are
        their positions, from 0.

    Raises
    ------
    ParameterError
        If a mask reaches beyond the label image.
    """
    labels = np.asarray(truth)
    ids, ranks = _ranked(labels)
    rows, cols, counts, found_areas = [], [], [], []
    for number, (row, col, pixels) in enumerate(masks):
        under = ranks[row : row + pixels.shape[0], col : col + pixels.shape[1]]
        if min(row, col) < 0 or under.shape != pixels.shape:
            raise ParameterError(
                f"a mask of {pixels.shape} at ({row}, {col}) reaches beyond labels of shape "
                f"{labels.shape}"
            )
        inside = under[pixels]
        touched = np.bincount(inside, minlength=1)
        touched[0] = 0
        which = np.flatnonzero(touched)
        rows.append(which)
        cols.append(np.full(len(which), number))
        counts.append(touched[which])
        found_areas.append(len(inside))
    empty = [np.zeros(0, np.int64)]
    row_index, col_index, shared = (
        np.concatenate(empty + part).astype(np.int64) for part in (rows, cols, counts)
    )
    return OverlapTable(
        ids,
        np.arange(len(found_areas), dtype=np.int64),
        np.bincount(ranks.ravel(), minlength=len(ids) + 1)[1:],
        np.array(found_areas, np.int64),
        row_index - 1,
        col_index,
        shared,
    )
