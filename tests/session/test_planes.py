"""Planes of images of any shape, read lazily."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_segment_anything.engine import PlaneSource, Predictor, Window
from napari_segment_anything.errors import ImageError, PromptError


class Counting:
    """A lazy array that counts the pixels it gives."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.pixels = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        part = self.array[index]
        self.pixels += np.size(part)
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was asked for")


KINDS = {
    "numpy": lambda a: a,
    "zarr": lambda a: zarr.array(a, chunks=tuple(min(n, 16) for n in a.shape)),
    "dask": lambda a: da.from_array(a, chunks=16),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("displayed", [(1, 2), (2, 1), (0, 2), (2, 0)])
def test_planes_in_any_order_of_dimensions(kind, displayed):
    data = np.random.default_rng(0).integers(0, 200, (5, 40, 30), dtype=np.uint8)
    source = PlaneSource(KINDS[kind](data), displayed=displayed)
    (other,) = {0, 1, 2} - set(displayed)
    assert source.shape == (data.shape[displayed[0]], data.shape[displayed[1]])
    assert source.plane_shape == (data.shape[other],)
    assert source.ndim_planes == 1
    wanted = np.moveaxis(data, (other, *displayed), (0, 1, 2))[2]
    view = source.image((2,))
    assert view.shape == wanted.shape
    assert (np.asarray(view[...]) == wanted).all()
    assert (np.asarray(view[1:4, 3:9]) == wanted[1:4, 3:9]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_belong_to_every_plane(kind, axis, predictor):
    channels = np.random.default_rng(0).integers(0, 2000, (2, 3, 40, 30), dtype=np.uint16)
    data = np.moveaxis(channels, 0, axis)
    source = PlaneSource(KINDS[kind](data), channel_axis=axis, channels=(1,))
    assert source.shape == (40, 30)
    assert source.plane_shape == (3,)
    found = predictor.embed(source.image((1,)), **source.embed_arguments((1,)))
    wanted = predictor.embed(channels[1, 1])
    assert np.array_equal(found.features, wanted.features)


@pytest.mark.parametrize("kind", KINDS)
def test_colour(kind, predictor):
    data = np.random.default_rng(0).integers(0, 255, (2, 40, 30, 3), dtype=np.uint8)
    source = PlaneSource(KINDS[kind](data), rgb=True)
    assert source.shape == (40, 30)
    found = predictor.embed(source.image((1,)), **source.embed_arguments((1,)))
    assert np.array_equal(found.features, predictor.embed(data[1]).features)


def test_a_pyramid_reduced_in_depth_too():
    levels = [np.zeros((8, 64, 64)), np.ones((4, 32, 32))]
    levels[1][3] = 9
    views = PlaneSource(levels).image((7,))
    assert [view.shape for view in views] == [(64, 64), (32, 32)]
    assert (views[1] == 9).all()


def test_contrast_is_settled_once_for_a_plane(predictor):
    data = np.random.default_rng(0).normal(100, 20, (600, 900)).astype(np.float32)
    data[3, 4], data[5, 6] = np.nan, np.inf
    source = PlaneSource(data)
    (limits,) = source.embed_arguments()["contrast_limits"]
    assert 20 < limits[0] < 60 and 140 < limits[1] < 180
    assert source.embed_arguments() == source.embed_arguments()
    assert PlaneSource(data, contrast_limits=(0, 9)).embed_arguments()["contrast_limits"] == (
        (0.0, 9.0),
    )


def test_the_signature_reads_little_and_tells_images_apart():
    array = np.random.default_rng(0).integers(0, 9, (6, 2000, 1500), dtype=np.uint8)
    lazy = Counting(array)
    source = PlaneSource(lazy, name="stack", path="a/b.tif")
    first = source.signature()
    assert lazy.pixels < 200_000
    assert (first["name"], first["path"]) == ("stack", "a/b.tif")
    assert first == PlaneSource(array, name="stack", path="a/b.tif").signature()
    swapped = PlaneSource(array.astype(">u2"), name="stack", path="a/b.tif").signature()
    assert swapped["checksum"] == PlaneSource(array.astype("<u2")).signature()["checksum"]
    other = array.copy()
    other[3, 10, 10] += 1
    assert PlaneSource(other).signature()["checksum"] != first["checksum"]


def test_a_huge_lazy_image_is_read_by_the_window(predictor):
    lazy = Counting(np.broadcast_to(np.arange(20000, dtype=np.uint16), (20000, 20000)))
    source = PlaneSource(lazy)
    arguments = source.embed_arguments()
    assert lazy.pixels < 2_000_000
    lazy.pixels = 0
    predictor.embed(source.image(), window=Window(9000, 9000, 128, 128), **arguments)
    assert lazy.pixels == 128 * 128


def test_wrong_axes_are_refused():
    data = np.zeros((3, 20, 20), np.uint8)
    with pytest.raises(ImageError, match="does not exist"):
        PlaneSource(data, channel_axis=3)
    with pytest.raises(ImageError, match="displayed axes"):
        PlaneSource(data, displayed=(1, 1))
    with pytest.raises(ImageError, match="displayed axes"):
        PlaneSource(data, displayed=(0, 1), channel_axis=0)
    with pytest.raises(ImageError, match="RGB"):
        PlaneSource(data, rgb=True)
    with pytest.raises(ImageError, match="leave out"):
        PlaneSource(data, rgb=True, channel_axis=0)
    with pytest.raises(ImageError, match="rows and columns"):
        PlaneSource(np.zeros(5))
    with pytest.raises(ImageError, match="array"):
        PlaneSource([])
    with pytest.raises(PromptError, match="has 1 indices"):
        PlaneSource(data).image(())
    with pytest.raises(PromptError, match="outside"):
        PlaneSource(data).image((3,))


def test_one_pixel(model):
    source = PlaneSource(np.full((1, 1), 7, np.uint8))
    embedding = Predictor(model).embed(source.image(), **source.embed_arguments())
    assert embedding.window == Window(0, 0, 1, 1)
    assert len(source.signature()["checksum"]) == 32
