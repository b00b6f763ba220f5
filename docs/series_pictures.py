"""Take the pictures of the page on annotating a series: `python docs/series_pictures.py`.

Needs a display, as `screenshots.py` does. The images are generated, with their labels. Learning
takes some minutes; `--steps` says how many.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import napari
import numpy as np
import tifffile
from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from screenshots import PLUGIN, Album, Studio

import napari_segment_anything as nsa
from napari_segment_anything.progress import finish
from napari_segment_anything.projects import ObjectEntry
from napari_segment_anything.projects.learning import learn_steps
from napari_segment_anything.projects.suggesting import suggest_series_steps
from napari_segment_anything.samples.generators import GENERATORS, generate

KIND, SIDE, COUNT, COMPLETE = "cells_phase", 320, 10, 5


class SeriesStudio(Studio):
    """A window with the widget "Annotate a series" and a project.

    Parameters
    ----------
    project : Project
    theme : str
    """

    def __init__(self, project: nsa.Project, theme: str) -> None:
        get_settings().appearance.theme = theme
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1280, 720)
        self.dock, self.widget = self.viewer.window.add_plugin_dock_widget(
            PLUGIN, "Annotate a series"
        )
        QTest.qWait(500)
        self.widget.open(project)
        self.wait(lambda: self.widget.series.now is not None, 120)
        self.settle(1500)

    @property
    def image(self) -> object:
        """The image layer."""
        return self.widget.series.layers.images[0]

    def press(self, key: str) -> None:
        """Press a key on the canvas."""
        QTest.keyClick(self.canvas, key)
        self.settle(300)


def make(folder: Path) -> nsa.Project:
    """Make a project of generated images, some of them complete."""
    raw = folder / "raw"
    raw.mkdir()
    truth = []
    for number in range(COUNT):
        made = generate(KIND, (SIDE, SIDE), 100 + number, **GENERATORS[KIND].options)
        tifffile.imwrite(raw / f"well-{number + 1:02d}.tif", np.asarray(made.image))
        truth.append(np.asarray(made.labels).astype(np.int32))
    project = nsa.Project.create(folder / "cells", raw, classes=["cell", "dividing", "debris"])
    for image, labels in list(zip(project.images, truth, strict=True))[:COMPLETE]:
        ids = [int(label) for label in np.unique(labels) if label]
        entries = [ObjectEntry(label, "cell", seconds=7.0) for label in ids]
        with image.lock("anna") as editing:
            editing.write(labels=labels, objects=entries, state="complete", seconds=7.0 * len(ids))
    return project


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--steps", type=int, default=60)
    asked = parser.parse_args()
    album = Album(asked.theme)
    project = make(Path(tempfile.mkdtemp()))
    studio = SeriesStudio(project, asked.theme)
    widget = studio.widget
    studio.wait(lambda: not widget.series.board.busy and widget.series.board.open_count > 0, 120)
    shown = sorted(widget.series.board.shown, key=lambda item: -item.score)
    for item in shown[:3]:
        studio.click(*item.point)
        QTest.keyClick(studio.canvas, Qt.Key.Key_Return)
        studio.settle(300)
    studio.click(*shown[4].point)
    album.save("series_annotate", studio.window())
    QTest.keyClick(studio.canvas, Qt.Key.Key_Escape)
    widget.stage.button("learn").click()
    finish(learn_steps(project, steps=asked.steps, restart=True))
    project.reload()
    widget.learn.refresh()
    QTest.qWait(500)
    album.save("series_learn", studio.window())
    widget.series.leave()
    widget.series.flush()
    finish(suggest_series_steps(project))
    widget.stage.button("review").click()
    widget.review.start_button.click()
    studio.wait(lambda: widget.series.board.asked > 0, 60)
    studio.settle(800)
    album.save("series_review", studio.window())
    widget.stage.button("annotate").click()
    for _ in range(COUNT - COMPLETE):
        studio.settle(400)
        if widget.series.board.shown:
            widget.suggestions.take_shown()
        studio.press("n")
    widget.series.leave()
    widget.series.flush()
    widget.stage.button("audit").click()
    widget.audit.fields["masks"].value = 40
    widget.audit.fields["fields"].value = 8
    widget.audit.draw()
    for number in range(44):
        studio.wait(lambda: widget.audit.round is not None and widget.audit.round.item, 30)
        before = widget.audit.round.item
        studio.press("w" if number % 9 == 8 else "u")
        studio.wait(lambda before=before: widget.audit.round.item is not before, 30)
    studio.settle(800)
    album.save("series_audit", studio.window())
    studio.viewer.close()
    QTest.qWait(300)


if __name__ == "__main__":
    main()
