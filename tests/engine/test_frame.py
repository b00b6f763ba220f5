from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_segment_anything.engine import Window
from napari_segment_anything.engine.frame import (
    choose_level,
    frame_side,
    level_factor,
    plan_window,
    to_frame,
)
from napari_segment_anything.errors import ParameterError


@pytest.mark.parametrize("shape", [(90, 150), (300, 128), (128, 128), (1, 1), (1, 5000), (77, 3)])
def test_8_bit_colour_is_resized_as_published(shape, rng):
    photo = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    scale = 128 / max(shape)
    size = (max(1, int(shape[1] * scale + 0.5)), max(1, int(shape[0] * scale + 0.5)))
    expected = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
    frame = to_frame(photo, 128)
    assert frame.shape == (1, 3, size[1], size[0])
    np.testing.assert_array_equal(frame[0].permute(1, 2, 0).numpy(), expected)


def test_gray_is_colour_with_equal_channels(rng):
    gray = rng.integers(0, 256, (60, 40), dtype=np.uint8)
    colour = np.repeat(gray[..., None], 3, axis=2)
    np.testing.assert_array_equal(to_frame(gray, 128), to_frame(colour, 128))
    real = gray.astype(np.float32)
    np.testing.assert_array_equal(
        to_frame(real, 128), to_frame(np.repeat(real[..., None], 3, axis=2), 128)
    )


def test_real_numbers_are_not_rounded(rng):
    gray = rng.integers(0, 256, (200, 170), dtype=np.uint8)
    whole, real = to_frame(gray, 128), to_frame(gray.astype(np.float32), 128)
    assert (whole - real).abs().max() <= 1
    assert (real % 1 != 0).any()


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([128, 512, 1024]))
def test_the_frame_fits(height, width, size):
    rows, cols = frame_side((height, width), size)
    assert max(rows, cols) == size
    assert min(rows, cols) >= 1


sides = st.integers(1, 3000)


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
