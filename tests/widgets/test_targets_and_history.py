"""Brush strokes and their undo, targets that go or do not fit, planes that are rolled away."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_segment_anything.errors import ResourceError
from napari_segment_anything.session import Journal, journal_directory
from napari_segment_anything.widgets.prompt import PromptWidget
from napari_segment_anything.widgets.settings import PluginSettings

from .conftest import Window, at_rest, picture

pytestmark = pytest.mark.filterwarnings("default")


def begin(qtbot, viewer, data=None) -> tuple[Window, object, PromptWidget]:
    layer = viewer.add_image(picture() if data is None else data, name="disks")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    viewer.reset_view()
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    return Window(viewer, qtbot), layer, widget


def add_object(qtbot, window: Window, layer, widget, point) -> None:
    count = len(widget.session.objects)
    window.native.setFocus()
    window.click(layer, point)
    window.press("Return")
    qtbot.waitUntil(lambda: len(widget.session.objects) == count + 1)


def stroke(qtbot, window: Window, layer, begin, end) -> None:
    places = [window.at(layer, np.array(begin) + (np.array(end) - begin) * t) for t in (0, 0.5, 1)]
    qtbot.mousePress(window.native, Qt.LeftButton, Qt.NoModifier, pos=places[0])
    for place in places[1:]:
        qtbot.mouseMove(window.native, place)
        qtbot.wait(30)
    qtbot.mouseRelease(window.native, Qt.LeftButton, Qt.NoModifier, pos=places[-1])
    qtbot.wait(50)


def test_ctrl_z_takes_a_stroke_on_the_target_back_for_good(qtbot, viewer) -> None:
    window, layer, widget = begin(qtbot, viewer)
    add_object(qtbot, window, layer, widget, (72, 72))
    session, target = widget.session, widget.session.target
    before = np.array(target.data)
    viewer.layers.selection.active = target
    target.selected_label, target.brush_size, target.mode = 9, 6, "paint"
    stroke(qtbot, window, layer, (130, 40), (130, 100))
    painted = np.array(target.data)
    assert (painted == 9).any() and sorted(session.objects) == [1, 9]
    window.native.setFocus()
    window.press("Ctrl+Z")
    assert np.array_equal(target.data, before)
    assert sorted(session.objects) == [1] and widget.objects.rowCount() == 1
    (path,) = journal_directory().glob("*.jsonl")
    assert [event.action.do for event in Journal.read(path)[1]][-2:] == ["paint", "undo"]
    window.press("Ctrl+Shift+Z")
    assert np.array_equal(target.data, painted) and sorted(session.objects) == [1, 9]
    window.press("Ctrl+Z")
    # recovered, the stroke is not there
    again = viewer.add_labels(np.zeros_like(before), name="again")
    session.set_target(again)
    session.recover(path)
    assert np.array_equal(again.data, before) and sorted(session.objects) == [1]


def test_ctrl_z_goes_back_in_the_order_things_were_done(qtbot, viewer) -> None:
    window, layer, widget = begin(qtbot, viewer)
    add_object(qtbot, window, layer, widget, (72, 72))
    target = widget.session.target
    first = np.array(target.data)
    viewer.layers.selection.active = target
    target.selected_label, target.brush_size, target.mode = 9, 6, "paint"
    stroke(qtbot, window, layer, (24, 20), (24, 28))
    target.mode = "pan_zoom"
    viewer.layers.selection.active = layer
    add_object(qtbot, window, layer, widget, (24, 24))  # beside and around the stroke
    viewer.layers.selection.active = target
    window.native.setFocus()
    for _ in range(3):  # commit, click, stroke
        window.press("Ctrl+Z")
        qtbot.waitUntil(lambda: not widget.session.busy)
    assert np.array_equal(target.data, first)
    assert sorted(widget.session.objects) == [1]


@pytest.mark.parametrize("when", ["from the start", "later"])
def test_a_journal_that_cannot_be_written_is_said_once_and_stops_nobody(
    qtbot, viewer, tmp_path, monkeypatch, when
) -> None:
    if when == "from the start":
        (tmp_path / "file").write_text("not a folder")
        PluginSettings().set("engine", journal_directory=str(tmp_path / "file" / "journals"))
    window, layer, widget = begin(qtbot, viewer)
    if when == "later":
        add_object(qtbot, window, layer, widget, (24, 24))

        def full(self, event, durable=False):
            raise ResourceError("no space left on device")

        monkeypatch.setattr(Journal, "write", full)
    add_object(qtbot, window, layer, widget, (72, 72))
    assert "Nothing is being kept" in widget.notices.topics["journal"]
    widget.notices.findChildren(QPushButton)[-1].click()
    assert not widget.notices.topics
    add_object(qtbot, window, layer, widget, (120, 72))
    assert not widget.notices.topics
    widget.prompting.undo()
    assert widget.session.draft is not None


def test_deleting_the_target_keeps_the_object_in_progress(qtbot, viewer) -> None:
    window, layer, widget = begin(qtbot, viewer)
    add_object(qtbot, window, layer, widget, (24, 24))
    target = widget.session.target
    window.click(layer, (72, 72))
    window.click(layer, (72, 96), right=True)
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    viewer.layers.remove(target)
    assert "were removed" in widget.notices.topics["target"]
    assert len(widget.session.draft.points) == 2
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    window.native.setFocus()
    window.press("Return")
    qtbot.waitUntil(lambda: len(widget.session.objects) == 1)
    assert widget.session.target in viewer.layers
    assert widget.session.target.data[72, 72] == 1


def test_the_window_is_drawn_after_the_image_is_left(qtbot, viewer) -> None:
    """As napari draws in no context then, the process crashes if working layers merely go."""
    window, layer, widget = begin(qtbot, viewer)
    window.click(layer, (24, 24))
    qtbot.waitUntil(lambda: widget.session.preview is not None)
    qtbot.wait(300)  # everything has been drawn
    assert len(viewer.layers) == 3
    widget.session.set_image(None)
    assert list(viewer.layers) == [layer]
    qtbot.wait(100)
    window.native.update()
    qtbot.wait(300)


def test_a_target_that_is_refused_is_not_shown_as_chosen(qtbot, viewer) -> None:
    _, _, widget = begin(qtbot, viewer)
    wrong = viewer.add_labels(np.zeros((20, 30), np.uint8), name="wrong")
    widget.targets.value = wrong
    assert widget.session.target is None
    assert widget.targets.value is None
    assert "shape" in widget.status.text


def test_rolling_the_axes_says_where_the_object_in_progress_is(qtbot, viewer) -> None:
    window, layer, widget = begin(qtbot, viewer, np.stack([picture()] * 40))
    window.click(layer, (viewer.dims.current_step[0], 72, 72))
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    order = viewer.dims.order
    viewer.dims.roll()
    qtbot.waitUntil(lambda: "axes" in widget.notices.topics)
    widget.notices.findChildren(QPushButton)[0].click()
    assert viewer.dims.order == order
    assert "axes" not in widget.notices.topics
    assert widget.session.preview is not None
