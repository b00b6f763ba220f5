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
    true_ids, true_flat = np.unique(a, return_inverse=True)
    found_ids, found_flat = np.unique(b, return_inverse=True)
    width = max(len(found_ids), 1)
    codes = true_flat.ravel().astype(np.int64) * width + found_flat.ravel()
    pairs, shared = np.unique(codes, return_counts=True)
    rows, cols = pairs // width, pairs % width
    true_areas = np.bincount(rows, shared, len(true_ids)).astype(np.int64)
    found_areas = np.bincount(cols, shared, len(found_ids)).astype(np.int64)
    real_rows, real_cols = true_ids != 0, found_ids != 0
    keep = real_rows[rows] & real_cols[cols]
    return OverlapTable(
        true_ids[real_rows].astype(np.int64),
        found_ids[real_cols].astype(np.int64),
        true_areas[real_rows],
        found_areas[real_cols],
        (np.cumsum(real_rows) - 1)[rows[keep]],
        (np.cumsum(real_cols) - 1)[cols[keep]],
        shared[keep].astype(np.int64),
    )


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
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape)
    areas = np.bincount(dense.ravel(), minlength=len(ids)).astype(np.int64)
    rows, cols, counts, found_areas = [], [], [], []
    for number, (row, col, pixels) in enumerate(masks):
        under = dense[row : row + pixels.shape[0], col : col + pixels.shape[1]]
        if min(row, col) < 0 or under.shape != pixels.shape:
            raise ParameterError(
                f"a mask of {pixels.shape} at ({row}, {col}) reaches beyond labels of shape "
                f"{labels.shape}"
            )
        inside = under[pixels]
        touched = np.bincount(inside, minlength=len(ids))
        which = np.flatnonzero(touched)
        rows.append(which)
        cols.append(np.full(len(which), number))
        counts.append(touched[which])
        found_areas.append(len(inside))
    empty = [np.zeros(0, np.int64)]
    row_index, col_index, shared = (
        np.concatenate(empty + part).astype(np.int64) for part in (rows, cols, counts)
    )
    real = ids != 0
    keep = real[row_index]
    return OverlapTable(
        ids[real].astype(np.int64),
        np.arange(len(found_areas), dtype=np.int64),
        areas[real],
        np.array(found_areas, np.int64),
        (np.cumsum(real) - 1)[row_index[keep]],
        col_index[keep],
        shared[keep],
    )
