"""How long the next image of a series takes to be shown: `python benchmarks/next_image.py`.

Needs a display. The widget "Annotate a series" goes through images of 2048 x 2048 pixels (`--side`
gives another size), which it has read and encoded ahead, without and with suggestions.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["NAPARI_SEGMENT_ANYTHING_JOURNALS"] = tempfile.mkdtemp()

import napari
import numpy as np
import tifffile
from qtpy.QtTest import QTest

import napari_segment_anything as nsa
from napari_segment_anything.widgets.project import ProjectWidget


def main() -> None:
    """Print wall and processor time from the key to the drawn image, in milliseconds.

    "held" is the longest time for which the window did not answer meanwhile; "first" is the image
    with which the project opens.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048, help="rows and columns of an image")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--without", action="store_true", help="without suggestions only")
    asked = parser.parse_args()
    side, images = asked.side, asked.images
    folder = Path(tempfile.mkdtemp())
    (folder / "raw").mkdir()
    tile = nsa.sample("nuclei").image
    image = np.tile(tile, (side // tile.shape[0] + 1,) * 2)[:side, :side]
    for number in range(images):
        tifffile.imwrite(folder / "raw" / f"im{number}.tif", np.roll(image, 37 * number, 1))
    print("| suggestions | first, held | wall, median (worst) | held, worst | processor, median |")
    print("|---|---|---|---|---|")
    for suggestions in (False,) if asked.without else (False, True):
        project = nsa.Project.create(folder / f"series-{suggestions}", folder / "raw")
        viewer = napari.Viewer()
        widget = ProjectWidget(viewer)
        viewer.window.add_dock_widget(widget)
        widget.suggestions.automatic.value = suggestions
        while not widget.session.is_loaded:
            QTest.qWait(50)
        first = _held(partial(widget.open, project), partial(_is_other, widget, None))
        wall, used, held = [], [], []
        for _ in range(images - 2):
            key = _ready(widget)
            began, processor = time.perf_counter(), time.process_time()
            held.append(_held(widget.next, partial(_is_other, widget, key)))
            wall.append(1000 * (time.perf_counter() - began))
            used.append(1000 * (time.process_time() - processor))
        words = "yes" if suggestions else "no"
        median = f"{np.median(wall):.0f} ({max(wall):.0f})"
        print(f"| {words} | {first:.0f} | {median} | {max(held):.0f} | {np.median(used):.0f} |")
        viewer.close()
        QTest.qWait(200)


def _is_other(widget: ProjectWidget, key: str | None) -> bool:
    """Whether an image is shown, and not that of a key."""
    return widget.series.image is not None and widget.series.image.key != key


def _held(act: Callable[[], object], done: Callable[[], bool]) -> float:
    """Do something, wait until it is drawn; return how long the window did not answer at most."""
    held, was_done, since = 0.0, False, time.perf_counter()
    act()
    while not was_done:
        was_done = done()
        QTest.qWait(1)
        held, since = max(held, time.perf_counter() - since), time.perf_counter()
    return 1000 * held


def _ready(widget: ProjectWidget) -> str:
    """Wait until an image is shown and the next one is read; return the first one's key."""
    while True:
        QTest.qWait(50)
        series = widget.series
        if series is None or series.now is None or series.board.busy:
            continue
        following = series.next_image()
        if following is None or series.is_ahead(following.key):
            QTest.qWait(2000)
            return str(series.image.key)


if __name__ == "__main__":
    main()
