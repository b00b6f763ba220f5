"""Image layers as planes, Labels layers as targets, prompt layers as prompts."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")

import zarr

from napari_segment_anything.bridge.viewer.coordinates import current_index
from napari_segment_anything.bridge.viewer.images import (
    Channels,
    axes_of,
    default_image,
    plane_of,
    source_of,
)
from napari_segment_anything.bridge.viewer.sources import fill, prompts_of, region_of
from napari_segment_anything.bridge.viewer.targets import (
    LayerTarget,
    check_alignment,
    new_target,
    target_of,
)
from napari_segment_anything.engine import Window
from napari_segment_anything.errors import ImageError, ParameterError, PromptError

pytestmark = pytest.mark.filterwarnings("default")


def pixels(source, plane=()):
    array = source.image(plane)
    return np.asarray((array[0] if isinstance(array, list) else array)[...])


def test_planes_in_any_order_of_dimensions(viewer) -> None:
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    image = viewer.add_image(data, scale=(1, 2, 1, 1))
    viewer.dims.set_point(0, 1)
    viewer.dims.set_point(1, 4)
    axes = axes_of(viewer, image)
    assert axes.planes == (0, 1)
    assert plane_of(viewer, image, axes) == (1, 2)
    assert np.array_equal(pixels(source_of(image, axes), (1, 2)), data[1, 2])
    viewer.dims.order = (0, 1, 3, 2)
    assert axes_of(viewer, image) == axes
    viewer.dims.order = (2, 3, 0, 1)
    turned = axes_of(viewer, image)
    assert turned.displayed == (0, 1)
    viewer.dims.set_point(2, 3)
    viewer.dims.set_point(3, 2)
    assert plane_of(viewer, image, turned) == (3, 2)
    assert np.array_equal(pixels(source_of(image, turned), (3, 2)), data[:, :, 3, 2])
    with pytest.raises(ImageError, match="other axes"):
        plane_of(viewer, image, axes)


@pytest.mark.parametrize("kind", ["numpy", "zarr", "dask"])
@pytest.mark.parametrize("rgb", [False, True])
def test_kinds_of_arrays(viewer, kind: str, rgb: bool) -> None:
    data = np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3) if rgb else (3, 20, 30), "u1")
    array = data
    if kind == "zarr":
        array = zarr.create_array(zarr.storage.MemoryStore(), data=data)
    elif kind == "dask":
        array = pytest.importorskip("dask.array").from_array(data, chunks=(1, 10, *data.shape[2:]))
    image = viewer.add_image(array, rgb=rgb)
    viewer.dims.set_point(0, 2)
    axes = axes_of(viewer, image)
    assert axes.shape == (3, 20, 30)
    assert np.array_equal(pixels(source_of(image, axes), plane_of(viewer, image, axes)), data[2])


def test_channels_as_an_axis_and_as_layers(viewer) -> None:
    data = np.random.default_rng(0).random((4, 2, 20, 30))
    image = viewer.add_image(data)
    axes = axes_of(viewer, image, channel_axis=1)
    assert axes.planes == (0,)
    source = source_of(image, axes, channels=(1,))
    assert np.array_equal(pixels(source, (3,)), data[3])
    assert source.embed_arguments((3,))["channel_axis"] == 0
    viewer.layers.clear()
    split = viewer.add_image(data, channel_axis=1)
    axes = axes_of(viewer, split)
    source = source_of(split, axes, contrast_limits="layer")
    assert np.array_equal(pixels(source, (2,)), data[2])
    limits = source.embed_arguments((2,))["contrast_limits"]
    assert np.allclose(limits, [layer.contrast_limits for layer in split])
    viewer.dims.order = (1, 0, 2)
    turned = source_of(split, axes_of(viewer, split))
    assert np.array_equal(pixels(turned, (7,)), data[:, :, 7].swapaxes(0, 1))


def test_a_channel_axis_that_is_displayed_is_refused_with_the_way_out(viewer) -> None:
    image = viewer.add_image(np.zeros((20, 30, 2)))
    with pytest.raises(ImageError, match=r"viewer.dims.order = \(2, 0, 1\)"):
        axes_of(viewer, image, channel_axis=-1)
    viewer.dims.order = (2, 0, 1)
    assert axes_of(viewer, image, channel_axis=-1).rows_cols == (20, 30)


def test_stacked_channels_read_only_what_is_asked() -> None:
    arrays = [np.arange(60).reshape(3, 4, 5) + 100 * i for i in range(3)]
    stacked, whole = Channels(arrays), np.stack(arrays)
    for index in (
        ...,
        1,
        (slice(0, 2), 1),
        (..., 2),
        (slice(None), slice(1, 3), 0, slice(2, 4)),
        (2, ..., 1),
        (slice(1, 3), ..., slice(0, 2)),
    ):
        assert np.array_equal(stacked[index], whole[index])


def test_multiscale(viewer) -> None:
    levels = [np.random.default_rng(0).random((3, 64 >> i, 96 >> i)) for i in range(3)]
    image = viewer.add_image(levels, multiscale=True)
    axes = axes_of(viewer, image)
    assert axes.rows_cols == (64, 96)
    assert len(source_of(image, axes).image((0,))) == 3


def test_one_pixel_and_singletons(viewer) -> None:
    image = viewer.add_image(np.zeros((1, 1, 1, 1)))
    axes = axes_of(viewer, image)
    assert plane_of(viewer, image, axes) == (0, 0)
    assert source_of(image, axes).shape == (1, 1)


def test_sliders_beyond_the_image(viewer) -> None:
    image = viewer.add_image(np.zeros((3, 8, 8)))
    viewer.add_image(np.zeros((9, 8, 8)))
    axes = axes_of(viewer, image)
    viewer.dims.set_point(0, 6)
    with pytest.raises(ImageError, match="outside the image"):
        plane_of(viewer, image, axes)


def test_default_image(viewer) -> None:
    with pytest.raises(ImageError, match="open an image"):
        default_image(viewer)
    first = viewer.add_image(np.zeros((8, 8)))
    second = viewer.add_image(np.zeros((8, 8)))
    viewer.add_labels(np.zeros((8, 8), int))
    assert default_image(viewer) is second
    second.visible = False
    assert default_image(viewer) is first


@pytest.mark.parametrize("kind", ["numpy", "zarr", "pyramid"])
def test_targets_are_written_in_place(viewer, kind: str) -> None:
    image = viewer.add_image(np.zeros((3, 64, 96)))
    axes = axes_of(viewer, image)
    data = np.zeros((3, 64, 96), np.uint16)
    if kind == "zarr":
        layer = viewer.add_labels(zarr.create_array(zarr.storage.MemoryStore(), data=data))
    elif kind == "pyramid":
        layer = viewer.add_labels([data, data[:, ::2, ::2].copy()], multiscale=True)
    else:
        layer = viewer.add_labels(data)
    slot = LayerTarget(viewer, image, axes, layer)
    slot.write((1,), Window(10, 20, 8, 6), np.full((8, 6), 7))
    assert slot.read((1,), Window(0, 0, 64, 96)).sum() == 7 * 48
    assert slot.largest() == 7 and slot.shape == (3, 64, 96) and slot.dtype == np.uint16
    full = layer.data[0] if kind == "pyramid" else layer.data
    assert int(np.asarray(full[1]).max()) == 7 and not np.asarray(full[0]).any()
    if kind == "pyramid":
        assert layer.data[1][1, 5:9, 10:13].min() == 7
    viewer.layers.remove(layer)
    with pytest.raises(ParameterError, match="removed from the viewer"):
        slot.write((1,), Window(10, 20, 8, 6), np.full((8, 6), 7))


def test_targets_that_cannot_be(viewer) -> None:
    image = viewer.add_image(np.zeros((3, 64, 96)), scale=(1, 2, 2))
    axes = axes_of(viewer, image)
    dask = pytest.importorskip("dask.array")
    lazy = viewer.add_labels(dask.zeros((3, 64, 96), dtype=int))
    with pytest.raises(ParameterError, match=r"dask.*compute"):
        target_of(lazy, axes)
    frozen = np.zeros((3, 64, 96), int)
    frozen.setflags(write=False)
    with pytest.raises(ParameterError, match="read-only"):
        target_of(viewer.add_labels(frozen), axes)
    with pytest.raises(ParameterError, match=r"shape \(64, 95\)"):
        target_of(viewer.add_labels(np.zeros((64, 95), int)), axes)
    with pytest.raises(ParameterError, match="Labels layer"):
        target_of(image, axes)
    elsewhere = viewer.add_labels(np.zeros((3, 64, 96), int))
    with pytest.raises(ParameterError, match="do not lie on the pixels"):
        check_alignment(viewer, elsewhere, image, axes)
    nanometres = viewer.add_labels(
        np.zeros((3, 64, 96), int), scale=(1000, 2000, 2000), units=("pixel", "nm", "nm")
    )
    with pytest.raises(ParameterError):
        check_alignment(viewer, nanometres, image, axes)


def test_labels_in_nanometres_fit_an_image_in_micrometres(viewer) -> None:
    image = viewer.add_image(np.zeros((64, 96)), scale=(0.5, 0.5), units="um")
    labels = viewer.add_labels(np.zeros((64, 96), int), scale=(500, 500), units="nm")
    check_alignment(viewer, labels, image, axes_of(viewer, image))


def test_replaced_data_are_the_ones_written(viewer) -> None:
    image = viewer.add_image(np.zeros((8, 8)))
    labels = viewer.add_labels(np.zeros((8, 8), int))
    slot = LayerTarget(viewer, image, axes_of(viewer, image), labels)
    labels.data = np.zeros((8, 8), np.uint8)
    slot.write((), Window(0, 0, 2, 2), np.ones((2, 2)))
    assert labels.data.sum() == 4


def test_new_targets_have_the_images_place_and_are_made_at_the_first_write(viewer) -> None:
    image = viewer.add_image(
        np.zeros((64, 96)), scale=(0.5, 0.25), rotate=20, translate=(3, 4), units="um"
    )
    slot = LayerTarget(viewer, image, axes_of(viewer, image))
    assert slot.largest() == 0 and not slot.read((), Window(0, 0, 4, 4)).any()
    assert len(viewer.layers) == 1
    slot.write((), Window(0, 0, 4, 4), np.ones((4, 4)))
    layer = slot.layer
    assert layer.dtype == np.uint32 and layer.data.shape == (64, 96)
    assert np.allclose(layer.data_to_world((5, 6)), image.data_to_world((5, 6)))
    assert viewer.layers.selection.active is image


@pytest.mark.parametrize("channel", [0, 1])
def test_labels_of_an_image_with_channels_show_on_every_channel(viewer, channel: int) -> None:
    image = viewer.add_image(np.zeros((3, 4, 8, 8)), scale=(2, 5, 1, 1), translate=(7, 1, 0, 0))
    axes = axes_of(viewer, image, channel_axis=channel)
    layer = new_target(viewer, image, axes)
    assert layer.data.shape[channel] == 1
    slot = LayerTarget(viewer, image, axes, layer)
    for step in range(image.data.shape[channel]):
        viewer.dims.set_current_step(channel, step)
        assert np.round(current_index(viewer, layer)[channel]) == 0
        assert np.round(current_index(viewer, image)[channel]) == step
    slot.write((2,), Window(0, 0, 8, 8), np.full((8, 8), 9))
    assert np.asarray(layer.data).take(2, axis=1 - channel).min() == 9


@pytest.mark.slow
def test_a_huge_image_takes_no_memory(viewer) -> None:
    dask = pytest.importorskip("dask.array")
    levels = [dask.zeros((60_000 >> i, 50_000 >> i), chunks=1000, dtype="u1") for i in (0, 3, 6)]
    image = viewer.add_image(levels, multiscale=True, contrast_limits=(0, 1))
    slot = LayerTarget(viewer, image, axes_of(viewer, image))
    slot.write((), Window(40_000, 30_000, 64, 64), np.ones((64, 64)))
    assert slot.layer.multiscale and len(slot.layer.data) == 3
    assert slot.largest() == 1
    assert np.asarray(slot.layer.data[1][5000:5008, 3750:3758]).min() == 1


def test_prompts_of_the_users_own_layers(viewer) -> None:
    image = viewer.add_image(
        np.zeros((5, 40, 40)), scale=(2, 0.5, 0.5), translate=(0, 3, 4), units="um"
    )
    axes = axes_of(viewer, image)
    points = viewer.add_points(
        [[0, 0], [5000, 5000]],
        translate=(3000, 4000),
        units="nm",
        features={"label": ["positive", "negative"]},
    )
    viewer.dims.set_point(0, 4000)  # by then the world is in nanometres
    found = prompts_of(viewer, points, image, axes, (2,))
    assert np.allclose(found.points, [[0, 0], [10, 10]]) and found.positive == [True, False]
    deep = viewer.add_points([[2, 1, 1], [3, 2, 2]], scale=(2, 1, 1), units="um")
    assert len(prompts_of(viewer, deep, image, axes, (2,))) == 1
    shapes = viewer.add_shapes(ndim=3, scale=image.scale, translate=image.translate, units="um")
    square = np.array([[2, 3, 4], [2, 3, 14], [2, 13, 14], [2, 13, 4]])
    shapes.add(square, shape_type="rectangle")
    shapes.add(square, shape_type="polygon")
    shapes.add(square, shape_type="path")
    shapes.add(np.add(square, [1, 0, 0]), shape_type="ellipse")
    found = prompts_of(viewer, shapes, image, axes, (2,))
    assert np.allclose(found.boxes, [[3, 4, 13, 14]])
    assert len(found.regions) == len(found.lines) == 1
    with pytest.raises(PromptError, match="Points or Shapes"):
        prompts_of(viewer, image, image, axes, (2,))


def test_regions(viewer) -> None:
    mask, window = fill(np.array([[5, 5], [5, 15], [15, 15], [15, 5.0]]), (40, 40))
    assert window.row == 5 and 81 <= mask.sum() <= 121
    with pytest.raises(PromptError, match="no pixel"):
        fill(np.array([[50, 50], [50, 60], [60, 60.0]]), (40, 40))
    image = viewer.add_image(np.zeros((40, 40)))
    half = np.zeros((20, 20), int)
    half[5:8, 5:8] = 3
    half[15:17, 15:17] = 3
    labels = viewer.add_labels(half, scale=(2, 2), translate=(0.5, 0.5))
    axes = axes_of(viewer, image)
    mask, window = region_of(viewer, labels, image, axes, (), 3)
    assert window == Window(10, 10, 24, 24) and mask.sum() == 4 * 13
    mask, window = region_of(viewer, labels, image, axes, (), 3, near=(31, 31))
    assert window == Window(30, 30, 4, 4) and mask.all()
    with pytest.raises(PromptError, match="does not occur"):
        region_of(viewer, labels, image, axes, (), 4)
