"""Objects of another program become prompts in the viewer, and a list to review."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_segment_anything.formats import read_coco, read_table
from napari_segment_anything.measures import otsu_watershed
from napari_segment_anything.widgets import exports
from napari_segment_anything.widgets.refine import RefineWidget

from .conftest import picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def opened(qtbot, viewer):
    image = picture()
    layer = viewer.add_image(image, name="disks")
    labels = otsu_watershed(image)
    labels[labels > 0] += 40
    viewer.add_labels(labels, name="threshold")
    widget = RefineWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Refine objects")
    return viewer, layer, labels, widget


def run(qtbot, widget):
    widget.start()

    def done():
        assert widget.refined is not None and not widget._jobs.running, widget.status.text

    qtbot.waitUntil(done)
    return widget.refined


def test_labels_keep_their_ids_and_rows_go_to_them(qtbot, opened, tmp_path, monkeypatch) -> None:
    viewer, _layer, labels, widget = opened
    assert widget.objects.value is viewer.layers["threshold"]  # the only one
    assert not widget.file.enabled
    refined = run(qtbot, widget)
    result = widget.layer
    assert result.name == "disks refined"
    kept = set(np.unique(result.data)) - {0}
    assert kept <= set(np.unique(labels)) - {0}
    assert len(kept) > 5
    assert widget.table.rowCount() == len(refined) == len(result.features)
    assert result.features["index"].iloc[0] == refined.review()["object"][0]
    number = int(refined.review()["object"][3])
    widget.table.select(number)
    widget.show_object(number)
    assert result.selected_label == number
    rows, cols = np.nonzero(labels == number)
    centre = np.asarray(viewer.scene.camera.center)[-2:]
    assert np.abs(centre - (rows.mean(), cols.mean())).max() < 12
    for name, write in (("r.csv", widget.save_table), ("r.json", widget.save_coco)):
        path = str(tmp_path / name)
        monkeypatch.setattr(
            exports.QFileDialog, "getSaveFileName", lambda *_, path=path: (path, "")
        )
        write()
    assert len(read_table(tmp_path / "r.csv")["object"]) == len(refined)
    assert len(read_coco(tmp_path / "r.json")[0].records) == len(refined)


def test_shapes_and_files(qtbot, opened, tmp_path) -> None:
    viewer, _layer, labels, widget = opened
    rows, cols = np.nonzero(labels == 41)
    low, high = (rows.min(), cols.min()), (rows.max(), cols.max())
    corners = np.array([low, (low[0], high[1]), high, (high[0], low[1])], float)
    shapes = viewer.add_shapes(
        [corners, corners[:3]],
        shape_type=["rectangle", "polygon"],
        features={"class": ["a", "b"], "score": [0.5, 0.25]},
    )
    widget.objects.value = shapes
    refined = run(qtbot, widget)
    assert refined.given.classes == ("a", "b")
    assert refined.given.scores.tolist() == [0.5, 0.25]
    assert refined.before[0] is None
    assert refined.before[1] is not None
    shapes.add_lines(np.array([low, high], float))
    widget.start()
    assert "encloses no area" in widget.status.text
    widget.refined = None
    widget.objects.value = viewer.add_labels(np.ones((9, 9), int), name="small")
    widget.start()
    assert "small" in widget.status.text
    results = [{"bbox": [cols.min(), rows.min(), 9, 9], "score": 0.5}]
    (tmp_path / "found.json").write_text(json.dumps(results, default=int))
    widget.objects.value = None
    widget.start()
    assert "choose a layer with objects, or a file" in widget.status.text
    widget.file.value = tmp_path / "found.json"
    assert run(qtbot, widget).given.scores.tolist() == [0.5]
