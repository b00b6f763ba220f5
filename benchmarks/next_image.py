"""How long the next image of a series takes to be shown: `python benchmarks/next_image.py`.

Needs a display. The widget "Annotate a series" goes through images of 2048 x 2048 pixels, which it
has read and encoded ahead, without and with suggestions.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["NAPARI_SEGMENT_ANYTHING_JOURNALS"] = tempfile.mkdtemp()

import napari
import numpy as np
import tifffile
from qtpy.QtTest import QTest

import napari_segment_anything as nsa
from napari_segment_anything.widgets.project import ProjectWidget

SIDE, IMAGES = 2048, 8


def main() -> None:
    """Print wall and processor time from the key to the drawn image, in milliseconds."""
    folder = Path(tempfile.mkdtemp())
    (folder / "raw").mkdir()
    tile = nsa.sample("nuclei").image
    image = np.tile(tile, (SIDE // tile.shape[0] + 1,) * 2)[:SIDE, :SIDE]
    for number in range(IMAGES):
        tifffile.imwrite(folder / "raw" / f"im{number}.tif", np.roll(image, 37 * number, 1))
    print("| suggestions | wall, median (worst) | processor, median |\n|---|---|---|")
    for suggestions in (False, True):
        project = nsa.Project.create(folder / f"series-{suggestions}", folder / "raw")
        viewer = napari.Viewer()
        widget = ProjectWidget(viewer)
        viewer.window.add_dock_widget(widget)
        widget.suggestions.automatic.value = suggestions
        widget.open(project)
        wall, used = [], []
        for _ in range(IMAGES - 2):
            key = _ready(widget)
            began, processor = time.perf_counter(), time.process_time()
            widget.next()
            while widget.series.image.key == key:
                QTest.qWait(1)
            QTest.qWait(1)  # it is drawn
            wall.append(1000 * (time.perf_counter() - began))
            used.append(1000 * (time.process_time() - processor))
        words = "yes" if suggestions else "no"
        print(f"| {words} | {np.median(wall):.0f} ({max(wall):.0f}) | {np.median(used):.0f} |")
        viewer.close()
        QTest.qWait(200)


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
