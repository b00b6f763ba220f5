"""Measures of a segmentation as pure functions of its overlap table, and their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from ..errors import ParameterError
from .overlap import OverlapTable

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
_TINY = 1e-9  # an IoU of 3/5 reaches a threshold of .6, whatever the last bit says


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """One-to-one pairs of true and found objects.

    Parameters
    ----------
    true_index, found_index : int64 array (k,)
        Positions in the table's ids.
    iou : float64 array (k,)
        Of each pair.
    """

    true_index: NDArray[np.int64]
    found_index: NDArray[np.int64]
    iou: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.iou)


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives, false negatives, and what follows from them.

    Without any object, true or found, everything is right and all quotients are 1.
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
        """TP / (TP + FP + FN), the average precision of the cell segmentation field."""
        wrong = self.false_positives + self.false_negatives
        return _quotient(self.true_positives, self.true_positives + wrong)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 0 if nothing was found although there are objects."""
        found = self.true_positives + self.false_positives
        return _quotient(self.true_positives, found, 0.0 if self.false_negatives else 1.0)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); 0 if something was found although there is nothing."""
        true = self.true_positives + self.false_negatives
        return _quotient(self.true_positives, true, 0.0 if self.false_positives else 1.0)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        wrong = self.false_positives + self.false_negatives
        return _quotient(2 * self.true_positives, 2 * self.true_positives + wrong)


@dataclass(frozen=True, slots=True)
class PanopticQuality:
    """Segmentation quality (mean IoU of the matched) times recognition quality (F1).

    Kirillov et al., Panoptic Segmentation, section 4, for one class.
    """

    segmentation: float
    recognition: float

    @property
    def quality(self) -> float:
        """The product."""
        return self.segmentation * self.recognition


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its bootstrap confidence interval.

    Parameters
    ----------
    value, low, high : float
        NaN where there is nothing to measure.
    count : int
        Images behind it; of one image alone there is no interval, low and high are NaN.
    """

    value: float
    low: float
    high: float
    count: int


def _quotient(part: float, whole: float, empty: float = 1.0) -> float:
    return part / whole if whole else empty


def match(table: OverlapTable, threshold: float = 0.5) -> Match:
    """Match true and found objects one to one, each pair with an IoU of at least `threshold`.

    Above an IoU of .5, objects that do not overlap their like have at most one partner, and
    there is nothing to choose. Elsewhere the largest number of pairs is taken, and among those
    the largest sum of IoU.

    Parameters
    ----------
    table : OverlapTable
        Of one image.
    threshold : float
        Above 0, up to 1.

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
    """Positions of the pairs of the best assignment: most pairs first, then most IoU."""
    row_ids, r = np.unique(rows, return_inverse=True)
    col_ids, c = np.unique(cols, return_inverse=True)
    gain = np.zeros((len(row_ids), len(col_ids)))
    place = np.full(gain.shape, -1)
    # one more pair outweighs all the IoU there can be
    gain[r, c] = values + min(gain.shape) + 1
    place[r, c] = np.arange(len(rows))
    chosen = place[linear_sum_assignment(gain, maximize=True)]
    found: NDArray[np.int64] = chosen[chosen >= 0]
    return found


def counts(table: OverlapTable, threshold: float = 0.5) -> Counts:
    """Count true positives, false positives and false negatives at an IoU threshold."""
    hits = len(match(table, threshold))
    return Counts(hits, table.found_count - hits, table.true_count - hits)


def average_precision(
    table: OverlapTable, thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.float64]:
    """TP / (TP + FP + FN) at each IoU threshold: float64 (thresholds,)."""
    return np.array([counts(table, threshold).ap for threshold in thresholds])


def panoptic_quality(table: OverlapTable, threshold: float = 0.5) -> PanopticQuality:
    """Panoptic quality of one image; both factors are 1 where there is nothing at all."""
    pairs = match(table, threshold)
    hits = len(pairs)
    found = Counts(hits, table.found_count - hits, table.true_count - hits)
    empty = 0.0 if table.found_count or table.true_count else 1.0
    return PanopticQuality(float(pairs.iou.mean()) if hits else empty, found.f1)


def best_iou(table: OverlapTable, found: ArrayLike | None = None) -> NDArray[np.float64]:
    """Largest IoU of each true object with any found one: float64 (n,), 0 if it touches none.

    Its mean is the mIoU of a segmentation.

    Parameters
    ----------
    table : OverlapTable
        Of one image.
    found : int array, optional
        Consider these positions of `found_ids` alone.
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
    """Positions of the k best scores, best first; of equal ones the first."""
    order: NDArray[np.int64] = np.argsort(-np.asarray(scores, np.float64), kind="stable")[:k]
    return order


def recall_at(best: ArrayLike, thresholds: Sequence[float] = THRESHOLDS) -> NDArray[np.float64]:
    """Fraction of true objects whose best IoU reaches each threshold; NaN without objects.

    Of thresholds from .5 on and true objects that do not overlap, a proposal can serve only
    one of them, so that this is the recall of a one-to-one matching.

    Parameters
    ----------
    best : array-like (n,)
        From `best_iou`, of one image or of many.
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
    """AR@k of one image: recall of the k best-scored proposals, the mean over IoU thresholds.

    Parameters
    ----------
    table : OverlapTable
        From `overlap_of_masks`.
    scores : array-like (m,)
        One for each mask.
    k : int
        How many proposals count.
    thresholds : sequence of float
        IoU.

    Returns
    -------
    float
        NaN without true objects.
    """
    return float(recall_at(best_iou(table, top(scores, k)), thresholds).mean())


def mask_iou(a: ArrayLike, b: ArrayLike) -> float:
    """IoU of two masks (bool, equal shapes); 1 if both are empty."""
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
    """Mean with its percentile bootstrap interval, by drawing images with replacement.

    Parameters
    ----------
    parts : array-like (n,)
        One number for each image; NaN ones are left out.
    wholes : array-like (n,), optional
        With them the value is sum(parts) / sum(wholes): of objects pooled over images, or of
        counts. The objects of an image stay together, since they are not independent.
    level : float
        Of confidence.
    resamples : int
        Draws.
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
