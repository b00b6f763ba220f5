"""Totals and shares from a stratified random sample, with confidence intervals.

Units (masks, fields) are drawn from each stratum at random without replacement, so a unit stands
for N_h / n_h units of its stratum. Three kinds of interval are used:

- shares: Clopper-Pearson with the effective sample size (Korn and Graubard 1998);
- totals of what few units have (false masks, missed objects): the gamma interval of Fay and Feuer
  (1997) as modified by Tiwari, Clegg and Zou (2006), which is not empty if the sample has none;
- totals of what all units have (the change of a mask's area): Student's t with Satterthwaite's
  degrees of freedom.

Sums of such totals have intervals by Zou and Donner's method (2008, "MOVER"): distances from the
estimates to their limits are added like standard errors, each side by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import ParameterError
from ..measures import Interval

LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Units drawn from strata.

    Parameters
    ----------
    stratum : int64 array (n,)
        Stratum of each drawn unit.
    sizes : int64 array (strata,)
        Number of units in each stratum, drawn or not.

    Raises
    ------
    ParameterError
        If a stratum has more drawn units than units, or too few for an estimate: of one unit one
        must be drawn, of more at least two.
    """

    stratum: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __post_init__(self) -> None:
        drawn = self.drawn
        if (drawn > self.sizes).any():
            raise ParameterError("more units were drawn than there are")
        if (drawn < np.minimum(self.sizes, 2)).any():
            raise ParameterError("an estimate needs at least two units of each stratum")

    @property
    def drawn(self) -> NDArray[np.int64]:
        """Number of drawn units in each stratum."""
        return np.bincount(self.stratum, minlength=len(self.sizes))

    @property
    def weights(self) -> NDArray[np.float64]:
        """Units that each drawn unit stands for: (n,)."""
        weights: NDArray[np.float64] = (self.sizes / np.maximum(self.drawn, 1))[self.stratum]
        return weights

    @property
    def unseen(self) -> NDArray[np.float64]:
        """Share of units of each stratum that were not drawn."""
        unseen: NDArray[np.float64] = 1 - self.drawn / np.maximum(self.sizes, 1)
        return unseen

    def total(self, values: ArrayLike) -> float:
        """Horvitz-Thompson estimate of a total over all units, from a value per drawn unit."""
        return float(self.weights @ np.asarray(values, float))

    def covariance(self, *values: ArrayLike) -> NDArray[np.float64]:
        """Estimated covariance matrix of the totals of several values per drawn unit."""
        return np.asarray(sum(self._covariances(*values)))

    def freedom(self, values: ArrayLike) -> float:
        """Satterthwaite's degrees of freedom of the variance of a total; at least 1."""
        parts = np.array([part[0, 0] for part in self._covariances(values)])
        spread = (parts**2 / np.maximum(self.drawn - 1, 1)).sum()
        if not spread:
            return float(max(len(self.stratum) - len(self.sizes), 1))
        return float(max(parts.sum() ** 2 / spread, 1))

    def _covariances(self, *values: ArrayLike) -> list[NDArray[np.float64]]:
        """The contribution of each stratum to the covariance of totals."""
        array = np.atleast_2d(np.array(values, float))
        found = [np.zeros((len(array), len(array)))]
        for number, (size, drawn, unseen) in enumerate(
            zip(self.sizes, self.drawn, self.unseen, strict=True)
        ):
            if drawn < 2:
                found.append(np.zeros_like(found[0]))
                continue
            spread = np.atleast_2d(np.cov(array[:, self.stratum == number]))
            found.append(size**2 * unseen / drawn * spread)
        return found[1:] or found


def share(sample: Sample, hits: ArrayLike, level: float = LEVEL) -> Interval:
    """Share of all units that have a property.

    Parameters
    ----------
    sample : Sample
    hits : bool array (n,)
        Whether each drawn unit has it.
    level : float
        Confidence level.
    """
    count, units = len(sample.stratum), int(sample.sizes.sum())
    if not count:
        return Interval(np.nan, np.nan, np.nan, 0)
    value = min(sample.total(hits) / units, 1.0)
    if count == units:
        return Interval(value, value, value, count)
    # no more information than in units of unequal weight drawn from all, also if all agree
    most = sample.weights.sum() ** 2 / (sample.weights**2).sum() / (1 - count / units)
    variance = float(sample.covariance(hits)[0, 0]) / units**2
    effective = min(value * (1 - value) / variance, most) if variance else most
    tail = (1 - level) / 2
    few = sample.freedom(hits)
    effective *= (stats.t.ppf(tail, count - 1) / stats.t.ppf(tail, few)) ** 2 if count > 1 else 1
    x = value * effective
    low = stats.beta.ppf(tail, x, effective - x + 1) if x > 0 else 0.0
    high = stats.beta.ppf(1 - tail, x + 1, effective - x) if x < effective else 1.0
    return Interval(value, float(min(low, value)), float(max(high, value)), count)


def rare_total(
    sample: Sample, values: ArrayLike, typical: float = 1.0, level: float = LEVEL
) -> Interval:
    """Total over all units of what only some of them have.

    Parameters
    ----------
    sample : Sample
    values : array-like (n,)
        Not negative: how much each drawn unit has.
    typical : float
        How much a unit has that has some; it sets the upper limit if none was drawn.
    level : float
        Confidence level.
    """
    held = np.asarray(values, float)
    value = sample.total(held)
    unseen = sample.unseen
    if not unseen.any():
        return Interval(value, value, value, len(held))
    variance = float(sample.covariance(held)[0, 0])
    # one more unit that has some, of average weight
    rates = typical * sample.sizes / np.maximum(sample.drawn, 1) * np.sqrt(unseen)
    tail = (1 - level) / 2
    low = _gamma(tail, value, variance)
    high = _gamma(1 - tail, value + rates.mean(), variance + (rates**2).mean())
    # the variance is itself an estimate
    wider = stats.t.ppf(tail, sample.freedom(held)) / stats.norm.ppf(tail) if variance else 1.0
    low, high = value - (value - low) * wider, value + (high - value) * wider
    return Interval(value, max(low, float(held.sum())), max(high, value), len(held))


def _gamma(quantile: float, mean: float, variance: float) -> float:
    if mean <= 0 or variance <= 0:
        return mean
    return float(stats.gamma.ppf(quantile, mean**2 / variance, scale=variance / mean))


def mean_total(sample: Sample, values: ArrayLike, level: float = LEVEL) -> Interval:
    """Total over all units of what most of them have, of either sign.

    Parameters
    ----------
    sample : Sample
    values : array-like (n,)
        How much each drawn unit has.
    level : float
        Confidence level.
    """
    value = sample.total(values)
    error = float(np.sqrt(sample.covariance(values)[0, 0]))
    margin = error * float(stats.t.ppf((1 + level) / 2, sample.freedom(values)))
    return Interval(value, value - margin, value + margin, len(sample.stratum))


def negative(interval: Interval) -> Interval:
    """The interval of the same quantity with the opposite sign."""
    return Interval(-interval.value, -interval.high, -interval.low, interval.count)


def scaled(interval: Interval, factor: float) -> Interval:
    """The interval of a quantity times a known positive factor."""
    low, value, high = (factor * v for v in (interval.low, interval.value, interval.high))
    return Interval(value, low, high, interval.count)


def summed(
    parts: Sequence[Interval], correlation: ArrayLike | None = None, constant: float = 0.0
) -> Interval:
    """Sum of estimates with intervals (MOVER).

    Parameters
    ----------
    parts : sequence of Interval
    correlation : array-like (parts, parts), optional
        Of the estimates; independent ones by default.
    constant : float
        Added without error.
    """
    r = np.eye(len(parts)) if correlation is None else np.asarray(correlation, float)
    value = constant + sum(part.value for part in parts)
    below = np.array([part.value - part.low for part in parts])
    above = np.array([part.high - part.value for part in parts])
    low, high = (float(np.sqrt(max(margin @ r @ margin, 0.0))) for margin in (below, above))
    return Interval(value, value - low, value + high, sum(part.count for part in parts))


def fraction(part: Interval, rest: Interval) -> Interval:
    """Quotient part / (part + rest) of two independent estimates that are not negative (MOVER).

    Parameters
    ----------
    part, rest : Interval
    """
    count = part.count + rest.count
    whole = part.value + rest.value
    if whole <= 0 or part.low <= 0:
        return Interval(part.value / whole if whole > 0 else np.nan, 0.0, 1.0, count)
    a, b = rest.value, part.value
    low = a * b - np.sqrt(max((a * b) ** 2 - rest.low * part.high
                              * (2 * a - rest.low) * (2 * b - part.high), 0))  # fmt: skip
    high = a * b + np.sqrt(max((a * b) ** 2 - rest.high * part.low
                               * (2 * a - rest.high) * (2 * b - part.low), 0))  # fmt: skip
    least = max(low / (part.high * (2 * b - part.high)), 0.0) if 2 * b > part.high else 0.0
    most = high / (part.low * (2 * b - part.low))
    return Interval(b / whole, float(1 / (1 + most)), float(1 / (1 + least)), count)


def correlations(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation matrix of a covariance matrix; 0 beside what does not vary."""
    deviation = np.sqrt(np.diag(covariance))
    scale = np.outer(deviation, deviation)
    r: NDArray[np.float64] = np.divide(
        covariance, scale, out=np.zeros_like(covariance), where=scale > 0
    )
    np.fill_diagonal(r, 1)
    return r
