"""Stacks from the widget: objects followed, corrected, linked, tracked, and reviewed."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QMouseEvent
from scipy.ndimage import gaussian_filter

from napari_segment_anything.stacks import solid_segment
from napari_segment_anything.widgets.stack import StackWidget

from ..bright import bright_model
from .conftest import at_rest, ours

pytestmark = pytest.mark.filterwarnings("default")


def ball_stack(planes: int = 5, size: int = 96) -> np.ndarray:
    """Return two bright disks that move a little from plane to plane."""
    rows, cols = np.mgrid[:size, :size]
    stack = []
    for plane in range(planes):
        disks = np.hypot(rows - 28, cols - 26 - 2 * plane) < 14
        disks |= np.hypot(rows - 66, cols - 64 + plane) < 15
        clean = gaussian_filter(np.where(disks, 190.0, 30.0), 1.0)
        stack.append(clean + np.random.default_rng(plane).normal(0, 8, clean.shape))
    return np.clip(stack, 0, 255).astype(np.uint8)


@pytest.fixture
def opened(qtbot, viewer):
    layer = viewer.add_image(ball_stack(), name="balls", scale=(3.0, 1.0, 1.0))
    widget = StackWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment a stack")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    return viewer, layer, widget


def run(qtbot, widget) -> None:
    widget.start()
    assert widget._jobs.running, widget.status.text
    qtbot.waitUntil(lambda: not widget._jobs.running)
    assert widget.done is not None, widget.status.text


def test_follow_correct_and_review(qtbot, opened) -> None:
    viewer, _image, widget = opened
    assert widget.axis.current_choice == "axis 0: 5 planes"
    widget.start()
    assert "no object was committed" in widget.status.text
    points = viewer.add_points([[2, 28, 30]], scale=(3.0, 1.0, 1.0), name="seeds")
    widget.parameters.prompts_by_slice.value = points
    run(qtbot, widget)
    labels = widget.layers.labels
    assert labels.name == "balls followed" and labels.data.shape == (5, 96, 96)
    assert labels.get_value((6.0, 28.0, 30.0), world=True) == 1
    planes = widget.done.propagated.planes[1]
    assert 2 in planes and len(planes) >= 3
    # the table and the curve: a click goes to the plane
    review = widget.review
    assert review.table.rowCount() == 1 and review.selected == 1
    curve = review.curve
    x = curve._at(planes[-1], 0).x()
    press = QMouseEvent(
        QMouseEvent.Type.MouseButtonPress, QPointF(x, 30), QPointF(x, 30),
        Qt.MouseButton.LeftButton, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    curve.mousePressEvent(press)
    assert viewer.dims.current_step[0] == planes[-1] and labels.selected_label == 1
    qtbot.waitUntil(lambda: curve._plane == planes[-1])
    assert not curve.grab().isNull()
    # a box on another plane is another object; what was known is not decoded again
    viewer.layers.selection.active = points
    points.add([[1, 66, 63]])
    run(qtbot, widget)
    assert widget.layers.labels is labels
    assert set(widget.done.propagated.planes) == {1, 2}
    assert widget.done.propagated.planes[1] == planes
    assert labels.get_value((3.0, 66.0, 63.0), world=True) == 2
    labels.selected_label = 2
    assert review.selected == 2


def test_objects_of_the_session_are_followed(qtbot, opened) -> None:
    viewer, _image, widget = opened
    session = widget.session
    viewer.dims.set_point(0, 6.0)
    session.add_point((28, 30))
    qtbot.waitUntil(lambda: session.preview is not None and not session.busy)
    (number,) = session.commit()
    run(qtbot, widget)
    assert widget.done.prompted == {number: (2,)}
    # a correction on another plane keeps the object's id
    viewer.dims.set_point(0, 12.0)
    session.add_point((28, 34))
    qtbot.waitUntil(lambda: session.preview is not None and not session.busy)
    session.commit()
    run(qtbot, widget)
    assert widget.done.prompted == {number: (2, 4)}
    assert "plane decoded" in widget.status.text


@pytest.mark.weights
def test_link_and_track(qtbot, opened) -> None:
    viewer, _image, widget = opened
    widget.task.qt.button("overlap").click()
    assert widget.parameters.anisotropy.visible
    run(qtbot, widget)
    labels = widget.layers.labels
    assert labels.name == "balls linked" and len(labels.features) == len(widget.done.table["label"])
    first = labels.data[2, 28, 30]
    assert first and labels.data[3, 28, 32] == first
    assert widget.review.table.rowCount() == len(labels.features)
    widget.task.qt.button("track").click()
    assert not widget.parameters.anisotropy.visible
    run(qtbot, widget)
    tracks = widget.layers.tracks
    assert tracks in viewer.layers and tracks.data.shape[1] == 4
    assert np.allclose(tracks.scale, (3.0, 1.0, 1.0))
    at = tracks.data[(tracks.data[:, 1] == 2)]
    assert (np.abs(at[:, 2:] - (28, 30)).max(axis=1) < 3).any()


@pytest.mark.weights
def test_in_3d(qtbot, opened, monkeypatch) -> None:
    _viewer, _image, widget = opened
    monkeypatch.setattr(solid_segment, "choose_scale", lambda *_: 2.0)
    widget.task.qt.button("3d").click()
    assert widget.run_button.text() == "Segment in 3-D"
    shown = widget.parameters
    assert shown.anisotropy.visible and shown.min_extent.visible
    assert not shown.mode.visible and not shown.link_thresh.visible
    assert widget.form.options() == {"link": "3d"}
    run(qtbot, widget)
    labels = widget.layers.labels
    assert labels.name == "balls segmented"
    number = labels.data[2, 28, 30]
    assert number and labels.data[1, 28, 28] == labels.data[3, 28, 32] == number


def test_3d_needs_a_dense_head(opened, default_model) -> None:
    _viewer, _image, widget = opened
    solid = widget.task.qt.button("3d")
    assert widget.form.fit(bright_model()) == ""
    assert not solid.isEnabled() and "no dense head" in solid.toolTip()
    assert widget.form.fit(default_model) == ""
    assert solid.isEnabled() and "all three axes" in solid.toolTip()
    solid.click()
    assert "no dense head" in widget.form.fit(bright_model())


def test_axis_cancel_and_closing(qtbot, opened) -> None:
    viewer, _image, widget = opened
    widget.axis.value = 2
    assert viewer.dims.order[0] == 2
    qtbot.wait(100)
    assert widget.axis.value == 2
    widget.task.qt.button("overlap").click()
    widget.start()
    qtbot.waitUntil(lambda: widget.layers.labels is not None)
    widget.start()
    assert not widget._jobs.running and widget.status.text == "Stopped."
    widget.start()
    qtbot.waitUntil(lambda: "of 96" in widget.status.text)
    viewer.close()
    qtbot.waitUntil(lambda: not ours())


@pytest.mark.weights
def test_the_method_is_what_the_model_can_do(qtbot, opened, tmp_path) -> None:
    pytest.importorskip("transformers")
    from napari_segment_anything import load_model
    from tests.families.tiny import tiny_sam2

    viewer, image, widget = opened
    fields, items = widget.parameters, widget.parameters.method.native.model()

    def enabled():
        return {m: items.item(i).isEnabled() for i, m in enumerate(fields.method.choices)}

    assert enabled() == {"auto": True, "memory": False, "dense": True, "decoder": True}
    assert "default cannot follow" in items.item(1).toolTip()
    assert widget.form._how.head is not None
    widget.form._how.head.click()
    assert fields.stiffness.visible and fields.anisotropy.visible
    widget.session.model = load_model(tiny_sam2(tmp_path / "sam2"), device="cpu")
    assert enabled() == {"auto": True, "memory": True, "dense": False, "decoder": True}
    assert not fields.stiffness.visible and not fields.anisotropy.visible
    fields.method.value = "decoder"
    assert fields.stiffness.visible and not fields.anisotropy.visible
    fields.method.value = "memory"
    mask = np.zeros(image.data.shape, np.uint8)
    mask[2, 15:40, 15:45] = 1
    fields.prompts_by_slice.value = viewer.add_labels(mask, scale=image.scale, name="painted")
    run(qtbot, widget)
    assert widget.done.propagated._state.task.signature["method"] == "memory"
    assert (widget.layers.labels.data[2] == mask[2]).all()
    widget.session.model = load_model("default", device="cpu")
    assert "default cannot follow objects by memory" in widget.status.text
