"""Everything mode from its widget, and the event loop meanwhile."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from qtpy.QtCore import QTimer

from napari_segment_anything.bridge.files import records_reader, write_found
from napari_segment_anything.formats import read_sa1b, read_table
from napari_segment_anything.widgets import exports
from napari_segment_anything.widgets.everything import EverythingWidget
from napari_segment_anything.widgets.prompt import PromptWidget

from .conftest import at_rest, picture

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.weights]


@pytest.fixture
def opened(qtbot, viewer):
    layer = viewer.add_image(picture(), name="disks")
    widget = EverythingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment everything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    return viewer, layer, widget


def test_started_before_the_model_is_loaded(qtbot, viewer) -> None:
    viewer.add_image(picture(), name="disks")
    widget = EverythingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment everything")
    widget.start()
    assert "Loading the model" in widget.status.text
    qtbot.waitUntil(lambda: widget._drawn is not None)


def run(qtbot, widget) -> None:
    widget.start()
    assert widget._jobs.running
    qtbot.waitUntil(lambda: not widget._jobs.running)
    assert widget._drawn is not None, widget.status.text


def test_run_filter_export_discard(qtbot, opened, tmp_path, monkeypatch) -> None:
    viewer, _layer, widget = opened
    run(qtbot, widget)
    result = widget._result.layer
    assert result in viewer.layers
    count = widget._drawn.objects
    assert 6 <= count <= 14
    assert len(result.features) == count
    field = widget.parameters.min_area
    field.value = 100000
    qtbot.waitUntil(lambda: widget._drawn.objects == 0)
    assert not np.asarray(result.data).any()
    assert field.dropped.value == f"−{count}"
    field.value = None
    qtbot.waitUntil(lambda: widget._drawn.objects == count)
    path = tmp_path / "objects.csv"
    monkeypatch.setattr(exports.QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    widget.exports.save_table()
    qtbot.waitUntil(lambda: widget.status.text == "Saved objects.csv.")
    table, features = read_table(path), widget._drawn.features
    assert table["label"].tolist() == features["index"].tolist()
    assert table["area"].tolist() == features["visible_area"].tolist()
    assert table["predicted_iou"] == pytest.approx(features["predicted_iou"])
    assert {"solidity", "circularity", "intensity_mean", "parent"} <= set(table)
    write_found(tmp_path / "masks.json", widget._drawn)
    assert len(read_sa1b(tmp_path / "masks.json").records) == count
    reader = records_reader(str(tmp_path / "masks.json"))
    assert reader is not None and reader(str(tmp_path / "masks.json"))[0][0].max() == count
    widget.discard()
    assert result not in viewer.layers


def test_regions(qtbot, opened) -> None:
    viewer, _layer, widget = opened
    widget.region.qt.button("rectangle").click()
    assert "rectangle" in widget.status.text
    widget.start()
    assert not widget._jobs.running and "draw a rectangle" in widget.status.text
    viewer.layers["region"].add_rectangles(np.array([[0, 0], [0, 90], [90, 90], [90, 0]]))
    run(qtbot, widget)
    assert widget._drawn.area.window.shape[0] <= 92
    widget.region.qt.button("plane").click()


def test_existing_labels_stay(qtbot, opened) -> None:
    viewer, _layer, widget = opened
    labels = np.zeros((160, 160), np.uint16)
    labels[60:84, 60:84] = 7
    target = viewer.add_labels(labels)
    widget.targets.value = target
    run(qtbot, widget)
    data = np.asarray(target.data)
    assert (data[60:84, 60:84] == 7).all()
    assert data.max() > 7


def test_cancel_and_mistakes(qtbot, opened) -> None:
    viewer, _layer, widget = opened
    widget.mode.value = "grid"
    begin = time.process_time()
    widget.start()
    qtbot.wait(150)
    widget.start()  # the button says Stop now
    assert not widget._jobs.running
    assert time.process_time() - begin < 5
    widget.mode.value = "auto"
    viewer.layers.clear()
    widget.start()
    assert "open an image" in widget.status.text


class Pulse(threading.Thread):
    """Counts how often another thread that sleeps gets its turn: time of a machine under load."""

    every = 0.002

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.beats, self._end = 0, threading.Event()

    def __enter__(self) -> Pulse:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        while not self._end.wait(self.every):
            self.beats += 1


@pytest.mark.slow
def test_the_event_loop_is_never_held(qtbot, viewer) -> None:
    """Neither by computing on its thread nor by waiting there while other threads go on."""
    viewer.add_image(picture(512))
    prompts, every = PromptWidget(viewer), EverythingWidget(viewer)
    viewer.window.add_dock_widget(prompts)
    viewer.window.add_dock_widget(every)
    qtbot.waitUntil(lambda: prompts.session.is_loaded)
    at_rest(qtbot, viewer)
    beats: list[tuple[float, float]] = []
    heart = QTimer()
    heart.setInterval(2)

    def longest(action, done) -> float:
        beats.clear()
        with Pulse() as pulse:
            beat = heart.timeout.connect(
                lambda: beats.append((time.thread_time(), pulse.beats * pulse.every))
            )
            heart.start()
            qtbot.wait(30)
            action()
            qtbot.waitUntil(done)
            qtbot.wait(30)
            heart.stop()
            heart.timeout.disconnect(beat)
        return float(np.diff(beats, axis=0).max())

    session = prompts.session

    def decoded() -> bool:
        return session.preview is not None and not session.busy

    held = {}
    every.mode.value = "grid"
    every.parameters.points_per_side.value = 8
    held["encode"] = longest(lambda: session.add_point((72, 72)), decoded)
    held["decode"] = longest(lambda: session.add_point((80, 72)), decoded)
    held["everything"] = longest(every.start, lambda: not every._jobs.running)
    every.mode.value = "auto"
    print("longest hold of the event loop, ms:", {k: round(1000 * v) for k, v in held.items()})
    # showing a layer for the first time is napari's own work, on this thread
    assert held["encode"] < 0.25 and held["decode"] < 0.25 and held["everything"] < 0.6
