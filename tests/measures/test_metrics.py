"""Overlap tables and measures, against cases computed by hand and properties they must have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.measures import (
    THRESHOLDS,
    Counts,
    average_precision,
    average_recall,
    best_iou,
    bootstrap,
    counts,
    mask_iou,
    match,
    overlap_of_masks,
    overlap_table,
    panoptic_quality,
    recall_at,
    top,
)

labels = arrays(np.int32, (7, 8), elements=st.integers(0, 4))
pair = st.tuples(labels, labels)
quick = settings(max_examples=60, deadline=None)


def line(*runs: tuple[int, int]) -> np.ndarray:
    """One row of pixels: (label, length) after each other."""
    return np.concatenate([np.full(length, label) for label, length in runs])[None]


# three true objects of 10 pixels; found: one with IoU .8, one with IoU 6/10, two extra pieces
TRUTH = line((1, 10), (2, 10), (3, 10), (0, 10))
FOUND = line((5, 8), (0, 2), (7, 6), (0, 4), (9, 4), (0, 6), (8, 10))


def test_the_table_by_hand():
    table = overlap_table(TRUTH, FOUND)
    assert table.true_ids.tolist() == [1, 2, 3]
    assert table.found_ids.tolist() == [5, 7, 8, 9]
    assert table.true_areas.tolist() == [10, 10, 10]
    assert table.found_areas.tolist() == [8, 6, 10, 4]
    assert [*zip(table.true_index, table.found_index, table.shared, strict=True)] == [
        (0, 0, 8), (1, 1, 6), (2, 3, 4),
    ]  # fmt: skip
    np.testing.assert_allclose(table.iou, [0.8, 0.6, 0.4])


def test_measures_by_hand():
    table = overlap_table(TRUTH, FOUND)
    at_half = counts(table, 0.5)
    assert at_half == Counts(2, 2, 1)
    assert at_half.ap == pytest.approx(2 / 5)
    assert at_half.precision == pytest.approx(2 / 4)
    assert at_half.recall == pytest.approx(2 / 3)
    assert at_half.f1 == pytest.approx(4 / 7)
    quality = panoptic_quality(table)
    assert quality.segmentation == pytest.approx(0.7)
    assert quality.recognition == pytest.approx(4 / 7)
    assert quality.quality == pytest.approx(0.4)
    # 2 hits up to .60, 1 up to .80, then none: 2/5 three times, 1/6 four times
    expected = [2 / 5] * 3 + [1 / 6] * 4 + [0] * 3
    np.testing.assert_allclose(average_precision(table), expected)
    np.testing.assert_allclose(best_iou(table), [0.8, 0.6, 0.4])


def test_a_threshold_is_reached_exactly():
    table = overlap_table(line((1, 10)), line((1, 6), (0, 4)))
    assert counts(table, 0.6).true_positives == 1
    assert counts(table, 0.65).true_positives == 0


def test_nothing_at_all_is_perfect_and_nothing_found_is_not():
    nothing, something = np.zeros((4, 4), int), np.eye(4, dtype=int)
    empty = overlap_table(nothing, nothing)
    assert counts(empty) == Counts(0, 0, 0)
    assert (counts(empty).ap, counts(empty).precision, counts(empty).recall) == (1, 1, 1)
    assert panoptic_quality(empty).quality == 1
    missed, spurious = overlap_table(something, nothing), overlap_table(nothing, something)
    for table in (missed, spurious):
        found = counts(table)
        assert (found.ap, found.f1, found.precision, found.recall) == (0, 0, 0, 0)
        assert panoptic_quality(table).quality == 0


def test_low_thresholds_take_the_largest_number_of_pairs():
    # greedy by IoU would pair 1 with 1 (IoU .5) and leave 2 and 2 without partner
    truth = line((1, 6), (2, 2), (0, 4))
    found = line((2, 3), (1, 4), (1, 1), (0, 4))
    pairs = match(overlap_table(truth, found), 0.1)
    ids = overlap_table(truth, found)
    got = {(int(ids.true_ids[t]), int(ids.found_ids[f]))
           for t, f in zip(pairs.true_index, pairs.found_index, strict=True)}  # fmt: skip
    assert got == {(1, 2), (2, 1)}


def test_wrong_input_is_refused():
    with pytest.raises(ParameterError, match="shapes"):
        overlap_table(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ParameterError, match="integers"):
        overlap_table(np.zeros((2, 2)), np.zeros((2, 2), int))
    with pytest.raises(ParameterError, match="threshold"):
        match(overlap_table(TRUTH, FOUND), 0)
    with pytest.raises(ParameterError):
        mask_iou(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ParameterError, match="reaches beyond"):
        overlap_of_masks(np.zeros((2, 2), int), [(0, 0, np.zeros((2, 3), bool))])


@quick
@given(pair)
def test_the_table_counts_every_pixel(two):
    truth, found = two
    table = overlap_table(truth, found)
    for t, f, shared in zip(table.true_index, table.found_index, table.shared, strict=True):
        a, b = truth == table.true_ids[t], found == table.found_ids[f]
        assert shared == (a & b).sum()
        assert table.true_areas[t] == a.sum() and table.found_areas[f] == b.sum()
    assert table.shared.sum() == ((truth > 0) & (found > 0)).sum()


@quick
@given(pair, st.sampled_from([0.1, 0.3, *THRESHOLDS]))
def test_exchanging_truth_and_found_exchanges_the_errors(two, threshold):
    table = overlap_table(*two)
    one, other = counts(table, threshold), counts(table.transposed(), threshold)
    assert one == Counts(other.true_positives, other.false_negatives, other.false_positives)
    assert one.ap == other.ap and one.f1 == other.f1
    assert one.precision == other.recall or 0 in (table.true_count, table.found_count)
    first, second = panoptic_quality(table), panoptic_quality(table.transposed())
    assert first.quality == pytest.approx(second.quality)


@quick
@given(pair, st.permutations(range(1, 5)), st.permutations(range(1, 5)))
def test_ids_do_not_matter(two, mine, yours):
    truth, found = two
    other = overlap_table(np.array([0, *mine])[truth], np.array([0, *yours])[found] * 1000)
    np.testing.assert_allclose(
        average_precision(overlap_table(truth, found)), average_precision(other)
    )


@quick
@given(pair)
def test_bounds_and_order(two):
    table = overlap_table(*two)
    ap = average_precision(table)
    assert ((ap >= 0) & (ap <= 1)).all()
    assert (np.diff(ap) <= 0).all()
    quality = panoptic_quality(table)
    assert 0 <= quality.quality <= quality.recognition <= 1
    best = best_iou(table)
    assert ((best >= 0) & (best <= 1)).all()
    pairs = match(table, 0.2)
    assert len(set(pairs.true_index)) == len(set(pairs.found_index)) == len(pairs)


@quick
@given(labels)
def test_a_segmentation_matches_itself(truth):
    table = overlap_table(truth, truth)
    assert (average_precision(table) == 1).all()
    assert panoptic_quality(table).quality == 1


@quick
@given(pair)
def test_masks_give_the_table_of_their_label_image(two):
    truth, found = two
    ids = [i for i in range(1, 5) if (found == i).any()]
    table = overlap_of_masks(truth, [(0, 0, found == i) for i in ids])
    other = overlap_table(truth, found)
    np.testing.assert_array_equal(table.found_areas, other.found_areas)
    a = sorted(zip(table.true_index, table.found_index, table.shared, strict=True))
    assert a == sorted(zip(other.true_index, other.found_index, other.shared, strict=True))


def test_average_recall_by_hand():
    masks = [(0, 0, i == FOUND) for i in (5, 7, 9)] + [(0, 20, np.ones((1, 10), bool))]
    table = overlap_of_masks(TRUTH, masks)
    scores = [0.9, 0.8, 0.7, 0.1]
    # of the best two: IoU .8 and .6 of three objects
    assert average_recall(table, scores, 2) == pytest.approx((3 * 2 / 3 + 4 * 1 / 3) / 10)
    # all four: the third object is perfect
    assert average_recall(table, scores, 1000) == pytest.approx((3 * 3 + 4 * 2 + 3 * 1) / 3 / 10)
    assert top([0.5, 0.9, 0.5], 2).tolist() == [1, 0]
    assert np.isnan(recall_at([])).all()


def test_mask_iou():
    a = np.array([[1, 1, 0, 0]], bool)
    assert mask_iou(a, np.array([[0, 1, 1, 0]], bool)) == pytest.approx(1 / 3)
    assert mask_iou(a, a) == 1
    assert mask_iou(~a & a, ~a & a) == 1


def test_bootstrap_is_seeded_and_covers_the_truth():
    rng = np.random.default_rng(0)
    hits = 0
    for repeat in range(60):
        interval = bootstrap(rng.normal(0.7, 0.1, 30), resamples=300, seed=repeat)
        assert interval.low <= interval.value <= interval.high
        hits += interval.low <= 0.7 <= interval.high
    assert hits >= 50
    values = rng.random(20)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)


def test_bootstrap_of_quotients_pools_and_skips_what_is_missing():
    interval = bootstrap([3, 1, np.nan], [4, 1, 1])
    assert interval.value == pytest.approx(4 / 5) and interval.count == 2
    single = bootstrap([2], [4])
    assert single.value == 0.5 and np.isnan(single.low)
    assert np.isnan(bootstrap([]).value)
    with pytest.raises(ParameterError):
        bootstrap([1], [1, 2])
    with pytest.raises(ParameterError):
        bootstrap([1], level=1)
