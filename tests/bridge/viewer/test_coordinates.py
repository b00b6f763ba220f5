"""Every transform napari has, and its units, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("napari", reason="napari is not installed")

from napari.components import ViewerModel
from napari.layers import Image

from napari_segment_anything.bridge.viewer.coordinates import (
    between,
    current_index,
    data_to_world,
    displayed_axes,
    mixes_units,
    placement,
    point_from_data,
    world_to_data,
)
from napari_segment_anything.errors import ImageError

pytestmark = pytest.mark.filterwarnings("default")

number = st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 3))
positive = st.floats(0.01, 20).map(lambda value: round(value, 3))


@st.composite
def transforms(draw: st.DrawFn) -> dict:
    ndim = draw(st.integers(2, 4))
    keywords: dict = {
        "scale": [draw(positive) for _ in range(ndim)],
        "translate": [draw(number) for _ in range(ndim)],
        "units": draw(st.sampled_from(["um", "nm", "mm"])),
    }
    if draw(st.booleans()):
        keywords["rotate"] = draw(st.floats(-180, 180)) if ndim < 4 else None
        if ndim == 3:
            keywords["rotate"] = [draw(st.floats(-180, 180)) for _ in range(3)]
    if draw(st.booleans()):
        keywords["shear"] = [draw(st.floats(-1, 1)) for _ in range(ndim * (ndim - 1) // 2)]
    if draw(st.booleans()):
        affine = np.eye(ndim + 1)
        affine[:-1, :-1] += np.array(
            [[draw(st.floats(-0.2, 0.2)) for _ in range(ndim)] for _ in range(ndim)]
        )
        affine[:-1, -1] = [draw(number) for _ in range(ndim)]
        keywords["affine"] = affine
    return {key: value for key, value in keywords.items() if value is not None}


def layer(keywords: dict) -> Image:
    ndim = len(keywords["scale"])
    return Image(np.zeros((2,) * ndim), **keywords)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(transforms(), transforms(), st.data())
def test_there_and_back(first: dict, second: dict, data: st.DataObject) -> None:
    viewer = ViewerModel()
    one, two = layer(first), layer(second)
    viewer.layers.extend([one, two])
    position = np.array([data.draw(number) for _ in range(one.ndim)])
    world = data_to_world(viewer, one, position)
    assert world.shape == (viewer.dims.ndim,)
    assert np.allclose(world_to_data(viewer, one, world), position, atol=1e-5)
    if one.ndim >= two.ndim:  # nothing but shared axes is lost
        there = between(viewer, one, two, position)
        assert np.allclose(data_to_world(viewer, two, there)[-two.ndim :], world[-two.ndim :])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(transforms(), st.data())
def test_layers_placed_on_an_image_share_its_pixels(keywords: dict, data: st.DataObject) -> None:
    viewer = ViewerModel()
    image = layer(keywords)
    other = Image(np.zeros((2, 2)), units="nm")
    viewer.layers.extend([image, other])
    at = np.array([data.draw(st.integers(0, 30)) for _ in range(image.ndim)], float)
    for units in (None, viewer.dims.units):
        origin = {axis: float(2 * axis + 1) for axis in range(image.ndim)}
        made = Image(
            np.zeros((2,) * image.ndim), **placement(image, origin=origin, world_units=units)
        )
        viewer.layers.append(made)
        assert np.allclose(between(viewer, image, made, at), at - [*origin.values()], atol=1e-5)


def test_units_count(viewer) -> None:
    um = viewer.add_image(np.zeros((4, 10, 20)), scale=(1, 0.5, 0.5), units="um")
    assert not mixes_units(viewer)
    nm = viewer.add_image(np.zeros((4, 10, 20)), scale=(1000, 500, 500), units="nm")
    assert mixes_units(viewer)
    assert [str(unit) for unit in viewer.dims.units] == ["nanometer"] * 3
    assert np.allclose(between(viewer, um, nm, [1, 3, 4]), [1, 3, 4])
    assert np.allclose(data_to_world(viewer, um, [1, 3, 4]), [1000, 1500, 2000])
    viewer.dims.set_point(0, 2000)
    assert current_index(viewer, um)[0] == pytest.approx(2)
    assert current_index(viewer, nm)[0] == pytest.approx(2)
    assert point_from_data(viewer, um, {0: 3}) == {0: pytest.approx(3000)}


def test_a_layer_in_the_viewers_units_suits_naparis_own_tools(viewer) -> None:
    um = viewer.add_image(
        np.zeros((40, 60)), scale=(0.5, 0.25), rotate=20, translate=(3, 4), units="um"
    )
    viewer.add_image(np.zeros((4, 4)), units="nm")
    made = viewer.add_points(np.zeros((0, 2)), **placement(um, world_units=viewer.dims.units))
    world = data_to_world(viewer, um, [7, 9])
    assert np.allclose(made.world_to_data(world), [7, 9])  # what napari's add tool asks
    assert not np.allclose(um.world_to_data(world), [7, 9])


def test_units_that_do_not_convert_are_left_alone(viewer) -> None:
    um = viewer.add_image(np.zeros((10, 20)), scale=(0.5, 0.5), units="um")
    viewer.add_image(np.zeros((10, 20)))  # pixels
    assert np.allclose(data_to_world(viewer, um, [2, 4]), [1, 2])


def test_slider_positions_and_transposed_axes(viewer) -> None:
    image = viewer.add_image(np.zeros((5, 6, 7, 8)), scale=(2, 3, 1, 1))
    viewer.dims.set_point(0, 4)
    viewer.dims.set_point(1, 9)
    assert displayed_axes(viewer, image) == (2, 3)
    assert current_index(viewer, image)[:2] == (2, 3)
    viewer.dims.order = (0, 1, 3, 2)
    assert displayed_axes(viewer, image) == (2, 3)  # transposed: the same plane
    viewer.dims.order = (2, 0, 1, 3)
    assert displayed_axes(viewer, image) == (1, 3)
    viewer.dims.set_point(2, 5)
    assert current_index(viewer, image)[2] == 5


def test_fewer_axes_than_the_viewer(viewer) -> None:
    flat = viewer.add_image(np.zeros((7, 8)))
    deep = viewer.add_image(np.zeros((5, 7, 8)), scale=(2, 1, 1))
    viewer.dims.set_point(0, 6)
    assert np.allclose(between(viewer, flat, deep, [[1, 2], [3, 4]]), [[3, 1, 2], [3, 3, 4]])
    assert np.allclose(between(viewer, deep, flat, [3, 1, 2]), [1, 2])
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(ImageError, match="an axis that the layer"):
        displayed_axes(viewer, flat)


def test_a_rotation_in_the_plane_is_no_oblique_cut(viewer) -> None:
    angle = np.deg2rad(30)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = viewer.add_image(np.zeros((5, 7, 8)), rotate=turn)
    viewer.dims.set_point(0, 2)
    assert current_index(viewer, image)[0] == pytest.approx(2)
    tilted = viewer.add_image(np.zeros((5, 7, 8)), rotate=[0, 30, 0])
    with pytest.raises(ImageError, match="obliquely"):
        current_index(viewer, tilted)


def test_three_dimensions_are_refused(viewer) -> None:
    image = viewer.add_image(np.zeros((5, 7, 8)))
    viewer.dims.ndisplay = 3
    with pytest.raises(ImageError, match="2-D"):
        displayed_axes(viewer, image)
