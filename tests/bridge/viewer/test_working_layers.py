"""The layers of the object in progress: what they show; napari draws only what changed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")

from napari_segment_anything.bridge.viewer.images import axes_of
from napari_segment_anything.bridge.viewer.working_layers import PreviewLayer, WorkingLayers
from napari_segment_anything.engine import Window
from napari_segment_anything.session import Draft, DraftPoint, Scribble

WHOLE = Window(0, 0, 40, 40)


class Drawn:
    """What napari was asked to draw: (offset, shape) of a part, or "all"."""

    def __init__(self, layer) -> None:
        self.what: list = []
        layer.events.labels_update.connect(self._part)
        layer.events.set_data.connect(lambda event: self.what.append("all"))

    def _part(self, event) -> None:
        self.what.append((tuple(event.offset), event.data.shape))


def preview_of(viewer, data: np.ndarray, whole: int = 0) -> PreviewLayer:
    image = viewer.add_image(data)
    return PreviewLayer(viewer, image, axes_of(viewer, image), {}, whole)


def square(size: int) -> np.ndarray:
    return np.ones((size, size), bool)


def test_only_what_changed_is_drawn_again(viewer) -> None:
    preview = preview_of(viewer, np.zeros((40, 40)))
    preview.show((), WHOLE, square(4), Window(2, 3, 4, 4))
    drawn = Drawn(preview.layer)
    preview.show((), WHOLE, square(5), Window(10, 20, 5, 5))
    assert drawn.what == [((2, 3), (13, 22))]  # the mask before is taken away as well
    expected = np.zeros((40, 40), bool)
    expected[10:15, 20:25] = True
    assert np.array_equal(preview.layer.data > 0, expected)
    assert preview.painted() is None
    preview.hide()
    assert drawn.what[1:] == [((10, 20), (5, 5))] and not preview.layer.data.any()
    preview.hide()
    assert len(drawn.what) == 2


def test_transposed_planes_and_planes_out_of_view(viewer) -> None:
    preview = preview_of(viewer, np.zeros((3, 40, 50)))
    window = Window(5, 6, 20, 30)
    preview.show((1,), window, square(4), Window(7, 9, 4, 4))
    drawn = Drawn(preview.layer)
    viewer.dims.set_point(0, 1)
    viewer.dims.order = (0, 2, 1)
    drawn.what.clear()
    preview.show((1,), window, square(3), Window(7, 9, 3, 3))
    assert drawn.what == [((3, 2), (4, 4))]
    viewer.dims.set_point(0, 2)
    drawn.what.clear()
    preview.show((1,), window, square(5), Window(7, 9, 5, 5))
    assert drawn.what == ["all"]  # napari knows that nothing of it is to be seen
    assert preview.layer.data[0, 2:7, 3:8].all() and preview.layer.data.astype(bool).sum() == 25


def test_planes_of_another_orientation(viewer) -> None:
    preview = preview_of(viewer, np.zeros((30, 40, 50)), 2000)
    preview.show((1,), WHOLE, square(4), Window(7, 9, 4, 4))
    viewer.dims.order = (1, 0, 2)
    preview.axes = axes_of(viewer, viewer.layers[0])
    preview.hide()  # drawn with the axes before
    assert preview.layer.data.shape == (1, 40, 50) and not preview.layer.data.any()
    preview.show((2,), Window(0, 0, 30, 50), square(4), Window(7, 9, 4, 4))
    assert preview.layer.data.shape == (30, 1, 50)
    assert preview.layer.data[7:11, 0, 9:13].all() and preview.layer.data.astype(bool).sum() == 16


def test_a_contour_is_drawn_by_napari(viewer) -> None:
    preview = preview_of(viewer, np.zeros((40, 40)))
    preview.show((), WHOLE, square(4), Window(2, 3, 4, 4))
    preview.layer.contour = 1
    drawn = Drawn(preview.layer)
    preview.show((), WHOLE, square(5), Window(2, 3, 5, 5))
    assert drawn.what == ["all"]


def test_what_the_brush_left_is_replaced(viewer) -> None:
    preview = preview_of(viewer, np.zeros((40, 40)))
    preview.show((), WHOLE, square(4), Window(2, 3, 4, 4))
    preview.layer.paint((30, 30), 1)
    assert preview.painted()[30, 30]
    preview.show((), WHOLE, square(5), Window(2, 3, 5, 5))
    assert preview.painted() is None and not preview.layer.data[25:].any()


def test_another_window_moves_the_layer_and_nothing_else(viewer) -> None:
    preview = preview_of(viewer, np.zeros((40, 40)))
    preview.show((), Window(0, 0, 10, 10), square(4), Window(2, 3, 4, 4))
    heard: list[str] = []
    for name in ("scale", "translate", "rotate", "shear", "affine", "units"):
        getattr(preview.layer.events, name).connect(lambda event: heard.append(event.type))
    preview.show((), Window(20, 25, 12, 10), square(4), Window(22, 26, 4, 4))
    assert heard == ["translate"]
    assert preview.layer.data.shape == (12, 10) and preview.layer.data[2:6, 1:5].all()
    assert np.allclose(preview.layer.data_to_world((0, 0)), (20, 25))
    data = preview.layer.data
    preview.show((), Window(8, 9, 12, 10), square(3), Window(9, 10, 3, 3))
    assert heard == ["translate"] * 2 and preview.layer.data is data
    assert data[1:4, 1:4].all() and data.astype(bool).sum() == 9


def test_a_plane_that_is_covered_whole_is_only_written_to(viewer) -> None:
    preview = preview_of(viewer, np.zeros((3, 40, 50)), 2000)
    viewer.dims.set_point(0, 0)
    preview.show((0,), Window(0, 0, 10, 10), square(4), Window(2, 3, 4, 4))
    data, drawn = preview.layer.data, Drawn(preview.layer)
    preview.show((0,), Window(20, 25, 12, 10), square(4), Window(22, 26, 4, 4))
    assert preview.layer.data is data and preview.window == Window(0, 0, 40, 50)
    assert drawn.what == [((2, 3), (24, 27))] and preview.painted() is None
    preview.layer.paint((0, 39, 49), 1)
    assert preview.painted()[39, 49] and preview.painted().shape == (40, 50)
    preview.hide()
    assert preview.painted() is None and not data.any()


@pytest.mark.filterwarnings("default")
def test_working_layers_follow_and_come_back(viewer) -> None:
    image = viewer.add_image(np.zeros((5, 40, 40)), scale=(2, 0.5, 0.5), units="um")
    axes = axes_of(viewer, image)
    working = WorkingLayers(viewer, image, axes, whole=0)  # the masks' layer where they are only
    assert len(viewer.layers) == 1
    heard = []
    working.points_edited.connect(heard.append)
    points = DraftPoint((5.0, 5.0), True, 0), DraftPoint((9.0, 9.0), False, 0)
    line = Scribble(((3.0, 4.0), (3.0, 14.0), (13.0, 14.0), (13.0, 4.0)), False)
    box = (3.0, 4.0, 13.0, 14.0)
    shown = Draft((2,), 1, points=points, boxes=((0, box),), scribbles=((0, line),))
    working.show(shown)
    working.masks.show((2,), Window(3, 4, 6, 7), np.ones((6, 7), bool))
    assert heard == [] and viewer.layers.selection.active is image
    assert list(viewer.layers) == [image, working.masks.layer, working.prompts, working.boxes]
    assert np.allclose(working.prompts.data, [[2, 5, 5], [2, 9, 9]])
    assert working.boxes.shape_type == ["rectangle", "path"]
    at = working.masks.layer.data_to_world((0, 1, 2))
    assert np.allclose(at, image.data_to_world((2, 4, 6)))
    assert working.masks.painted() is None
    viewer.dims.set_point(0, 4)
    working.masks.layer.paint((0, 3, 3), 0)
    assert working.masks.painted() is not None and not working.masks.painted()[3, 3]
    working.prompts.name = "mine"
    working.prompts.add([[2, 1, 1]])
    assert heard and set(heard) == {working.prompts}
    viewer.layers.remove(working.prompts)
    working.show(shown)
    assert working.prompts in viewer.layers and len(working.prompts.data) == 2
    viewer.add_image(np.zeros((4, 4)), units="nm")  # the world is in nanometres from here on
    assert np.allclose(working.prompts.data_to_world((2, 4, 6)), [4000, 2000, 3000])
    image.translate = (0, 1, 0)
    assert np.allclose(working.prompts.data_to_world((2, 4, 6)), [4000, 3000, 3000])
    viewer.dims.ndisplay = 3
    working.show(Draft((2,), 1, scribbles=((0, line), (0, Scribble(((5.0, 6.0),))))))
    working.masks.show((2,), Window(3, 4, 6, 7), np.ones((6, 7), bool))
    assert working.boxes.shape_type == ["rectangle", "path"]  # drawn in the 2-D view
    viewer.dims.ndisplay = 2
    assert working.boxes.shape_type == ["path", "path"]
    working.masks.show((3,), Window(0, 0, 9, 9), np.ones((9, 9), bool))
    assert working.masks.painted() is None and working.masks.layer.data.shape == (1, 9, 9)
    working.close()
    assert [type(layer).__name__ for layer in viewer.layers] == ["Image", "Image"]
