from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segment_anything.engine import open_image, resolve_contrast_limits
from napari_segment_anything.engine.contrast import SAMPLE_PIXELS, stretch
from napari_segment_anything.errors import ImageError, ParameterError

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f4"]


def displayed(image, contrast_limits="auto", **axes):
    source = open_image(image, **axes)
    limits = resolve_contrast_limits(source, contrast_limits)
    return stretch(source.read(0, slice(None), slice(None)), limits)


def test_colour_of_8_bits_is_taken_as_it_is(photo):
    shown = displayed(photo)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, photo)
    alpha = np.dstack([photo, photo[..., :1]])
    np.testing.assert_array_equal(displayed(alpha), photo)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_spans_0_to_255(dtype, rng):
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    image = (ramp > 0.5) if dtype == "?" else (ramp * 100).astype(dtype)
    shown = displayed(image)
    assert shown.shape == (64, 64)
    assert shown.dtype == np.float32
    assert shown.min() == 0
    assert shown.max() == pytest.approx(255)
    assert (np.diff(shown.ravel()) >= 0).all()


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(d) for d in DTYPES]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    )
)
@example(np.array([[3.3994243e38]], np.float32))  # its upper limit is beyond float32
@settings(max_examples=150, deadline=None)
def test_anything_numeric_gives_finite_pixels(image):
    assume(np.isfinite(image).any())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = displayed(image)
    assert np.isfinite(shown).all()
    assert shown.min() >= 0
    assert shown.max() <= 255


def test_nan_and_inf_are_ignored_and_set_to_the_lower_limit():
    image = np.array([[1.0, 2.0, np.nan], [np.inf, 3.0, -np.inf]])
    assert resolve_contrast_limits(image) == ((1.0, 3.0),)
    np.testing.assert_allclose(displayed(image), [[0, 127.5, 0], [0, 255, 0]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_a_finite_pixel_is_an_error_that_says_so(value):
    image = np.full((9, 9), value)
    with pytest.raises(ImageError, match="finite"):
        resolve_contrast_limits(image)
    assert resolve_contrast_limits(image, (0, 1)) == ((0.0, 1.0),)


@pytest.mark.parametrize("value", [0, 7, -3.5, 1e30])
def test_a_constant_image_is_black(value):
    image = np.full((5, 6), value)
    assert (displayed(image) == 0).all()


def test_sparse_bright_pixels_survive():
    image = np.zeros((200, 200), np.uint16)
    image[7, 9] = 1000
    assert displayed(image)[7, 9] == 255


def test_resolved_limits_are_taken_as_they_are(rng):
    image = rng.normal(size=(3, 40, 50)).astype(np.float32)
    limits = resolve_contrast_limits(image, channel_axis=0)
    assert resolve_contrast_limits(image, limits, channel_axis=0) == limits


def test_channels_are_stretched_each_for_itself_and_colours_together(rng):
    image = rng.integers(0, 100, (40, 50, 3), dtype=np.uint16) * np.array([1, 10, 100], "u2")
    red, green, blue = resolve_contrast_limits(np.moveaxis(image, 2, 0), channel_axis=0)
    assert red[1] < green[1] < blue[1]
    assert len(set(resolve_contrast_limits(image))) == 1


def test_how_channels_are_shown():
    planes = np.stack([np.full((4, 5), value, np.uint8) for value in (10, 20, 30, 40)])

    def show(*channels):
        return displayed(planes, (0, 255), channel_axis=0, channels=channels)[0, 0].tolist()

    assert show(2) == 30
    assert show(0, 1) == [10, 20, 0]
    assert show(2, 1, 0) == [30, 20, 10]
    assert show(0, 1, 2, 3) == pytest.approx(25)


@pytest.mark.parametrize(
    "limits",
    [(1, 1), (2, 1), (0, np.inf), (0, np.nan), (0, 1, 2), "best", None, ((0, 1), (0, 1)), ("a", 2)],
)
def test_wrong_limits(limits):
    with pytest.raises(ParameterError):
        resolve_contrast_limits(np.zeros((4, 4)), limits)


def test_a_table_gives_what_arithmetic_gives(rng):
    small = rng.integers(-500, 500, (20, 20)).astype(np.int16)
    large = np.tile(small, (20, 20))
    limits = ((-300.0, 411.0),)
    np.testing.assert_allclose(
        stretch(large[..., None], limits)[:20, :20],
        stretch(small[..., None], limits),
        atol=1e-4,
    )


@pytest.mark.parametrize("chunks", [None, (256, 256), (4096, 4096)])
def test_a_large_lazy_image_is_sampled(counting, chunks):
    ramp = np.broadcast_to(np.arange(6000, dtype=np.uint16), (5000, 6000))
    lazy = counting(ramp, chunks)
    ((low, high),) = resolve_contrast_limits(lazy)
    assert lazy.pixels <= SAMPLE_PIXELS
    assert len(lazy.reads) <= 25
    assert low < 300
    assert high > 5700


def test_a_sample_window_stays_in_one_chunk(counting):
    lazy = counting(np.zeros((4096, 4096), np.uint16), (512, 512))
    resolve_contrast_limits(lazy)
    for rows, cols in lazy.reads:
        assert rows.start // 512 == (rows.stop - 1) // 512
        assert cols.start // 512 == (cols.stop - 1) // 512


def test_of_a_pyramid_a_coarse_level_is_sampled(counting):
    levels = [counting(np.zeros((n, n), np.uint16)) for n in (8192, 4096, 2048, 1024, 512)]
    resolve_contrast_limits(levels)
    assert [level.pixels > 0 for level in levels] == [False, False, False, True, False]
