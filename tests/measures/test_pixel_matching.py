"""Matching of pixels: cases made by hand, and the largest matching by another program."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from napari_segment_anything.measures.pixel_matching import match_pixels


def line(row: int, shape=(40, 60)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[row, 10:50] = True
    return mask


def largest(found: np.ndarray, true: np.ndarray, reach: float) -> int:
    """Number of pairs in the largest matching, by SciPy."""
    ours, theirs = np.argwhere(found), np.argwhere(true)
    near = ((ours[:, None] - theirs) ** 2).sum(-1) <= reach**2
    return int((maximum_bipartite_matching(csr_array(near)) >= 0).sum())


def test_pixels_are_matched_one_to_one_within_reach() -> None:
    found, true = match_pixels(line(10) | line(11), line(12), 2.0)
    assert found.sum() == true.sum() == 40  # two lines, and one that both are near to
    found, true = match_pixels(line(10), line(13), 2.9)
    assert not found.any() and not true.any()
    found, true = match_pixels(line(10), np.zeros((40, 60), bool), 2.0)
    assert found.shape == (40,) and true.shape == (0,)


def test_matching_is_the_largest_not_a_greedy_one() -> None:
    found, true = np.zeros((2, 1, 8), bool)
    found[0, [2, 4]] = True
    true[0, [3, 0]] = True  # 4 reaches only 3, 2 reaches both
    assert all(hits.all() for hits in match_pixels(found, true, 2.0))


def test_nearest_pixels_are_matched_where_a_choice_is_left() -> None:
    found, _ = match_pixels(line(10) | line(11) | line(13), line(12) | line(13), 3.0)
    assert found.reshape(3, 40).all(1).tolist() == [False, True, True]


@pytest.mark.parametrize("reach", [0.5, 1.0, 2.0, 2.9, 6.5])
def test_as_many_pairs_as_in_the_largest_matching(reach: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        shape = random.integers(1, 32, 2)
        found, true = (random.random(shape) < random.random() * 0.6 for _ in range(2))
        hits = match_pixels(found, true, reach)
        assert [each.sum() for each in hits] == [largest(found, true, reach)] * 2
        assert [len(each) for each in hits] == [found.sum(), true.sum()]


def test_a_pixel_is_matched_although_all_other_pairs_have_to_change() -> None:
    found, true = np.zeros((2, 1, 400), bool)
    found[0, 0:400:4] = True
    true[0, 1:396:4] = True  # each nearest to the pixel on its left; the last pixel has none ...
    found[0, 396], found[0, 2] = True, True
    true[0, 399] = True  # ... but this one, which a second pixel on the left sets free
    hits = match_pixels(found, true, 3.0)
    assert [each.sum() for each in hits] == [largest(found, true, 3.0)] * 2 == [100, 100]


def test_bounds_of_a_dense_matching() -> None:
    random = np.random.default_rng(1)
    found, true = random.random((300, 400)) < 0.3, random.random((300, 400)) < 0.05
    found[:, 200:], true[:, 250:] = False, False
    mine, theirs = match_pixels(found, true, 9.0)
    near_found = distance_transform_edt(~found)[true] <= 9
    assert mine.sum() == theirs.sum() == near_found.sum()  # many more than enough, where any
