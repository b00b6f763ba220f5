"""Finished objects in a real window: their measures, hidden and locked ones, exports."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_segment_anything.formats import open_labels, read_table
from napari_segment_anything.widgets.commands import export_labels, export_table

from .conftest import picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def two(qtbot, viewer, window):
    """Return a viewer with two committed disks, and the widget."""
    viewer.add_image(picture(), name="disks", scale=(0.4, 0.4), units="um")
    widget = window.add("Segment Anything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    for number, low in enumerate((9, 57), start=1):
        widget.session.set_box((low, low, low + 30, low + 30))
        qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
        widget.prompting.commit()
        qtbot.waitUntil(lambda number=number: len(widget.session.objects) == number)
    return viewer, widget


def saved_as(monkeypatch, path) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))


def test_measures_are_in_the_features_and_in_files(qtbot, two, tmp_path, monkeypatch) -> None:
    viewer, widget = two
    layer = widget.session.target
    qtbot.waitUntil(lambda: len(layer.features) == 2)
    areas = [0.16 * (np.asarray(layer.data) == n).sum() for n in (1, 2)]
    assert layer.features["area"].tolist() == pytest.approx(areas)
    assert {"intensity_mean", "solidity", "predicted_iou", "seconds"} <= set(layer.features)
    saved_as(monkeypatch, tmp_path / "one.csv")
    widget.table_button.click()
    assert read_table(tmp_path / "one.csv")["area"] == pytest.approx(areas)
    assert "2 rows" in widget.status.text
    viewer.layers.selection.active = layer
    saved_as(monkeypatch, tmp_path / "two.csv")
    export_table(viewer)
    assert read_table(tmp_path / "two.csv")["index"].tolist() == [1, 2]
    saved_as(monkeypatch, tmp_path / "labels")
    export_labels(viewer)
    store = open_labels(tmp_path / "labels.ome.zarr")
    assert (np.asarray(store.array) == layer.data).all()
    assert store.scale == pytest.approx((0.4, 0.4))


def test_objects_are_hidden_and_locked_from_the_list(qtbot, two) -> None:
    _viewer, widget = two
    layer = widget.session.target
    assert not widget.actions.hide_button.isEnabled()
    widget.objects.selectRow(0)
    widget.actions.hide_button.click()
    assert layer.get_color(1)[3] == 0 and layer.get_color(2)[3] == 1
    assert (
        widget.objects.item(0, 5).text() == "hidden" and widget.actions.hide_button.text() == "Show"
    )
    width = widget.objects.fontMetrics().horizontalAdvance("hidden")
    assert width + 6 <= widget.objects.columnWidth(5)
    widget.actions.lock_button.click()
    assert (
        widget.objects.item(0, 5).text() == "both" and widget.actions.lock_button.text() == "Unlock"
    )
    widget.actions.delete_button.click()
    assert "locked" in widget.status.text and 1 in widget.session.objects
    widget.actions.lock_button.click()
    widget.actions.hide_button.click()
    assert widget.objects.item(0, 5).text() == "" and layer.get_color(1)[3] == 1
    widget.actions.delete_button.click()
    qtbot.waitUntil(lambda: len(widget.session.objects) == 1)
    # measured in the background: until then there is no such column
    qtbot.waitUntil(lambda: list(layer.features.get("index", ())) == [2])
