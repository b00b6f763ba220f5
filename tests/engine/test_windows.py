"""Windows; masks in their place have the same pixels as in the plane."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_segment_anything.engine import PlacedMask, Window
from napari_segment_anything.errors import ParameterError

sides = st.integers(1, 3000)
SHAPE = (9, 13)
masks = arrays(bool, SHAPE)


@given(sides, sides, st.integers(1, 4000), st.floats(-100, 4000), st.floats(-100, 4000))
def test_a_window_around_a_point_lies_in_the_image_and_holds_it(height, width, size, row, col):
    window = Window.around((row, col), (height, width), size)
    assert window.shape == (min(size, height), min(size, width))
    assert window.row + window.height <= height
    assert window.col + window.width <= width
    if -0.5 <= row < height - 0.5:
        assert window.row - 0.5 <= row <= window.row + window.height - 0.5


def test_a_window_is_centred_where_it_can_be():
    assert Window.around((50, 60), (100, 200), 11) == Window(45, 55, 11, 11)
    assert Window.around((0, 199), (100, 200), (10, 20)) == Window(0, 180, 10, 20)


@pytest.mark.parametrize("values", [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, -2)])
def test_wrong_windows(values):
    with pytest.raises(ParameterError):
        Window(*values)


def test_clipping():
    assert Window(5, 6, 100, 100).clip((20, 30)) == Window(5, 6, 15, 24)
    with pytest.raises(ParameterError, match="outside"):
        Window(20, 0, 5, 5).clip((20, 30))
    with pytest.raises(ParameterError):
        Window.around((math.nan, 0), (10, 10), 5)


def test_numpy_integers_are_fine():
    window = Window(*np.array([1, 2, 3, 4]))
    assert type(window.row) is int


@given(masks, st.integers(0, 9), st.integers(0, 9))
def test_a_mask_is_kept_to_the_pixel(mask, row, col):
    kept = PlacedMask.of(mask, row, col)
    where = Window(row, col, *SHAPE)
    assert (kept.within(where) == mask).all()
    assert kept.area == mask.sum()
    assert kept.empty is not mask.any()
    assert (kept.mask == mask[kept.window.slices_in(where)]).all()
    assert kept == PlacedMask.of(np.pad(mask, 1), row - 1, col - 1)
    assert (kept.crop(row + 3, col, *SHAPE)[:-3] == mask[3:]).all()
    assert (kept.crop(row - 4, col - 2, 4 + SHAPE[0], 2 + SHAPE[1])[4:, 2:] == mask).all()
    assert not kept.crop(row + 20, col, 5, 5).any() and not kept.crop(row - 20, col, 5, 5).any()


@given(masks, st.lists(st.tuples(st.floats(-3, 20), st.floats(-3, 20)), max_size=5))
def test_points_lie_in_the_pixel_around_them(mask, points):
    there = np.pad(mask, 15)  # so that all points are inside of the array
    at = np.array(points, float).reshape(-1, 2)
    expected = there[tuple((np.floor(at + 0.5).astype(int) + 15).T)]
    assert (PlacedMask.of(mask).holds(at) == expected).all()


@given(masks, masks)
def test_overlap_is_that_of_the_pixels(a, b):
    first, second = PlacedMask.of(a), PlacedMask.of(b)
    assert first.shared(second) == second.shared(first) == (a & b).sum()
    assert first.iou(second) == (a & b).sum() / max((a | b).sum(), 1)


@given(masks, arrays(np.uint8, SHAPE, elements=st.integers(0, 2)), st.integers(-4, 4))
def test_pasting_leaves_other_pixels_alone(mask, labels, shift):
    placed = PlacedMask.of(mask, 5, 5)
    seen = placed.crop(5 + shift, 5 - shift, *SHAPE)
    for free_only in (False, True):
        drawn = labels.copy()
        placed.paste(drawn, 7, 5 + shift, 5 - shift, free_only=free_only)
        put = seen & (labels == 0) if free_only else seen
        assert (drawn == np.where(put, 7, labels)).all()


@given(st.lists(st.integers(0, 12), min_size=8, max_size=8))
def test_windows_meet_and_join_as_their_pixels_do(sides):
    first, second = (
        Window(*sides[:2], sides[2] + 1, sides[3] + 1),
        Window(*sides[4:6], sides[6] + 1, sides[7] + 1),
    )
    planes = np.zeros((2, 32, 32), bool)
    planes[0][first.slices], planes[1][second.slices] = True, True
    shared = first.intersection(second)
    assert (shared is not None) == (planes[0] & planes[1]).any()
    if shared is not None:
        assert shared == PlacedMask.of(planes[0] & planes[1]).window
    assert first.union(second) == PlacedMask.of(planes[0] | planes[1]).window
    assert first.box == (first.row, first.col, *(np.argwhere(planes[0]).max(0)))
