"""Calibration of the predicted IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Predicted against true IoU.

    Parameters
    ----------
    count : int
        Number of masks.
    correlation : float
        Pearson's; NaN if one of them is constant.
    rank_correlation : float
        Spearman's, on which ranking and filtering by score depend.
    expected_error : float
        Expected calibration error: the difference between mean predicted and mean true IoU in a
        bin, averaged over bins of predicted IoU, weighted by their masks.
    absolute_error : float
        Mean absolute difference over masks.
    bias : float
        Mean of predicted minus true IoU; positive if overconfident.
    edges : float64 array (bins + 1,)
        Edges of the bins of predicted IoU.
    counts : int64 array (bins,)
        Masks in each bin.
    predicted, true, spread : float64 array (bins,)
        Mean prediction, mean truth and standard deviation of the truth; NaN in empty bins.
    """

    count: int
    correlation: float
    rank_correlation: float
    expected_error: float
    absolute_error: float
    bias: float
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    predicted: NDArray[np.float64]
    true: NDArray[np.float64]
    spread: NDArray[np.float64]


def calibrate(predicted: ArrayLike, true: ArrayLike, bins: int = 10) -> Calibration:
    """Compare predicted with true IoU.

    Parameters
    ----------
    predicted : array-like (n,)
        Predicted IoU; values outside 0..1 fall into the outermost bins.
    true : array-like (n,)
        True IoU in 0..1.
    bins : int
        Number of bins of equal width from 0 to 1.

    Raises
    ------
    ParameterError
        If lengths differ, there are no bins, or a number is not finite.
    """
    p, t = np.asarray(predicted, np.float64).ravel(), np.asarray(true, np.float64).ravel()
    if len(p) != len(t) or bins < 1:
        raise ParameterError(f"{len(p)} predicted and {len(t)} true IoU, {bins} bins")
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        raise ParameterError("a predicted or true IoU is not finite")
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.floor(p * bins).astype(int), 0, bins - 1)
    number = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_p = np.bincount(which, p, bins) / number
        mean_t = np.bincount(which, t, bins) / number
        square = np.bincount(which, t * t, bins) / number
    spread = np.sqrt(np.maximum(square - mean_t**2, 0))
    there = number > 0
    gap = np.abs(mean_p - mean_t)[there]
    empty = not len(p)
    return Calibration(
        count=len(p),
        correlation=_correlation(p, t),
        rank_correlation=np.nan if empty else _correlation(_ranks(p), _ranks(t)),
        expected_error=np.nan if empty else float(np.average(gap, weights=number[there])),
        absolute_error=np.nan if empty else float(np.abs(p - t).mean()),
        bias=np.nan if empty else float((p - t).mean()),
        edges=edges,
        counts=number.astype(np.int64),
        predicted=mean_p,
        true=mean_t,
        spread=spread,
    )


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values the mean of theirs (scipy.stats.rankdata, slow to import)."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: NDArray[np.float64] = (last - (count - 1) / 2)[which]
    return ranks
