"""Models that cannot be had: said until dealt with, and the viewer goes on with the one it has."""

from __future__ import annotations

import pytest

pytest.importorskip("napari", reason="napari is not installed")
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_segment_anything.widgets.everything import EverythingWidget
from napari_segment_anything.widgets.prompt import PromptWidget
from napari_segment_anything.widgets.settings import PluginSettings
from napari_segment_anything.widgets.stack import StackWidget

from ..families.tiny import tiny_sam2
from .conftest import Window, at_rest, picture

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.weights]


@pytest.fixture
def opened(qtbot, viewer):
    layer = viewer.add_image(picture(), name="disks")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    viewer.reset_view()
    return Window(viewer, qtbot), layer, widget


def choose(widget, name: str) -> None:
    """Choose a model in the box, as a mouse does."""
    index = widget.models.qt.findData(name)
    widget.models.qt.setCurrentIndex(index)
    widget.models.qt.activated.emit(index)


def commit(qtbot, window, layer, widget) -> None:
    window.native.setFocus()
    window.click(layer, (72, 72))
    window.press("Return")
    qtbot.waitUntil(lambda: len(widget.session.objects) == 1)


def test_a_model_that_cannot_be_downloaded(qtbot, opened, offline) -> None:
    window, layer, widget = opened
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    choose(widget, "vit_b")
    assert widget.models.value == "vit_b"
    qtbot.waitUntil(lambda: "model" in widget.notices.topics and not widget.session.busy)
    assert "vit_b could not be loaded" in widget.notices.topics["model"]
    assert widget.models.value == "default" and widget.models.qt.currentText() == "default"
    assert PluginSettings().get("engine")["model"] == "default"
    commit(qtbot, window, layer, widget)
    assert widget.session.objects[1].fingerprint == widget.session.model.fingerprint
    assert "model" in widget.notices.topics  # nobody has dealt with it
    button = widget.notices.findChildren(QPushButton)[-1]
    assert button.text() == "OK"
    button.click()
    assert not widget.notices.topics


def test_a_file_that_is_gone_is_left_for_the_embedded_model(qtbot, viewer, tmp_path) -> None:
    PluginSettings().set("engine", model=str(tmp_path / "gone.pth"))
    layer = viewer.add_image(picture(), name="disks")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    viewer.reset_view()
    at_rest(qtbot, viewer)
    window = Window(viewer, qtbot)
    window.click(layer, (72, 72))  # before it is known
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    assert "gone.pth could not be loaded" in widget.notices.topics["model"]
    assert widget.models.value == "default"
    assert PluginSettings().get("engine")["model"] == "default"


def test_a_device_that_is_not_there_is_no_dead_end(qtbot, viewer) -> None:
    PluginSettings().set("engine", device="cuda")
    viewer.add_image(picture(), name="disks")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is such a device")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    assert "cuda" in widget.notices.topics["model"].lower()


def test_long_runs_are_not_begun_with_another_model(qtbot, viewer, offline, tmp_path) -> None:
    PluginSettings().set("engine", model=str(tmp_path / "gone.pth"))
    viewer.add_image(picture(), name="disks")
    widget = EverythingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment everything")
    widget.run_button.click()
    qtbot.waitUntil(lambda: "Not started" in widget.status.text)
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    assert not widget._jobs.running
    assert "gone.pth" in widget.notices.topics["model"]


def test_what_was_pressed_while_the_model_loads_is_what_runs(qtbot, viewer) -> None:
    import numpy as np

    viewer.add_image(np.stack([picture()] * 3), name="stack")
    widget = StackWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment a stack")
    assert not widget.session.is_loaded
    widget.task.qt.button("overlap").click()
    widget.run_button.click()
    widget.task.qt.button("track").click()
    qtbot.waitUntil(lambda: widget.done is not None)
    assert widget.done.tracks is None
    assert widget.layers.labels.name == "stack linked"


def test_a_folder_of_another_family_is_clicked_with(qtbot, opened, tmp_path, monkeypatch) -> None:
    window, _, widget = opened
    everything = EverythingWidget(window.viewer)
    window.viewer.window.add_dock_widget(everything, name="Segment everything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    folder = str(tiny_sam2(tmp_path / "sam2"))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: folder)
    box = widget.models.qt
    box.activated.emit(box.findText("From a folder …"))
    qtbot.waitUntil(lambda: widget.session.model is not None and "memory" in abilities(widget))
    assert everything.models.value == widget.models.value == folder
    assert box.currentText() == "sam2"
    widget.session.add_point((72, 72))
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    assert not widget.notices.topics
    assert "⚠" not in everything.status.text


def abilities(widget) -> frozenset[str]:
    return widget.session.model.abilities
