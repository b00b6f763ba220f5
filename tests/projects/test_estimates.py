"""Estimates from stratified samples: unbiased, and their intervals cover the truth."""

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.measures import Interval
from napari_segment_anything.projects.estimates import (
    Sample,
    correlations,
    fraction,
    mean_total,
    negative,
    rare_total,
    scaled,
    share,
    summed,
)

SIZES = np.array([300, 120, 40])
DRAWN = np.array([30, 20, 15])
STRATUM = np.repeat(np.arange(3), SIZES)


def samples(values: np.ndarray, count: int = 300):
    """Stratified random samples, and the values of their units."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        chosen = np.concatenate(
            [
                rng.choice(np.flatnonzero(number == STRATUM), drawn, replace=False)
                for number, drawn in enumerate(DRAWN)
            ]
        )
        yield Sample(STRATUM[chosen], SIZES), values[chosen]


def coverage(found: list[Interval], truth: float) -> float:
    return float(np.mean([i.low - 1e-9 <= truth <= i.high + 1e-9 for i in found]))


def test_a_known_stratified_total() -> None:
    sample = Sample(np.array([0, 0, 1, 1]), np.array([10, 4]))
    values = [1.0, 3.0, 5.0, 5.0]
    assert sample.weights.tolist() == [5, 5, 2, 2]
    assert sample.total(values) == 40
    # 10^2 (1 - 2/10) / 2 times the variance, which is 2
    assert sample.covariance(values)[0, 0] == pytest.approx(80)
    assert sample.freedom(values) == 1


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2, 0.7, 0.98])
def test_shares_are_covered(rate: float) -> None:
    hits = np.random.default_rng(1).random(len(STRATUM)) < rate
    found = [share(sample, values) for sample, values in samples(hits)]
    assert coverage(found, hits.mean()) >= 0.93
    assert all(0 <= i.low <= i.value <= i.high <= 1 for i in found)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.5])
def test_rare_totals_are_covered(rate: float) -> None:
    rng = np.random.default_rng(2)
    values = rng.poisson(rate, len(STRATUM)) * 1.0
    found = [rare_total(sample, held) for sample, held in samples(values)]
    assert coverage(found, values.sum()) >= 0.93
    assert np.mean([i.value for i in found]) == pytest.approx(values.sum(), rel=0.1)


def test_totals_of_both_signs_are_covered() -> None:
    values = np.random.default_rng(3).normal(-1, 2, len(STRATUM)) + STRATUM
    found = [mean_total(sample, held) for sample, held in samples(values)]
    assert 0.92 <= coverage(found, values.sum()) <= 0.99


def test_a_census_has_no_error() -> None:
    sample = Sample(STRATUM, SIZES)
    values = np.arange(len(STRATUM)) % 3
    for interval in (rare_total(sample, values), mean_total(sample, values)):
        assert interval.low == interval.high == pytest.approx(values.sum())
    interval = share(sample, values > 0)
    assert interval.low == interval.high == (values > 0).mean()


def test_sums_of_intervals() -> None:
    first, second = Interval(10, 7, 14, 5), Interval(1, 1, 4, 3)
    found = summed((first, second), constant=100)
    assert (found.value, found.low, found.high, found.count) == (111, 108, 116, 8)
    # fully correlated distances are added as they are
    assert summed((first, second), np.ones((2, 2))).high == 18
    assert summed((first, negative(first)), [[1, -1], [-1, 1]]).low == pytest.approx(-1)
    assert scaled(first, 2) == Interval(20, 14, 28, 5)


def test_fractions() -> None:
    found = fraction(Interval(90, 80, 100, 1), Interval(10, 5, 20, 1))
    assert found.value == pytest.approx(0.9)
    assert 0.8 < found.low < 0.9 < found.high < 0.96
    assert fraction(Interval(90, 80, 100, 1), Interval(0, 0, 4, 1)).high == 1
    assert np.isnan(fraction(Interval(0, 0, 0, 0), Interval(0, 0, 0, 0)).value)


def test_correlations_without_variance() -> None:
    found = correlations(np.array([[4.0, 2, 0], [2, 4, 0], [0, 0, 0]]))
    assert found.tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]


def test_samples_that_cannot_be() -> None:
    with pytest.raises(nsa.ParameterError, match="than there are"):
        Sample(np.zeros(3, np.int64), np.array([2]))
    with pytest.raises(nsa.ParameterError, match="at least two"):
        Sample(np.zeros(1, np.int64), np.array([2]))
