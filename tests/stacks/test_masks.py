"""Masks of single objects, and how they share a plane."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_segment_anything.engine import PlacedMask, Window
from napari_segment_anything.stacks.masks import (
    compose,
    interior_point,
    overlapping_parts,
)
from napari_segment_anything.stacks.relabel import between

PLANE = Window(0, 0, 9, 13)
masks = arrays(bool, PLANE.shape)


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_parts_and_points_of_a_mask_lie_in_it(a, b):
    first, second = PlacedMask.of(a), PlacedMask.of(b)
    if first.empty:
        return
    assert a[interior_point(first)]
    pixels = overlapping_parts(first, second).within(PLANE)
    assert not (pixels & ~a).any()
    if (a & b).any() or not pixels.any():
        assert (pixels & b).sum() == (a & b).sum()


@settings(max_examples=30, deadline=None)
@given(st.lists(masks, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_composed_labels_cover_the_masks_in_any_order(found, random):
    items = [(i, PlacedMask.of(m), i == 3) for i, m in enumerate(found, 1) if m.any()]
    labels = compose(items, (9, 13))
    union = np.any(np.stack([np.zeros((9, 13), bool), *(m for m in found)]), axis=0)
    np.testing.assert_array_equal(labels > 0, union)
    for number, mask, prompted in items:
        mine = labels == number
        assert not (mine & ~mask.within(PLANE)).any()
        if prompted:
            np.testing.assert_array_equal(mine, mask.within(PLANE))
    random.shuffle(items)
    np.testing.assert_array_equal(compose(items, (9, 13)), labels)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 8), st.integers(2, 8), st.booleans())
def test_the_shape_between_two_sections_lies_between(row, col, height, width, grows):
    plane = np.zeros((48, 48), bool)
    first, second = plane.copy(), plane.copy()
    first[row : row + height, col : col + width] = True
    add = 3 if grows else 0
    second[row : row + height + add, col : col + width + add] = True
    middle = between(PlacedMask.of(first), PlacedMask.of(second), 0.5)
    low, high = sorted((first.sum(), second.sum()))
    assert 0.6 * low <= middle.area <= high + 2 * (height + width)
    if not grows:
        np.testing.assert_array_equal(middle.crop(0, 0, 48, 48), first)
