"""Sections to objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segment_anything.errors import ImageError, ParameterError
from napari_segment_anything.stacks import link
from napari_segment_anything.stacks.linking import expected_iou

from .helpers import balls


def shuffled(labels, seed=0):
    """Ids that have nothing to do with each other on different planes."""
    rng = np.random.default_rng(seed)
    planes = []
    for plane in labels:
        table = np.zeros(int(labels.max()) + 1, np.int32)
        table[1:] = rng.permutation(int(labels.max())) + 1
        planes.append(table[plane])
    return np.stack(planes)


def same_objects(a, b):
    """Whether two label volumes differ by their ids only."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(set(pairs[0])) == pairs.shape[1] == len(set(pairs[1]))


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([np.uint8, np.int32, np.uint64]))
def test_balls_are_found_again(seed, dtype):
    rng = np.random.default_rng(seed)
    centres = [(12, r, c) for r in (10, 30, 50) for c in (10, 30, 50)]
    centres = [tuple(np.array(c) + np.array([rng.integers(-4, 5), 0, 0])) for c in centres]
    _, truth = balls((24, 62, 62), centres, rng.uniform(4, 9, 9))
    found = link(shuffled(truth, seed).astype(dtype), min_extent=1)
    assert same_objects(found.labels, truth)
    assert len(found) == 9
    assert found.labels.dtype == np.uint32
    for row, number in enumerate(found.table["label"]):
        planes = np.flatnonzero((found.labels == number).any((1, 2)))
        assert found.table["first"][row] == planes[0]
        assert found.table["last"][row] == planes[-1]
        assert found.table["planes"][row] == len(planes)
        assert found.table["area"][row] == (found.labels == number).sum()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_no_object_has_two_sections_on_a_plane(seed):
    rng = np.random.default_rng(seed)
    planes = np.kron(rng.integers(0, 5, (8, 4, 4)), np.ones((1, 4, 4), int))
    found = link(planes, min_extent=1, fill_gaps=False)
    for plane, labels in zip(planes, found.labels, strict=True):
        assert same_objects(plane, labels)  # neither merged, nor split, nor lost
    again = link(shuffled(planes, seed), min_extent=1, fill_gaps=False)
    assert len(again) == len(found)


def test_a_missing_section_is_bridged_and_drawn():
    _, truth = balls()
    holed = truth.copy()
    holed[12][holed[12] == 1] = 0
    assert len(link(holed, max_gap=0)) == 3
    found = link(holed)
    assert len(found) == 2
    number = found.labels[12, 20, 20]
    assert number == found.labels[11, 20, 20] > 0
    drawn, true = found.labels[12] == number, truth[12] == 1
    assert (drawn & true).sum() / (drawn | true).sum() > 0.9
    assert not link(holed, fill_gaps=False).labels[12, 20, 20]
    assert found.table["planes"][number - 1] == found.table["extent"][number - 1] - 1


def test_gaps_are_filled_on_background_only():
    planes = np.zeros((3, 12, 12), int)
    planes[[0, 2], 2:10, 2:10] = 1
    planes[1, 2:10, 2:6] = 7
    planes[1, 2:10, 6:10] = 8
    found = link(planes, link_thresh=0.6, min_extent=1)
    assert (found.labels[1, 2:10, 2:10] > 0).all()
    assert len(np.unique(found.labels[1])) == 3


def test_small_objects_are_dropped_by_extent():
    planes = np.zeros((5, 20, 20), int)
    planes[:, 2:8, 2:8] = 1
    planes[2, 12:18, 12:18] = 2
    assert len(link(planes)) == 1
    assert len(link(planes, min_extent=1)) == 2
    assert len(link(planes[:1])) == 1  # a stack of one plane has no longer objects


def test_far_planes_are_asked_for_less_overlap():
    assert expected_iou(np.array([400]), 1)[0] > expected_iou(np.array([400]), 5)[0]
    assert expected_iou(np.array([10_000]), 5)[0] > expected_iou(np.array([100]), 5)[0]
    _, truth = balls((24, 64, 64), [(12, 30, 30)], [10])
    sparse = shuffled(truth[2::6])  # four sections of a ball of radius 10, six apart
    assert len(link(sparse, link_thresh=0.7, min_extent=1)) > 1
    assert len(link(sparse, link_thresh=0.7, min_extent=1, anisotropy=6)) == 1


def test_scores_are_weighted_by_area():
    planes = np.zeros((2, 10, 10), int)
    planes[0, :4, :4] = 3
    planes[1, :4, :2] = 9
    found = link(planes, scores=[{3: 0.9}, {9: 0.6}])
    np.testing.assert_allclose(found.table["score"], [(16 * 0.9 + 8 * 0.6) / 24])


def test_empty_planes():
    found = link(np.zeros((3, 5, 5), int))
    assert len(found) == 0
    assert not found.labels.any()


@pytest.mark.parametrize(
    ("planes", "options", "error", "words"),
    [
        ([], {}, ImageError, "no label planes"),
        (np.zeros((2, 4, 4)), {}, ImageError, "integers"),
        ([np.zeros((4, 4), int), np.zeros((4, 5), int)], {}, ImageError, "one shape"),
        (np.full((2, 4, 4), -1), {}, ImageError, "negative"),
        (np.zeros((2, 4, 4), int), {"link_thresh": 0}, ParameterError, "link_thresh"),
        (np.zeros((2, 4, 4), int), {"max_gap": -1}, ParameterError, "max_gap"),
        (np.zeros((2, 4, 4), int), {"min_extent": 0}, ParameterError, "min_extent"),
        (np.zeros((2, 4, 4), int), {"anisotropy": 0}, ParameterError, "anisotropy"),
    ],
)
def test_bad_input(planes, options, error, words):
    with pytest.raises(error, match=words):
        link(planes, **options)
