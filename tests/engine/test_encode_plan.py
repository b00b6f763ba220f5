"""What is encoded for prompts: windows that hold them, that neighbours share, that grow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segment_anything.engine import Ask, EncodePlan, Focus, PlacedMask, View, Window
from napari_segment_anything.errors import ParameterError


def at(*points):
    return Ask(np.array(points, float), np.ones(len(points), bool))


def choose_window(prompts, shape, size, *known):
    return EncodePlan(shape, 512, window_size=size).window(prompts, *known)


def test_a_small_image_is_encoded_whole_a_large_one_around_the_prompts():
    assert EncodePlan((1000, 300), 512).size == 1000
    assert EncodePlan((1100, 300), 512).size == 512
    assert EncodePlan((1100, 300), 512, window_size=200).size == 200
    with pytest.raises(ParameterError, match="window_size"):
        EncodePlan((10, 10), 512, window_size=0)
    assert choose_window(at((5, 5)), (300, 400), 400) == Window(0, 0, 300, 400)
    assert choose_window(at((5, 5)), (3000, 4000), 512) == Window(0, 0, 512, 512)
    window = choose_window(at((1500, 2000)), (3000, 4000), 512)
    assert window.shape == (512, 512)
    # well inside, of a grid of windows that neighbours share
    assert 64 <= 1500 - window.row <= 448 and 64 <= 2000 - window.col <= 448
    near = {choose_window(at((r, 2000)), (3000, 4000), 512) for r in range(1450, 1550, 10)}
    assert len(near) <= 2


def test_windows_are_kept_shared_and_enlarged_as_prompts_need():
    shape = (3000, 4000)
    first = choose_window(at((1500, 2000)), shape, 512)
    assert choose_window(at((1500, 2000), (1600, 2100)), shape, 512, first) == first
    # near the edge of its window: a new one around all prompts
    moved = choose_window(at((1500, 2000), (first.row + 8, 2000)), shape, 512, first)
    assert moved != first and moved.shape == (512, 512)
    # another object nearby shares what is encoded already
    assert choose_window(at((1500, 1850)), shape, 512, None, [first]) == first
    assert choose_window(at((first.row - 20, 1900)), shape, 512, None, [first]) != first
    box = Ask(np.zeros((0, 2)), np.zeros(0, bool), (1000.0, 1000.0, 1800.0, 1400.0))
    wide = choose_window(box, shape, 512, None, [first])
    assert wide.height == wide.width >= 1200
    assert wide.row < 1000 and wide.row + wide.height > 1800


@given(
    st.lists(st.tuples(st.floats(0, 1999), st.floats(0, 2999)), min_size=1, max_size=4),
    st.integers(64, 600),
)
def test_every_prompt_lies_in_the_window(points, size):
    first = choose_window(at(points[0]), (2000, 3000), size)
    window = choose_window(at(*points), (2000, 3000), size, first, [first])
    for row, col in points:
        assert window.row - 0.5 <= row <= window.row + window.height - 0.5
        assert window.col - 0.5 <= col <= window.col + window.width - 0.5


def test_a_mask_that_is_cut_off_asks_for_a_larger_window():
    plan, window, place = EncodePlan((1000, 1000), 64), Window(100, 100, 64, 64), at((110, 130))
    row = np.ones((30, 30), bool)
    assert plan.wider(PlacedMask.of(row, 101, 120), window, place) is None
    assert plan.wider(PlacedMask.of(row[:, :2], 100, 120), window, place) is None
    larger = plan.wider(PlacedMask.of(row, 100, 120), window, place)
    assert larger.shape == (128, 128)
    assert larger.row < 100
    for top, left in ((134, 120), (110, 100), (110, 134)):
        assert plan.wider(PlacedMask.of(row, top, left), window, place) is not None
    whole = EncodePlan((64, 64), 64)
    assert whole.wider(PlacedMask.of(row, 0, 0), Window.full((64, 64)), at((10, 10))) is None


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.integers(1, 900),
    st.sampled_from([128, 512, 1024]),
)
def test_windows_hold_the_object_that_is_followed(canvas, place, size, side):
    size = min(size, *canvas)
    row, col = (int(p * (n - size)) for p, n in zip(place, canvas, strict=True))
    box = (row, col, row + size - 1, col + size - 1)
    window = EncodePlan(canvas, side).followed_view(box).window
    assert window.row <= row and window.col <= col
    assert window.row + window.height >= row + size
    assert window.col + window.width >= col + size
    assert window.row + window.height <= canvas[0]
    assert window.col + window.width <= canvas[1]


def test_closer_and_farther_views_hold_the_mask_that_is_refined():
    plan = EncodePlan((300, 400), 512, Focus(least=48, most=400, best=96, unsure=0.9))
    drawn = PlacedMask.of(np.ones((12, 10), bool), 20, 30)
    # a point beside the mask, and what was found there, which is far from the mask
    ask = Ask(np.array([[250.0, 350.0]]), np.array([True]), mask=drawn)
    whole = View(Window.full((300, 400)))
    assert plan.better_view(ask, (246, 346, 254, 354), whole).window.holds(drawn.window.box)
    assert all(view.window.holds(drawn.window.box) for view in plan.farther_views(ask))
    # alone it is seen from as close as what was found
    near = plan.better_view(replace(ask, points=np.array([[25.0, 35.0]])), drawn.window.box, whole)
    assert near.side < 100
