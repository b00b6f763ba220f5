"""Clicks while another layer is active: taken, or refused with a reason and a way out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")
from qtpy.QtWidgets import QPushButton

from napari_segment_anything.widgets.everything import EverythingWidget
from napari_segment_anything.widgets.prompt import HINTS, PromptWidget

from .conftest import PLUGIN, Window, at_rest, picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def opened(qtbot, viewer):
    layer = viewer.add_image(picture(), name="disks")
    other = viewer.add_labels(np.zeros((160, 160), np.uint8), name="mine")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    return Window(viewer, qtbot), layer, other, widget


def active(window: Window):
    return window.viewer.layers.selection.active


def test_opening_the_widget_makes_the_image_active(qtbot, opened) -> None:
    window, layer, _, widget = opened
    assert active(window) is layer
    window.click(layer, (72, 72))
    qtbot.waitUntil(lambda: widget.session.draft is not None)


def test_choosing_a_tool_or_an_image_makes_the_image_active(opened) -> None:
    window, layer, other, widget = opened
    window.viewer.layers.selection.active = other
    widget.tools.qt.button("box").click()
    assert active(window) is layer
    second = window.viewer.add_image(picture(), name="second")
    window.viewer.layers.selection.active = other
    widget.images.value = second
    assert active(window) is second
    widget.tools.qt.button("points").click()


def test_a_click_that_is_not_taken_says_why_and_a_button_mends_it(qtbot, opened) -> None:
    window, layer, other, widget = opened
    window.viewer.layers.selection.active = other
    window.click(layer, (72, 72))
    qtbot.waitUntil(lambda: "click" in widget.notices.topics)
    assert "'mine'" in widget.notices.topics["click"]
    assert widget.status.text != HINTS["points"]
    assert widget.session.draft is None
    widget.notices.findChild(QPushButton).click()
    assert active(window) is layer
    assert "click" not in widget.notices.topics
    window.click(layer, (72, 72))
    qtbot.waitUntil(lambda: widget.session.draft is not None)


@pytest.mark.parametrize("state", ["second channel", "tool", "3-D", "nothing"])
def test_every_reason_is_said(qtbot, opened, state) -> None:
    window, layer, other, widget = opened
    viewer = window.viewer
    if state == "second channel":
        viewer.add_image(picture(), name="channel")
    elif state == "tool":
        viewer.layers.selection.active = other
        other.mode = "pick"
    elif state == "3-D":
        viewer.dims.ndisplay = 3
        at_rest(qtbot, viewer)
    else:
        viewer.layers.selection.clear()
    at = Window(viewer, qtbot).native.rect().center()
    from qtpy.QtCore import Qt

    qtbot.mouseClick(window.native, Qt.LeftButton, Qt.NoModifier, pos=at)
    word = {"second channel": "'channel'", "tool": "'pick'", "3-D": "three", "nothing": "No layer"}
    qtbot.waitUntil(lambda: word[state] in widget.notices.topics.get("click", ""))
    widget.notices.findChild(QPushButton).click()
    window.click(layer, (72, 72))
    qtbot.waitUntil(lambda: widget.session.draft is not None)
    assert not widget.notices.topics


def test_a_drag_that_pans_another_layer_says_nothing(qtbot, opened) -> None:
    from qtpy.QtCore import Qt

    window, layer, other, widget = opened
    window.viewer.layers.selection.active = other
    begin, end = window.at(layer, (72, 72)), window.at(layer, (30, 40))
    qtbot.mousePress(window.native, Qt.LeftButton, Qt.NoModifier, pos=begin)
    qtbot.mouseMove(window.native, end)
    qtbot.wait(50)
    qtbot.mouseRelease(window.native, Qt.LeftButton, Qt.NoModifier, pos=end)
    qtbot.wait(50)
    assert not widget.notices.topics


def test_after_segment_everything_clicks_are_still_prompts(qtbot, opened) -> None:
    window, layer, _, widget = opened
    everything = EverythingWidget(window.viewer)
    window.viewer.window.add_dock_widget(everything, name="Segment everything")
    everything.run_button.click()
    qtbot.waitUntil(lambda: everything._drawn is not None and not everything._jobs.running)
    window.click(layer, (72, 72))
    qtbot.waitUntil(lambda: widget.session.draft is not None)


@pytest.mark.parametrize("name", ["coins", "nuclei", "cells_2ch", "divisions"])
def test_a_sample_leaves_its_image_active(qtbot, viewer, name) -> None:
    import napari

    from napari_segment_anything.widgets.prompt import PromptWidget

    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    viewer.open_sample(PLUGIN, name)
    image = viewer.layers.selection.active
    assert isinstance(image, napari.layers.Image)
    assert widget.session.mouse.is_ours()
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    rows, cols = image.data.shape[-2:]
    lead = viewer.dims.current_step[: image.ndim - 2]
    Window(viewer, qtbot).click(image, (*lead, rows // 2, cols // 2))
    qtbot.waitUntil(lambda: widget.session.draft is not None)
