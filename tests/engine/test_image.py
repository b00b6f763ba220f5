from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.engine import open_image
from napari_segment_anything.errors import ImageError

ALL = (slice(None), slice(None))


@pytest.mark.parametrize(
    ("shape", "dtype", "axis", "expected"),
    [
        ((4, 5), "u1", None, (None, (0,), False)),
        ((4, 5, 1), "f4", None, (2, (0,), False)),
        ((4, 5, 3), "u2", None, (2, (0, 1, 2), True)),
        ((4, 5, 4), "u1", None, (2, (0, 1, 2), True)),
        ((3, 4, 5), "u1", 0, (0, (0, 1, 2), False)),
        ((4, 5, 3), "u1", -1, (2, (0, 1, 2), True)),
        ((4, 5, 4), "u2", -1, (2, (0, 1, 2, 3), False)),
        ((7, 4, 5), "f8", 0, (0, tuple(range(7)), False)),
        ((4, 2, 5), "?", 1, (1, (0, 1), False)),
    ],
)
def test_axes(shape, dtype, axis, expected):
    source = open_image(np.zeros(shape, dtype), channel_axis=axis)
    assert (source.channel_axis, source.channels, source.colour) == expected
    assert source.shape == (4, 5)
    assert source.read(0, *ALL).shape == (4, 5, len(expected[1]))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((0, 5)), {}, "empty"),
        (np.zeros((5, 5, 0)), {"channel_axis": 2}, "empty"),
        (np.zeros((4, 4), complex), {}, "complex"),
        (np.zeros((4, 4), object), {}, "object"),
        (np.array([["a"]]), {}, "dtype"),
        (np.zeros(4), {}, "rows, columns"),
        (np.zeros((3, 40, 50)), {}, "channel_axis"),
        (np.zeros((2, 3, 4, 5)), {}, "plane"),
        (np.zeros((4, 5)), {"channel_axis": 0}, "3 axes"),
        (np.zeros((4, 5, 3)), {"channel_axis": 3}, "does not exist"),
        (np.zeros((4, 5)), {"channels": (1,)}, "no channel axis"),
        (np.zeros((4, 5, 3)), {"channels": (0, 3)}, "0 to 2"),
        (np.zeros((4, 5, 3)), {"channels": ()}, "no channel"),
        ("coins.png", {}, "read_image"),
        ([[1, 2], [3]], {}, "array"),
        ([np.zeros((4, 4)), np.zeros((8, 8))], {}, "fine to coarse"),
        ([np.zeros((4, 4)), np.zeros((2, 2, 3))], {}, "same axes"),
        ([np.zeros(4), np.zeros(2)], {}, "one-dimensional"),
    ],
)
def test_errors_say_what_is_wrong(image, options, message):
    with pytest.raises(ImageError, match=message):
        open_image(image, **options)


def test_an_open_image_keeps_its_channels():
    source = open_image(np.zeros((3, 4, 5)), channel_axis=0, channels=(1,))
    assert open_image(source) is source
    with pytest.raises(ImageError, match="settled"):
        open_image(source, channels=(0,))


def test_lists_of_numbers_are_images():
    assert open_image([[1, 2, 3], [4, 5, 6]]).shape == (2, 3)


def test_read_takes_only_the_window_and_the_channels(counting):
    array = np.arange(6 * 20 * 30).reshape(6, 20, 30)
    for channels in ((1, 2), (4,), (5, 0)):
        lazy = counting(array)
        source = open_image(lazy, channel_axis=0, channels=channels)
        part = source.read(0, slice(3, 7), slice(10, 20))
        np.testing.assert_array_equal(part, np.moveaxis(array[list(channels), 3:7, 10:20], 0, -1))
        assert lazy.pixels == len(channels) * 40


def test_pyramid_levels_are_read_each_for_itself():
    levels = [np.zeros((9, 10)), np.ones((5, 5)), np.full((3, 3), 2.0)]
    source = open_image(levels)
    assert source.shapes == ((9, 10), (5, 5), (3, 3))
    assert source.read(2, *ALL).max() == 2


def test_an_unreadable_store_is_an_image_error():
    class Broken:
        shape, dtype = (4, 4), np.dtype("u1")

        def __getitem__(self, index):
            raise OSError("chunk 3 is missing")

    with pytest.raises(ImageError, match="chunk 3 is missing"):
        open_image(Broken()).read(0, *ALL)


def test_dask_and_zarr_arrays_are_images():
    zarr = pytest.importorskip("zarr")
    array = np.random.default_rng(0).integers(0, 99, (20, 30), dtype=np.uint16)
    stored = zarr.create_array(store={}, data=array, chunks=(8, 8))
    part = open_image(stored).read(0, slice(2, 9), slice(3, 21))
    np.testing.assert_array_equal(part[..., 0], array[2:9, 3:21])
    dask = pytest.importorskip("dask.array")
    part = open_image(dask.from_array(array, chunks=8)).read(0, slice(2, 9), slice(3, 21))
    np.testing.assert_array_equal(part[..., 0], array[2:9, 3:21])
