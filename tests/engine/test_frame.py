from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_segment_anything.engine.frame import to_frame
from napari_segment_anything.engine.windows import frame_side


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
