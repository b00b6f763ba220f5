"""How long the viewer's event loop is blocked, and the time from a click to a mask.

xvfb-run -a -s "-screen 0 1280x1024x24" python benchmarks/responsiveness.py

Opens a viewer on a 512 px image with both widgets and the embedded model. A timer ticks every 2 ms;
the longest time between two ticks is how long the event loop was blocked. The time of a click is
from the mouse event on the canvas to the repainted canvas. Learning runs in a process of its own.
"""

# ruff: noqa: E402 - napari reads its environment when it is imported

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import page
import tifffile

_OWN = Path(tempfile.mkdtemp())
os.environ.setdefault("NAPARI_CONFIG", str(_OWN / "settings.yaml"))
os.environ.setdefault("NAPARI_SEGMENT_ANYTHING_JOURNALS", str(_OWN))

import napari
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest

import napari_segment_anything as nsa
from napari_segment_anything.projects.learning_process import (
    cancel_learning,
    learning_status,
    start_learning,
)
from napari_segment_anything.widgets.everything import EverythingWidget
from napari_segment_anything.widgets.prompt import PromptWidget
from napari_segment_anything.widgets.settings import PluginSettings


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Run the event loop until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        QTest.qWait(1)


def main() -> None:
    """Print a table."""
    PluginSettings().set("engine", cache_gigabytes=0)
    sample = nsa.sample("nuclei", shape=(512, 512)) if _takes_shape() else nsa.sample("nuclei")
    viewer = napari.Viewer(show=True)
    image = viewer.add_image(np.asarray(sample.image))
    prompts, every = PromptWidget(viewer), EverythingWidget(viewer)
    viewer.window.add_dock_widget(prompts, name="Segment Anything")
    viewer.window.add_dock_widget(every, name="Segment everything", tabify=True)
    viewer.layers.selection.active = image
    session = prompts.session
    until(lambda: session.is_loaded)
    QTest.qWait(1000)
    beats: list[float] = []
    heart = QTimer()
    heart.setInterval(2)
    heart.timeout.connect(lambda: beats.append(time.perf_counter()))

    def measure(action: Callable[[], object], done: Callable[[], bool]) -> tuple[float, float]:
        beats.clear()
        heart.start()
        QTest.qWait(30)
        begin = time.perf_counter()
        action()
        until(done)
        took = time.perf_counter() - begin
        QTest.qWait(30)
        heart.stop()
        gaps = np.diff(beats)
        return took, float(gaps.max())

    def decoded() -> bool:
        return session.preview is not None and not session.busy

    native = viewer.window._qt_viewer.canvas.native

    def click(point: tuple[float, float]) -> None:
        world = np.array(image.data_to_world(point))
        height, width = viewer.canvas.size
        centre = np.array(viewer.scene.camera.center)[-2:]
        row, col = (world - centre) * viewer.scene.camera.zoom
        at = QPoint(round(col + width / 2), round(row + height / 2))
        QTest.mouseClick(native, Qt.LeftButton, Qt.NoModifier, at)

    def tell(what: str, took: str, held: float) -> None:
        print(page.row((what, took, f"{1000 * held:.0f} ms")), flush=True)

    print(page.table(("what", "takes", "event loop held at most"), ()))
    took, held = measure(lambda: click((200, 200)), decoded)
    tell("first click on a cold image, model loaded", f"{took:.2f} s", held)
    session.prompts.cancel()
    rng = np.random.default_rng(0)
    truth = np.asarray(sample.labels)

    def clicks(what: str, inside: np.ndarray) -> None:
        places = np.argwhere(inside[60:450, 60:450]) + 60
        times, holds = [], []
        for point in places[rng.integers(0, len(places), 25)]:
            QTest.qWait(450)  # not a double click
            took, held = measure(lambda point=point: click(tuple(point)), decoded)
            times.append(took)
            holds.append(held)
            session.prompts.cancel()
        tell(f"{what}, median of 25", f"{1000 * np.median(times):.0f} ms", max(holds))

    clicks("click on an object to mask, embedding cached", truth > 0)
    clicks("click on the background to mask, embedding cached", truth == 0)
    folder = _learning(np.asarray(sample.image), truth)
    until(lambda: learning_status(folder).done > 0, 300)
    clicks("click on an object to mask, while a project learns", truth > 0)
    still = learning_status(folder).active
    cancel_learning(folder)
    until(lambda: not learning_status(folder).active)
    if not still:
        raise RuntimeError("learning ended too early to be measured")
    labels = np.zeros(image.data.shape[:2], np.int32)
    plain = viewer.add_labels(labels, name="plain napari")

    def paint(row: int, col: int) -> None:
        labels[row : row + 40, col : col + 40] += 1
        plain.refresh()

    holds = []
    for row, col in rng.integers(0, 470, (25, 2)):
        QTest.qWait(100)
        _, held = measure(lambda row=row, col=col: paint(row, col), lambda: True)
        holds.append(held)
    tell("napari alone: a Labels region written and drawn", "", max(holds))
    viewer.layers.remove(plain)
    found = np.arange(labels.size, dtype=np.int32).reshape(labels.shape) // 3000
    _, held = measure(lambda: viewer.add_labels(found, name="plain napari"), lambda: True)
    tell("napari alone: a Labels layer with 90 objects added", "", held)
    viewer.layers.remove("plain napari")
    viewer.layers.selection.active = image
    for mode in ("instances", "grid"):
        every.mode.value = mode
        took, held = measure(every.start, lambda: not every._jobs.running)
        tell(f"everything, {mode}", f"{took:.2f} s", held)
    every.mode.value = "auto"
    viewer.close()


def _learning(image: np.ndarray, labels: np.ndarray) -> Path:
    """Start learning from a project of one image; return its folder."""
    raw = _OWN / "raw"
    raw.mkdir()
    tifffile.imwrite(raw / "image.tif", image)
    project = nsa.Project.create(_OWN / "project", raw)
    with project.image("image").lock() as editing:
        editing.write(labels=labels.astype(np.int32), state="complete")
    start_learning(project.folder, steps=2000)
    return project.folder


def _takes_shape() -> bool:
    import inspect

    return "shape" in inspect.signature(nsa.sample).parameters


if __name__ == "__main__":
    main()
