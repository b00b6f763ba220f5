"""Examples from a viewer's layers, and what is found like them in part of a plane."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.engine import PlacedMask, Predictor, Window
from napari_segment_anything.errors import PromptError
from napari_segment_anything.progress import finish
from tests.finding.spots import GRID, spots
from tests.tiny import tiny_model

components = pytest.importorskip("napari.components", reason="napari is not installed")
areas = pytest.importorskip("napari_segment_anything.bridge.runs.areas")
finding = pytest.importorskip("napari_segment_anything.bridge.runs.finding")


@pytest.fixture
def opened():
    viewer = components.ViewerModel()
    image, masks = spots()
    layer = viewer.add_image(np.stack([image, image]))
    viewer.dims.set_current_step(0, 1)
    return viewer, layer, masks


def test_shapes_and_labels_on_the_plane_are_examples(opened) -> None:
    viewer, image, masks = opened
    area = areas.find_area(viewer, [image], "plane")
    box = np.array([[1, 10, 10], [1, 10, 22], [1, 22, 22], [1, 22, 10]])
    triangle = np.array([[1, 40, 40], [1, 40, 60], [1, 60, 40]])
    elsewhere = box - [1, 0, 0]
    shapes = viewer.add_shapes(
        [box, elsewhere, triangle], shape_type=["rectangle", "rectangle", "polygon"]
    )
    found = finding.examples_from(viewer, shapes, area)
    assert found[0] == (10, 10, 22, 22) and isinstance(found[1], PlacedMask)
    assert len(found) == 2
    pixels = np.zeros(image.data.shape, np.uint8)
    masks[0].paste(pixels[1], 3)
    masks[1].paste(pixels[1], 5)
    labels = viewer.add_labels(pixels)
    assert finding.examples_from(viewer, labels, area) == [masks[0], masks[1]]
    assert finding.examples_from(viewer, labels, area, [5]) == [masks[1]]
    with pytest.raises(PromptError, match="no example on this plane"):
        finding.examples_from(viewer, labels, area, [9])


def test_rectangles_are_drawn_on_one_layer(opened) -> None:
    viewer, image, _ = opened
    layer = finding.draw_examples(viewer, image)
    assert finding.draw_examples(viewer, image) is layer and layer.mode == "add_rectangle"
    assert areas.region_layer(viewer) is None


def test_a_part_of_the_plane_is_searched(opened) -> None:
    viewer, image, masks = opened
    window = Window(32, 30, 64, 90)
    area = areas.find_area(viewer, [image], window)
    run = finding.run_find(area, Predictor(tiny_model()), "", [masks[0]], None, dict(GRID), "score")
    drawn = finish(run)
    assert drawn.labels.shape == window.shape and drawn.area.window == window
    assert drawn.table.mode == "find"
    rows = drawn.features["row_min"]
    assert not len(rows) or rows.min() >= 32
    assert "example" not in drawn.table.candidates.source  # it lies outside
