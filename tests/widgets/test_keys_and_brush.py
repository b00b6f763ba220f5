"""Keys that do not clash, Ctrl-click, and napari's brush on the mask in progress."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence

from napari_segment_anything.widgets.prompt import PromptWidget

from .conftest import Window, at_rest, picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def opened(qtbot, viewer):
    layer = viewer.add_image(picture(), name="disks")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    return Window(viewer, qtbot), layer, widget


def decoded(widget) -> bool:
    return widget.session.preview is not None and not widget.session.busy


def test_no_key_is_taken_from_napari(opened) -> None:
    from napari.utils.shortcuts import default_shortcuts

    _, _, widget = opened
    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    ours = {str(key) for key in widget.prompting.keys.ours}
    assert len(ours) == 7
    # these two end a polygon of the Labels or Shapes layer that is active, which hears them first
    assert ours & taken <= {"Enter", "Escape"}


def test_keys_work_on_the_widget_too(qtbot, opened) -> None:
    window, _, widget = opened
    widget.session.add_point((72, 72))
    qtbot.waitUntil(lambda: decoded(widget))
    before = widget.session.preview.chosen
    window.viewer.window.activate()
    widget.activateWindow()
    widget.region_area.editor.native.setFocus()
    for key in ("Shift+C",):
        combination = QKeySequence(key)[0]
        qtbot.keyClick(widget, combination.key(), combination.keyboardModifiers())
    qtbot.waitUntil(lambda: widget.session.preview.chosen != before)


def test_ctrl_click_takes_an_object_up(qtbot, opened) -> None:
    window, layer, widget = opened
    window.click(layer, (72, 72))
    qtbot.waitUntil(lambda: decoded(widget))
    (label,) = widget.session.commit()
    assert widget.session.draft is None
    at = window.at(layer, (72, 72))
    qtbot.mouseMove(window.native, at)
    qtbot.mouseClick(window.native, Qt.LeftButton, Qt.ControlModifier, pos=at)
    qtbot.waitUntil(lambda: widget.session.draft is not None)
    assert widget.session.draft.editing == label
    assert widget.session.draft.points[0].position == pytest.approx((72, 72), abs=0.7)
    qtbot.waitUntil(lambda: f"object {label}" in widget.status.text)


def test_paint_refine_commit(qtbot, opened) -> None:
    window, layer, widget = opened
    tools, session = widget.prompting.painting, widget.session
    assert not tools.paint.isEnabled()
    session.add_point((72, 72))
    qtbot.waitUntil(lambda: decoded(widget))
    tools.paint.click()
    preview = session.working.masks.layer
    assert window.viewer.layers.selection.active is preview and preview.mode == "paint"
    inside = np.asarray(preview.data) > 0
    preview.brush_size = 8
    spot = (5, 150)
    assert not inside[spot]
    preview.paint(spot, 1)
    tools.erase.click()
    assert not tools.paint.isChecked() and preview.mode == "erase"
    tools.erase.click()
    assert window.viewer.layers.selection.active is layer
    assert (session.working.masks.painted() & ~inside).any()
    tools.paint.click()
    window.native.setFocus()
    qtbot.keyClick(window.native, Qt.Key_Return)  # although a Labels layer is active
    qtbot.waitUntil(lambda: len(session.objects) == 1)
    assert session.target.data[spot] == 1
    assert window.viewer.layers.selection.active is layer
    assert not tools.paint.isEnabled() and not tools.paint.isChecked()

    session.add_point((24, 24))
    qtbot.waitUntil(lambda: decoded(widget))
    window.viewer.dims.ndisplay = 3
    tools.paint.click()
    assert "switch the viewer to 2-D" in widget.status.text and not tools.paint.isChecked()
    window.viewer.dims.ndisplay = 2
    session.cancel()

    session.add_point((24, 24))
    qtbot.waitUntil(lambda: decoded(widget))
    tools.refine.click()
    qtbot.waitUntil(lambda: decoded(widget))
    assert session.draft.masks
    widget.prompting.cancel()
