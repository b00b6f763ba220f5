"""Measures of a segmentation from its overlap table, and their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from ..errors import ParameterError
from .overlap import OverlapTable

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
T = TypeVar("T")
_TINY = 1e-9  # an IoU of 3/5 reaches a threshold of .6 despite rounding


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """One-to-one pairs of true and found objects.

    Parameters
    ----------
    true_index, found_index : int64 array (k,)
        Positions in the table's ids.
    iou : float64 array (k,)
        IoU of each pair.
    """

    true_index: NDArray[np.int64]
    found_index: NDArray[np.int64]
    iou: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.iou)


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives, and quotients of them.

    If there are neither true nor found objects, all quotients are 1.
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def ap(self) -> float:
        """TP / (TP + FP + FN), called average precision in cell segmentation."""
        wrong = self.false_positives + self.false_negatives
        return _quotient(self.true_positives, self.true_positives + wrong)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 if there are objects but none was found."""
        found = self.true_positives + self.false_positives
        return _quotient(self.true_positives, found, 0.0 if self.false_negatives else 1.0)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); 0 if there are no objects but some were found."""
        true = self.true_positives + self.false_negatives
        return _quotient(self.true_positives, true, 0.0 if self.false_positives else 1.0)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        wrong = self.false_positives + self.false_negatives
        return _quotient(2 * self.true_positives, 2 * self.true_positives + wrong)


@dataclass(frozen=True, slots=True)
class PanopticQuality:
    """Segmentation quality (mean IoU of matches) and recognition quality (F1).

    Kirillov et al., Panoptic Segmentation, section 4, for one class.
    """

    segmentation: float
    recognition: float

    @property
    def quality(self) -> float:
        """Panoptic quality, the product of the two."""
        return self.segmentation * self.recognition


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval.

    Parameters
    ----------
    value, low, high : float
        NaN if there is nothing to measure; of a bootstrap, `low` and `high` also for a single
        image.
    count : int
        Number of images, or of other units that it is estimated from.
    """

    value: float
    low: float
    high: float
    count: int


def _quotient(part: float, whole: float, empty: float = 1.0) -> float:
    return part / whole if whole else empty


def match(table: OverlapTable, threshold: float = 0.5) -> Match:
    """Match true and found objects one to one at an IoU threshold.

    Objects that do not overlap others of their kind have at most one partner above an IoU of .5.
    Otherwise the matching has as many pairs as possible, and among those the largest sum of IoU.

    Parameters
    ----------
    table : OverlapTable
        Of one image.
    threshold : float
        Smallest IoU of a pair, above 0 and at most 1.

    Raises
    ------
    ParameterError
        If the threshold is not in that range.
    """
    if not 0 < threshold <= 1:
        raise ParameterError(f"an IoU threshold lies above 0 and up to 1, not at {threshold}")
    iou = table.iou
    near = np.flatnonzero(iou >= threshold - _TINY)
    rows, cols, values = table.true_index[near], table.found_index[near], iou[near]
    contested = _repeated(rows) | _repeated(cols)
    if contested.any():
        kept = np.flatnonzero(~contested)
        chosen = _assign(rows[contested], cols[contested], values[contested])
        keep = np.sort(np.concatenate([kept, np.flatnonzero(contested)[chosen]]))
        rows, cols, values = rows[keep], cols[keep], values[keep]
    return Match(rows, cols, values)


def _repeated(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    repeated: NDArray[np.bool_] = counts[inverse] > 1
    return repeated


def _assign(
    rows: NDArray[np.int64], cols: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Positions of the pairs of the best assignment: most pairs, then largest sum of IoU."""
    row_ids, r = np.unique(rows, return_inverse=True)
    col_ids, c = np.unique(cols, return_inverse=True)
    gain = np.zeros((len(row_ids), len(col_ids)))
    place = np.full(gain.shape, -1)
    # one more pair outweighs any sum of IoU
    gain[r, c] = values + min(gain.shape) + 1
    place[r, c] = np.arange(len(rows))
    chosen = place[linear_sum_assignment(gain, maximize=True)]
    found: NDArray[np.int64] = chosen[chosen >= 0]
    return found


def counts(table: OverlapTable, threshold: float = 0.5) -> Counts:
    """Count true positives, false positives and false negatives at an IoU threshold.

    Parameters
    ----------
    table : OverlapTable
        Of one image.
    threshold : float
        As for `match`.
    """
    hits = len(match(table, threshold))
    return Counts(hits, table.found_count - hits, table.true_count - hits)


def average_precision(
    table: OverlapTable, thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.float64]:
    """TP / (TP + FP + FN) at each IoU threshold.

    Parameters
    ----------
    table : OverlapTable
        Of one image.
    thresholds : sequence of float
        IoU.

    Returns
    -------
    float64 array (thresholds,)
    """
    return np.array([counts(table, threshold).ap for threshold in thresholds])


def panoptic_quality(table: OverlapTable, threshold: float = 0.5) -> PanopticQuality:
    """Panoptic quality of one image; both factors are 1 if there are no objects at all.

    Parameters
    ----------
    table : OverlapTable
        Of one image.
    threshold : float
        As for `match`.
    """
    pairs = match(table, threshold)
    hits = len(pairs)
    found = Counts(hits, table.found_count - hits, table.true_count - hits)
    empty = 0.0 if table.found_count or table.true_count else 1.0
    return PanopticQuality(float(pairs.iou.mean()) if hits else empty, found.f1)


def best_iou(table: OverlapTable, found: ArrayLike | None = None) -> NDArray[np.float64]:
    """Largest IoU of each true object with a found one; their mean is the mIoU of a segmentation.

    Parameters
    ----------
    table : OverlapTable
        Of one image.
    found : int array, optional
        Positions of `found_ids` to consider; by default all.

    Returns
    -------
    float64 array (n,)
        0 for objects that share no pixel with a found one.
    """
    best = np.zeros(table.true_count)
    pairs = np.ones(len(table.shared), bool)
    if found is not None:
        chosen = np.zeros(table.found_count, bool)
        chosen[np.asarray(found, np.intp)] = True
        pairs = chosen[table.found_index]
    np.maximum.at(best, table.true_index[pairs], table.iou[pairs])
    return best


def top(scores: ArrayLike, k: int) -> NDArray[np.int64]:
    """Positions of the best scores, best first; of equal scores the first.

    Parameters
    ----------
    scores : array-like (n,)
    k : int
        How many, at most.
    """
    order: NDArray[np.int64] = np.argsort(-np.asarray(scores, np.float64), kind="stable")[:k]
    return order


def recall_at(best: ArrayLike, thresholds: Sequence[float] = THRESHOLDS) -> NDArray[np.float64]:
    """Fraction of true objects whose best IoU reaches each threshold; NaN without objects.

    From a threshold of .5 on, this is the recall of a one-to-one matching, since a proposal can
    match only one of several disjoint objects.

    Parameters
    ----------
    best : array-like (n,)
        From `best_iou`, of one image or several.
    thresholds : sequence of float
        IoU.
    """
    values = np.asarray(best, np.float64)
    if not len(values):
        return np.full(len(thresholds), np.nan)
    return np.array([(values >= threshold - _TINY).mean() for threshold in thresholds])


def average_recall(
    table: OverlapTable,
    scores: ArrayLike,
    k: int = 1000,
    thresholds: Sequence[float] = THRESHOLDS,
) -> float:
    """AR@k of one image: recall of the k best proposals, averaged over IoU thresholds.

    Parameters
    ----------
    table : OverlapTable
        From `overlap_of_masks`.
    scores : array-like (m,)
        Score of each mask.
    k : int
        Number of proposals.
    thresholds : sequence of float
        IoU.

    Returns
    -------
    float
        NaN without true objects.
    """
    return float(recall_at(best_iou(table, top(scores, k)), thresholds).mean())


def mask_iou(a: ArrayLike, b: ArrayLike) -> float:
    """IoU of two masks; 1 if both are empty.

    Parameters
    ----------
    a, b : bool array
        Of equal shape.

    Raises
    ------
    ParameterError
        If the shapes differ.
    """
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape:
        raise ParameterError(f"masks of shapes {first.shape} and {second.shape} differ")
    union = int(np.count_nonzero(first | second))
    return _quotient(int(np.count_nonzero(first & second)), union)


def bootstrap(
    parts: ArrayLike,
    wholes: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Mean with a percentile bootstrap interval, from resampling images with replacement.

    Parameters
    ----------
    parts : array-like (n,)
        A number for each image; NaN is ignored.
    wholes : array-like (n,), optional
        If given, the value is sum(parts) / sum(wholes), such as a mean over objects pooled over
        images. The objects of an image stay together, since they are not independent.
    level : float
        Confidence level.
    resamples : int
        Number of resamples.
    seed : int
        The same seed gives the same interval.

    Raises
    ------
    ParameterError
        If lengths differ, or level or resamples are out of range.
    """
    if not 0 < level < 1 or resamples < 1:
        raise ParameterError("a bootstrap needs a level between 0 and 1 and at least 1 resample")
    part = np.asarray(parts, np.float64)
    whole = np.ones(part.shape) if wholes is None else np.asarray(wholes, np.float64)
    if part.shape != whole.shape or part.ndim != 1:
        raise ParameterError(f"{part.shape} parts do not fit {whole.shape} wholes")
    real = ~(np.isnan(part) | np.isnan(whole))
    part, whole = part[real], whole[real]
    count = len(part)
    if not whole.sum():
        return Interval(np.nan, np.nan, np.nan, count)
    value = float(part.sum() / whole.sum())
    if count < 2:
        return Interval(value, np.nan, np.nan, count)
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for start in range(0, resamples, 256):
        index = rng.integers(count, size=(min(256, resamples - start), count))
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn[start : start + len(index)] = part[index].sum(1) / whole[index].sum(1)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), count)


def bootstrap_statistic(
    items: Sequence[T],
    statistic: Callable[[Sequence[T]], float],
    *,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> Interval:
    """Bootstrap what is no quotient of sums; parameters as for `bootstrap`.

    Parameters
    ----------
    items : sequence
        What is drawn with replacement: one for each image file.
    statistic : callable
        Takes such items, and returns a number.
    level, resamples, seed
        As for `bootstrap`.
    """
    value = statistic(items) if items else np.nan
    if len(items) < 2:
        return Interval(value, np.nan, np.nan, len(items))
    rng = np.random.default_rng(seed)
    drawn = [
        statistic([items[i] for i in rng.integers(len(items), size=len(items))])
        for _ in range(resamples)
    ]
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), len(items))
