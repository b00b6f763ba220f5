"""Finding by words and examples in the widget for everything."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.widgets import find_form
from napari_segment_anything.widgets.everything import FIND, EverythingWidget
from napari_segment_anything.widgets.find_form import DRAW, NONE, SELECTED

from ..families.tiny_finders import tiny_owlv2
from .conftest import picture

pytestmark = pytest.mark.filterwarnings("default")
BOX = np.array([[10, 10], [10, 38], [38, 38], [38, 10]])


@pytest.fixture
def widget(qtbot, viewer) -> EverythingWidget:
    viewer.add_image(picture(), name="disks")
    made = EverythingWidget(viewer)
    viewer.window.add_dock_widget(made, name="Segment everything")
    qtbot.waitUntil(lambda: made.session.is_loaded)
    made.mode.value = FIND
    return made


def run(qtbot, widget) -> None:
    widget.start()
    qtbot.waitUntil(lambda: not widget._jobs.running)
    assert widget._drawn is not None, widget.status.text


def test_rectangles_are_examples_and_the_sliders_filter(qtbot, viewer, widget) -> None:
    assert not widget.run_button.isEnabled()
    assert "Say what to look for" in widget.run_button.toolTip()
    widget.find.examples.value = DRAW
    layer = viewer.layers["examples"]
    assert layer.mode == "add_rectangle"
    layer.add_rectangles(BOX)
    assert widget.find.examples.value is layer and widget.run_button.isEnabled()
    assert widget.policy.value == "score" and widget.run_button.text() == "Find"
    run(qtbot, widget)
    table = widget._drawn.table
    assert table.mode == "find" and "example" in table.sources
    assert "by own features" in widget.status.text
    assert list(widget._result.layer.features["source"]).count("example") == 1
    assert widget._result.layer.name == "disks like the examples"
    widget.fields["likeness_thresh"].value = 1.0
    qtbot.waitUntil(lambda: widget._drawn.objects == 1)
    widget.mode.value = "auto"
    assert widget.policy.value == "small"
    assert widget.settings.get("everything")["mode"] == "auto"


def test_a_finder_from_a_folder_reads_words(qtbot, widget, tmp_path) -> None:
    folder = str(tiny_owlv2(tmp_path / "owl"))
    widget.find.words.value = "disk"
    assert "no model that does is on this machine" in widget.run_button.toolTip()
    widget.find._folder = folder
    widget.find.finder.reset_choices()
    widget.find.finder.value = folder
    assert widget.run_button.isEnabled()
    run(qtbot, widget)
    assert widget._drawn.table.parameters["finder"] == "owlv2"
    assert widget._result.layer.name == "disks disk"
    loaded = widget.find._loaded
    run(qtbot, widget)
    assert widget.find._loaded is loaded


def test_what_cannot_be_found_is_greyed_out_with_the_reason(viewer, widget) -> None:
    labels = np.zeros((160, 160), np.uint8)
    labels[10:38, 10:38] = 2
    layer = viewer.add_labels(labels, name="some")
    widget.find.examples.value = layer
    items = widget.find.finder.native.model()
    names = list(widget.find.finder.choices)
    dino = items.item(names.index("grounding_dino_tiny"))
    assert not dino.isEnabled() and "does not find by examples" in dino.toolTip()
    assert items.item(names.index("owlv2_base")).isEnabled()
    widget.region.qt.button("all").click()
    assert not widget.run_button.isEnabled()
    widget.region.qt.button("plane").click()
    widget.find.examples.value = SELECTED
    widget.start()
    assert "select objects in the list" in widget.status.text
    widget.find.examples.value = NONE
    assert not widget.run_button.isEnabled()


def test_without_the_extra_finders_say_what_they_need(widget, monkeypatch) -> None:
    monkeypatch.setattr(find_form, "missing_packages", lambda: ["transformers"])
    widget.find.words.value = "disk"
    widget.find.finder.value = "owlv2_base"
    assert "owlv2_base needs transformers: pip install" in widget.run_button.toolTip()
    assert not widget.run_button.isEnabled()
