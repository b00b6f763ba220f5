from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segment_anything.engine import Window
from napari_segment_anything.engine.windows import choose_level, level_factor, plan_window
from napari_segment_anything.errors import ParameterError

sides = st.integers(1, 3000)


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


@pytest.mark.parametrize(
    ("full", "reduced", "factor"),
    [(100, 50, 2), (101, 51, 2), (101, 50, 2), (1000, 125, 8), (7, 7, 1), (9, 6, 1.5), (5, 1, 5)],
)
def test_level_factor(full, reduced, factor):
    assert level_factor(full, reduced) == factor


def test_the_coarsest_level_that_fills_the_frame_is_taken():
    shapes = [(8000, 8000), (4000, 4000), (2000, 2000), (1000, 1000)]
    assert choose_level(shapes, (8000, 8000), 1024) == 2
    assert choose_level(shapes, (4096, 100), 1024) == 2
    assert choose_level(shapes, (2047, 2047), 1024) == 1
    assert choose_level(shapes, (100, 100), 1024) == 0


@given(st.data(), st.integers(1, 400), st.integers(1, 400), st.sampled_from([2, 3, 4, 8]))
def test_a_plan_covers_the_window_with_whole_pixels_of_the_level(data, height, width, factor):
    shapes = [(height, width), (-(-height // factor), -(-width // factor))]
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(row, col, data.draw(sides), data.draw(sides))
    clipped = window.clip(shapes[0])
    plan = plan_window(shapes, window, 64, level=1)
    for axis, (read, start, side) in enumerate(
        zip((plan.rows, plan.cols), (clipped.row, clipped.col), clipped.shape, strict=True)
    ):
        assert 0 <= read.start < read.stop <= shapes[1][axis]
        origin = (plan.window.row, plan.window.col)[axis]
        extent = plan.window.shape[axis]
        assert origin <= start
        assert start + side <= origin + extent
        if level_factor(shapes[0][axis], shapes[1][axis]) == factor:
            assert origin == read.start * factor
            assert plan.canvas[axis] == (read.stop - read.start) * factor
            assert extent == min(plan.canvas[axis], shapes[0][axis] - origin)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 299), st.integers(0, 299))
def test_any_level_shape_gives_a_usable_plan(full, reduced, start, side):
    reduced, start = min(reduced, full), min(start, full - 1)
    window = Window(start, 0, side + 1, 1)
    plan = plan_window([(full, 1), (reduced, 1)], window, 64, level=1)
    assert plan.window.row + plan.window.height <= full
    assert 0 <= plan.rows.start < plan.rows.stop <= reduced
    assert plan.canvas[0] >= 1


def test_the_full_resolution_is_read_as_it_is():
    plan = plan_window([(100, 200)], Window(3, 4, 50, 500), 1024)
    assert plan.window == Window(3, 4, 50, 196)
    assert (plan.rows, plan.cols) == (slice(3, 53), slice(4, 200))
    assert plan.canvas == (50, 196)
    with pytest.raises(ParameterError, match="level 1"):
        plan_window([(100, 200)], None, 1024, level=1)


def test_numpy_integers_are_fine():
    window = Window(*np.array([1, 2, 3, 4]))
    assert type(window.row) is int
