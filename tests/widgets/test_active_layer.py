"""Clicks while another layer is active: taken, or refused with a reason and a way out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

from napari_segment_anything.widgets.everything import EverythingWidget
from napari_segment_anything.widgets.prompt import HINTS, PromptWidget

from .conftest import PLUGIN, Window, picture, wait

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def opened(viewer):
    layer = viewer.add_image(picture(), name="disks")
    other = viewer.add_labels(np.zeros((160, 160), np.uint8), name="mine")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    assert wait(lambda: widget.session.is_loaded)
    QTest.qWait(200)
    return Window(viewer), layer, other, widget


def active(window: Window):
    return window.viewer.layers.selection.active


def test_opening_the_widget_makes_the_image_active(opened) -> None:
    window, layer, _, widget = opened
    assert active(window) is layer
    window.click(layer, (72, 72))
    assert wait(lambda: widget.session.draft is not None, 5)


def test_choosing_a_tool_or_an_image_makes_the_image_active(opened) -> None:
    window, layer, other, widget = opened
    window.viewer.layers.selection.active = other
    widget.tools.button("box").click()
    assert active(window) is layer
    second = window.viewer.add_image(picture(), name="second")
    window.viewer.layers.selection.active = other
    widget.images.box.layer = second
    assert active(window) is second
    widget.tools.button("points").click()


def test_a_click_that_is_not_taken_says_why_and_a_button_mends_it(opened) -> None:
    window, layer, other, widget = opened
    window.viewer.layers.selection.active = other
    window.click(layer, (72, 72))
    assert wait(lambda: "click" in widget.notices.topics, 5)
    assert "'mine'" in widget.notices.topics["click"]
    assert widget.status.text != HINTS["points"]
    assert widget.session.draft is None
    widget.notices.findChild(QPushButton).click()
    assert active(window) is layer
    assert "click" not in widget.notices.topics
    QTest.qWait(500)  # not a double click
    window.click(layer, (72, 72))
    assert wait(lambda: widget.session.draft is not None, 5)


@pytest.mark.parametrize("state", ["second channel", "tool", "3-D", "nothing"])
def test_every_reason_is_said(opened, state) -> None:
    window, layer, other, widget = opened
    viewer = window.viewer
    if state == "second channel":
        viewer.add_image(picture(), name="channel")
    elif state == "tool":
        viewer.layers.selection.active = other
        other.mode = "pick"
    elif state == "3-D":
        viewer.dims.ndisplay = 3
        QTest.qWait(200)
    else:
        viewer.layers.selection.clear()
    at = Window(viewer).native.rect().center()
    from qtpy.QtCore import Qt

    QTest.mouseClick(window.native, Qt.LeftButton, Qt.NoModifier, at)
    word = {"second channel": "'channel'", "tool": "'pick'", "3-D": "three", "nothing": "No layer"}
    assert wait(lambda: word[state] in widget.notices.topics.get("click", ""), 5)
    widget.notices.findChild(QPushButton).click()
    QTest.qWait(500)
    window.click(layer, (72, 72))
    assert wait(lambda: widget.session.draft is not None, 5)
    assert not widget.notices.topics


def test_a_drag_that_pans_another_layer_says_nothing(opened) -> None:
    from qtpy.QtCore import Qt

    window, layer, other, widget = opened
    window.viewer.layers.selection.active = other
    begin, end = window.at(layer, (72, 72)), window.at(layer, (30, 40))
    QTest.mousePress(window.native, Qt.LeftButton, Qt.NoModifier, begin)
    QTest.mouseMove(window.native, end)
    QTest.qWait(50)
    QTest.mouseRelease(window.native, Qt.LeftButton, Qt.NoModifier, end)
    QTest.qWait(50)
    assert not widget.notices.topics


def test_after_segment_everything_clicks_are_still_prompts(opened) -> None:
    window, layer, _, widget = opened
    everything = EverythingWidget(window.viewer)
    window.viewer.window.add_dock_widget(everything, name="Segment everything")
    everything.run_button.click()
    assert wait(lambda: everything._drawn is not None and not everything._jobs.running)
    window.click(layer, (72, 72))
    assert wait(lambda: widget.session.draft is not None, 5)


@pytest.mark.parametrize("name", ["coins", "nuclei", "cells_2ch", "divisions"])
def test_a_sample_leaves_its_image_active(viewer, name) -> None:
    import napari

    from napari_segment_anything.widgets.prompt import PromptWidget

    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    viewer.open_sample(PLUGIN, name)
    image = viewer.layers.selection.active
    assert isinstance(image, napari.layers.Image)
    assert widget.session.takes_mouse()
    assert wait(lambda: widget.session.is_loaded)
    QTest.qWait(300)
    rows, cols = image.data.shape[-2:]
    lead = viewer.dims.current_step[: image.ndim - 2]
    Window(viewer).click(image, (*lead, rows // 2, cols // 2))
    assert wait(lambda: widget.session.draft is not None, 5)
