"""What is said and shown beside the work: hints, numbers of things, buttons, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QAbstractButton

from napari_segment_anything.widgets.prompt import HINTS
from napari_segment_anything.widgets.settings import PluginSettings
from napari_segment_anything.wording import counted

from .conftest import picture

pytestmark = pytest.mark.filterwarnings("default")


def stops(widget) -> list[QAbstractButton]:
    return [
        item
        for item in widget.findChildren(QAbstractButton)
        if item.isVisible() and item.text() == "Stop"
    ]


def test_one_is_no_plural() -> None:
    assert [counted(n, "object") for n in range(3)] == ["0 objects", "1 object", "2 objects"]


def test_thresholds_appear_with_the_model_and_do_not_change(qtbot, viewer, window) -> None:
    viewer.add_image(picture(), name="disks")
    PluginSettings().set("everything", min_area=17)
    widget = window.add("Segment everything")
    fields = widget.fields
    assert not widget.session.is_loaded
    seen = {n: f.acting for n, f in fields.items() if f.editor.native.isVisibleTo(f.native)}
    assert seen == {"min_area": 17}  # set by hand, so it is known
    heights = {name: field.native.sizeHint() for name, field in fields.items()}
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    assert all(fields[name].acting == value for name, value in seen.items())
    assert all(f.editor.visible for f in fields.values() if f.visible)
    assert {name: field.native.sizeHint() for name, field in fields.items()} == heights


def test_there_is_one_button_that_stops(qtbot, viewer, window) -> None:
    viewer.add_image(picture(256), name="disks")
    widget = window.add("Segment everything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    widget.mode.value = "grid"
    widget.start()
    qtbot.wait(50)
    assert [item.text() for item in stops(widget)] == ["Stop"]
    stops(widget)[0].click()
    assert not widget._jobs.running and not stops(widget)


def test_hints_follow_the_tool_and_tools_are_not_kept(qtbot, viewer, window) -> None:
    viewer.add_image(picture(), name="disks")
    widget = window.add("Segment Anything")
    qtbot.waitUntil(lambda: widget.session.is_loaded and not widget.session.busy)
    for mode, hint in HINTS.items():
        widget.tools.qt.button(mode).click()
        assert widget.status.text == hint
    widget.tools.qt.button("lasso").click()
    widget.prompting.commit()
    assert "Click" not in widget.status.text and "Draw" in widget.status.text
    widget.batch.value = True
    kept = PluginSettings().get("prompt")
    assert (kept["mode"], kept["batch"]) == ("points", False)
    text = repr(widget.session)
    assert "disks" in text and "0 objects" in text and "0x" not in text
    widget.session.set_box((57, 57, 87, 87))
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    assert widget.status.text.startswith("Enter commits")
    widget.prompting.commit()
    qtbot.waitUntil(lambda: len(widget.session.objects) == 1)
    assert "1 object," in repr(widget.session.planes.find().session)
    assert np.asarray(widget.session.target.data).any()
