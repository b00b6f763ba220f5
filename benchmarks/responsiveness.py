"""How long the viewer's event loop is blocked, and the time from a click to a mask.

xvfb-run -a -s "-screen 0 1280x1024x24" python benchmarks/responsiveness.py

Opens a viewer on a 512 px image with both widgets and the embedded model. A timer ticks every 2 ms;
the longest time between two ticks is how long the event loop was blocked. A click is timed from the
release of the button, before which the window has been drawn, to the window that shows the mask.
Between two clicks, the same is done in napari alone: a click that writes a region of a Labels
layer. Processor time is that of all threads; it and the paintings of the window are counted until
the window is at rest. Learning runs in a process of its own.
"""

# ruff: noqa: E402 - napari reads its environment when it is imported

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import page
import tifffile

_OWN = Path(tempfile.mkdtemp())
os.environ.setdefault("NAPARI_CONFIG", str(_OWN / "settings.yaml"))
os.environ.setdefault("NAPARI_SEGMENT_ANYTHING_JOURNALS", str(_OWN))

import napari
from napari.layers import Layer
from qtpy.QtCore import QEventLoop, QPoint, Qt, QTimer
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

_REST = 150
"""Milliseconds after which nothing that an action began is painted any more."""


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Run the event loop until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        QTest.qWait(1)


@dataclass(frozen=True)
class Took:
    """Seconds of an action: on the clock, of the processor, and that the event loop was held.

    `processor` and `held` count until the window is at rest, and so does `painted`: how often it
    was painted.
    """

    wall: float
    processor: float
    held: float
    painted: int


@dataclass(frozen=True)
class Clicks:
    """Clicks to masks, their decoding in seconds, and clicks in napari alone, in turn with them."""

    ours: list[Took]
    decoding: list[float]
    alone: list[Took]

    @property
    def above(self) -> list[float]:
        """Seconds that each took more than the other and decoding together."""
        each = zip(self.ours, self.decoding, self.alone, strict=True)
        return [ours.wall - decoding - alone.wall for ours, decoding, alone in each]


class Clock:
    """Times actions of a viewer up to the window in which they are seen.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.canvas = viewer.window._qt_viewer.canvas.native
        self.frames = 0
        """Windows that were shown."""
        self.canvas.frameSwapped.connect(self._on_frame)
        self._loop = QEventLoop()
        self._done: Callable[[], bool] = lambda: False
        self._beats: list[float] = []
        self._heart = QTimer()
        self._heart.setInterval(2)
        self._heart.setTimerType(Qt.PreciseTimer)
        self._heart.timeout.connect(self._beat)

    def _on_frame(self) -> None:
        self.frames += 1
        self._look()

    def _beat(self) -> None:
        self._beats.append(time.perf_counter())
        self._look()

    def _look(self) -> None:
        if self._loop.isRunning() and self._done():
            self._loop.quit()

    def measure(self, action: Callable[[], object], done: Callable[[], bool]) -> Took:
        """Time an action until something is true."""
        self._beats.clear()
        self._heart.start()
        QTest.qWait(30)
        self._done = done
        begin, processor, frames = time.perf_counter(), time.process_time(), self.frames
        action()
        self._loop.exec()
        wall = time.perf_counter() - begin
        self._done = lambda: False
        QTest.qWait(_REST)
        self._heart.stop()
        processor = time.process_time() - processor
        beats = [beat for beat in self._beats if beat > begin - 0.02]
        return Took(wall, processor, float(np.diff(beats).max()), self.frames - frames)

    def click(self, image: napari.layers.Image, point: Sequence[float]) -> Callable[[], None]:
        """Press the mouse on a pixel of an image; return what releases it."""
        height, width = self.viewer.canvas.size
        centre = np.array(self.viewer.scene.camera.center)[-2:]
        row, col = (np.array(image.data_to_world(point)) - centre) * self.viewer.scene.camera.zoom
        at = QPoint(round(col + width / 2), round(row + height / 2))
        QTest.qWait(450)  # not a double click
        QTest.mousePress(self.canvas, Qt.LeftButton, Qt.NoModifier, at)
        QTest.qWait(80)
        return lambda: QTest.mouseRelease(self.canvas, Qt.LeftButton, Qt.NoModifier, at)


class PlainClicks:
    """Clicks in napari alone: each writes a region of a Labels layer, which is drawn.

    Parameters
    ----------
    clock : Clock
    image : Image
    """

    def __init__(self, clock: Clock, image: napari.layers.Image) -> None:
        self.clock, self.image, self.frame = clock, image, 0
        self.pixels = np.zeros(image.data.shape[:2], np.uint8)
        self.layer = clock.viewer.add_labels(self.pixels, name="plain napari")
        clock.viewer.layers.selection.active = image

    def _drag(self, viewer: napari.Viewer, event: Any) -> Iterator[None]:
        yield
        row, col = (int(at) for at in event.position)
        self.pixels[row : row + 40, col : col + 40] += 1
        self.layer.refresh(thumbnail=False)
        self.frame = self.clock.frames

    def measure(self, point: Sequence[float], others: Sequence[Layer]) -> Took:
        """Click once, with other layers hidden."""
        callbacks = self.clock.viewer.mouse_drag_callbacks
        before = list(callbacks)
        shown = [layer for layer in others if layer.visible]
        for layer in shown:
            layer.visible = False
        self.layer.visible = True
        callbacks[:] = [self._drag]
        took = self.clock.measure(
            self.clock.click(self.image, point), lambda: self.clock.frames > self.frame
        )
        callbacks[:] = before
        self.layer.visible = False
        for layer in shown:
            layer.visible = True
        return took


def ms(seconds: Sequence[float] | float) -> str:
    """Median of some seconds, in milliseconds."""
    return f"{1000 * np.median(seconds):.0f} ms"


def tell(what: str, took: Sequence[Took], decoding: Sequence[float] = ()) -> None:
    """Print a row; what is held at most is the median of all, and the worst."""
    held = [one.held for one in took]
    worst = f" ({1000 * max(held):.0f})" if len(held) > 1 else ""
    print(
        page.row(
            (
                what,
                ms([one.wall for one in took]),
                ms(decoding) if len(decoding) else "",
                ms([one.processor for one in took]),
                f"{1000 * np.median(held):.0f}{worst} ms",
                f"{np.mean([one.painted for one in took]):.1f}",
            )
        ),
        flush=True,
    )


class Bench:
    """A viewer on an image with the widgets, ready for clicks."""

    def __init__(self) -> None:
        PluginSettings().set("engine", cache_gigabytes=0)
        sample = nsa.sample("nuclei")
        self.pixels, self.labels = np.asarray(sample.image), np.asarray(sample.labels)
        self.viewer = viewer = napari.Viewer(show=True)
        self.image = viewer.add_image(self.pixels)
        self.prompts, self.every = PromptWidget(viewer), EverythingWidget(viewer)
        viewer.window.add_dock_widget(self.prompts, name="Segment Anything")
        viewer.window.add_dock_widget(self.every, name="Segment everything", tabify=True)
        viewer.layers.selection.active = self.image
        self.session = self.prompts.session
        until(lambda: self.session.is_loaded)
        QTest.qWait(1000)
        self.clock = Clock(viewer)
        self._frame = 0
        self.session.preview_changed.connect(self._on_preview)

    def _on_preview(self, preview: object) -> None:
        self._frame = self.clock.frames

    def _shown(self) -> bool:
        there = self.session.preview is not None and not self.session.busy
        return there and self.clock.frames > self._frame

    def click(self, point: Sequence[float]) -> tuple[Took, float]:
        """Click once, and drop the mask; return what it took, and the seconds of decoding."""
        took = self.clock.measure(self.clock.click(self.image, point), self._shown)
        session = self.session.planes.current.session
        result = session.state.chain.results.get(session.draft.revision)
        self.session.prompts.cancel()
        return took, result.seconds

    def clicks(self, inside: np.ndarray, count: int) -> Clicks:
        """Click `count` times somewhere inside a region, in turn with napari alone."""
        places = np.argwhere(inside[60:450, 60:450]) + 60
        rng = np.random.default_rng(0)
        plain = PlainClicks(self.clock, self.image)
        found = Clicks([], [], [])
        for point in map(tuple, places[rng.integers(0, len(places), count)]):
            found.alone.append(plain.measure(point, self.session.working.layers))
            took, decoding = self.click(point)
            found.ours.append(took)
            found.decoding.append(decoding)
        self.viewer.layers.remove(plain.layer)
        self.viewer.layers.selection.active = self.image
        return found


def tell_clicks(what: str, found: Clicks) -> None:
    """Print the rows of some clicks."""
    tell(what, found.ours, found.decoding)
    tell("napari alone, in turn with it: a Labels region written and drawn", found.alone)
    print(
        page.row(("more than napari alone and decoding", ms(found.above), "", "", "", "")),
        flush=True,
    )


def ratios(quick: bool) -> dict[str, page.Ratio]:
    """A click to a mask on the screen against a click in napari alone."""
    if not os.environ.get("DISPLAY"):
        raise page.Unavailable("a display (xvfb-run)")
    bench = Bench()
    bench.click((200, 200))
    found = bench.clicks(bench.labels > 0, 25 if quick else 100)
    bench.viewer.close()
    unit = "of a click in napari alone that writes a Labels region"
    pairs = list(zip(found.ours, found.alone, strict=True))
    return {
        "click": page.Ratio.of([ours.wall / alone.wall for ours, alone in pairs], unit, True),
        "click, processor": page.Ratio.of(
            [ours.processor / alone.processor for ours, alone in pairs], unit, True
        ),
    }


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=25, help="how many of each kind")
    parser.add_argument("--only-clicks", action="store_true", help="no learning, no longer jobs")
    given = parser.parse_args()
    bench = Bench()
    viewer, every, labels, clock = bench.viewer, bench.every, bench.labels, bench.clock
    heads = ("what", "takes", "of it decoding", "processor", "event loop held", "painted")
    print(page.table(heads, ()))
    took, decoding = bench.click((200, 200))
    tell("first click on a cold image, model loaded", [took], [decoding])
    print(f"\nMedian of {given.clicks} clicks with the embedding cached, and the worst:\n")
    print(page.table(heads, ()))
    tell_clicks("click on an object to mask", bench.clicks(labels > 0, given.clicks))
    if given.only_clicks:
        viewer.close()
        return
    tell_clicks("click on the background to mask", bench.clicks(labels == 0, given.clicks))
    folder = _learning(bench.pixels, labels)
    until(lambda: learning_status(folder).done > 0, 300)
    beside = "click on an object to mask, while a project learns"
    tell_clicks(beside, bench.clicks(labels > 0, given.clicks))
    still = learning_status(folder).active
    cancel_learning(folder)
    until(lambda: not learning_status(folder).active)
    if not still:
        raise RuntimeError("learning ended too early to be measured")
    print("\nLonger jobs:\n")
    print(page.table(("what", "takes", "", "processor", "event loop held", "painted"), ()))
    found = np.arange(labels.size, dtype=np.int32).reshape(labels.shape) // 3000
    added = clock.measure(lambda: viewer.add_labels(found, name="plain napari"), lambda: True)
    tell("napari alone: a Labels layer with 90 objects added", [added])
    viewer.layers.remove("plain napari")
    viewer.layers.selection.active = bench.image
    for mode in ("instances", "grid"):
        every.mode.value = mode
        tell(f"everything, {mode}", [clock.measure(every.start, lambda: not every._jobs.running)])
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


if __name__ == "__main__":
    main()
