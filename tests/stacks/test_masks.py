"""Masks of single objects, and how they share a plane."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_segment_anything.stacks.fill import between
from napari_segment_anything.stacks.masks import (
    PlaneMask,
    compose,
    interior_point,
    overlapping_parts,
)
from napari_segment_anything.stacks.windows import window_for

masks = arrays(bool, (9, 13))


@settings(max_examples=40, deadline=None)
@given(masks)
def test_a_mask_is_kept_to_the_pixel(mask):
    kept = PlaneMask.of(mask)
    if kept is None:
        assert not mask.any()
        return
    assert kept.area == mask.sum()
    np.testing.assert_array_equal(kept.within(0, 0, *mask.shape), mask)
    np.testing.assert_array_equal(kept.pixels, mask[kept.slices])
    row, col = interior_point(kept)
    assert mask[row, col]
    assert kept == PlaneMask.of(mask.copy())


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_overlap_is_that_of_the_pixels(a, b):
    first, second = PlaneMask.of(a), PlaneMask.of(b)
    if first is None or second is None:
        return
    assert first.shared(second) == second.shared(first) == (a & b).sum()
    assert first.iou(second) == (a & b).sum() / (a | b).sum()
    parts = overlapping_parts(first, second)
    if parts is None:
        assert not (a & b).any()
    else:
        pixels = parts.within(0, 0, *a.shape)
        assert not (pixels & ~a).any()
        assert (pixels & b).sum() == (a & b).sum()


@settings(max_examples=30, deadline=None)
@given(st.lists(masks, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_composed_labels_cover_the_masks_in_any_order(found, random):
    items = [(i, PlaneMask.of(m), i == 3) for i, m in enumerate(found, 1) if m.any()]
    labels = compose(items, (9, 13))
    union = np.any(np.stack([np.zeros((9, 13), bool), *(m for m in found)]), axis=0)
    np.testing.assert_array_equal(labels > 0, union)
    for number, mask, prompted in items:
        mine = labels == number
        assert not (mine & ~mask.within(0, 0, 9, 13)).any()
        if prompted:
            np.testing.assert_array_equal(mine, mask.within(0, 0, 9, 13))
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
    middle = between(PlaneMask.of(first), PlaneMask.of(second), 0.5)
    assert middle is not None
    low, high = sorted((first.sum(), second.sum()))
    assert 0.6 * low <= middle.area <= high + 2 * (height + width)
    if not grows:
        np.testing.assert_array_equal(middle.within(0, 0, 48, 48), first)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.integers(1, 900),
    st.sampled_from([128, 512, 1024]),
)
def test_windows_hold_their_object(canvas, place, size, side):
    size = min(size, *canvas)
    row, col = (int(p * (n - size)) for p, n in zip(place, canvas, strict=True))
    box = (row, col, row + size - 1, col + size - 1)
    window = window_for(box, canvas, side)
    if window is None:
        return
    assert window.row <= row and window.col <= col
    assert window.row + window.height >= row + size
    assert window.col + window.width >= col + size
    assert window.row + window.height <= canvas[0]
    assert window.col + window.width <= canvas[1]
