"""Walk through the first ten minutes in the viewer, with mouse and keys, and take its pictures.

`python docs/walkthrough.py`, with a display. Without one:
`xvfb-run -a -s "-screen 0 1280x1024x24" env -u QT_QPA_PLATFORM python docs/walkthrough.py`.
The window has 1280 x 720 pixels. Every step is checked; the first that fails ends the walk.
`--theme light` (or dark) walks in one theme only, `--into DIR` saves the pictures elsewhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton
from screenshots import IMAGES, PLUGIN, Studio, few_colours

import napari_segment_anything as nsa
from napari_segment_anything.bridge.files import write_label_store
from napari_segment_anything.formats import open_labels, read_table

SIZE = (1280, 720)
COINS = ((54, 44), (51, 104), (51, 156), (53, 213), (53, 273), (195, 275), (116, 52), (120, 110))


class Walk:
    """One walk through the steps, in one theme.

    Parameters
    ----------
    theme : {"dark", "light"}
    into : Path
        Where pictures go.
    """

    def __init__(self, theme: str, into: Path) -> None:
        self.theme, self.into = theme, into
        self.folder = Path(tempfile.mkdtemp())

    def studio(self) -> Studio:
        """Open coins, and the widget."""
        studio = Studio("coins", "Segment Anything", self.theme, SIZE)
        studio.settle()
        return studio

    def save(self, name: str, studio: Studio) -> None:
        """Save what the window looks like; it must not have grown."""
        window = studio.viewer.window._qt_window
        check((window.width(), window.height()) == SIZE, f"the window is {window.size()}")
        QTest.mouseMove(studio.canvas, studio.at(2, 2))  # no tooltip in the picture
        self.write(name, studio.window())

    def write(self, name: str, picture: np.ndarray) -> None:
        """Write a picture with few colours, so that it is small."""
        path = self.into / f"walk-{name}-{self.theme}.png"
        few_colours(picture).save(path, optimize=True)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")

    def go(self) -> None:
        """Do every step."""
        with self.studio() as studio:
            self.click(studio)
            self.commit_quickly(studio)
            self.correct(studio)
            self.export(studio)
            self.models(studio)
            self.everything(studio)
            journal = studio.widget.session.planes.find().session.journal.path
            shutil.copy(journal, journal.with_name("killed.jsonl"))  # as a crash leaves it
            objects = len(studio.widget.session.objects)
        self.reopen(objects)

    def click(self, studio: Studio) -> None:
        """A click, and one that says: not this."""
        studio.click(*COINS[5])
        check(studio.widget.session.preview is not None, "no mask after a click")
        studio.click(165, 235, negative=True)
        self.save("click", studio)
        studio.widget.prompting.cancel()
        studio.settle()

    def commit_quickly(self, studio: Studio) -> None:
        """Click, Enter, click, Enter, without waiting for any mask."""
        for place in COINS:
            studio.click(*place, wait=-1)
            QTest.keyClick(studio.canvas, Qt.Key.Key_Return)
        session = studio.widget.session
        studio.wait(lambda: len(session.objects) == len(COINS), 60)
        check(len(session.objects) == len(COINS), f"{len(session.objects)} objects of {len(COINS)}")
        studio.settle()
        self.save("commits", studio)

    def correct(self, studio: Studio) -> None:
        """Take an object up again from the list, and click where it should not be."""
        widget = studio.widget
        widget.objects.selectRow(5)
        widget.actions.edit_button.click()
        studio.settle()
        check(widget.session.draft is not None, "the prompts did not come back")
        studio.click(165, 235, negative=True)
        QTest.keyClick(studio.canvas, Qt.Key.Key_Return)
        studio.wait(lambda: widget.session.draft is None, 30)
        studio.settle()
        widget.objects.clearSelection()
        widget.objects.selectRow(0)
        widget.actions.lock_button.click()
        widget.objects.selectRow(1)
        widget.actions.hide_button.click()
        studio.settle()
        self.save("finished", studio)
        widget.actions.hide_button.click()

    def export(self, studio: Studio) -> None:
        """The measures as CSV, the labels as OME-Zarr: what the menu's commands do."""
        session = studio.widget.session
        session.measures.save(self.folder / "coins.csv")
        write_label_store(str(self.folder / "coins.ome.zarr"), session.target)
        table = read_table(self.folder / "coins.csv")
        check(len(table["label"]) == len(session.objects), "the table lacks objects")
        stored = np.asarray(open_labels(self.folder / "coins.ome.zarr").array)
        check((stored == session.target.data).all(), "the store has other labels")
        print("columns:", ", ".join(table))

    def models(self, studio: Studio) -> None:
        """The list of models."""
        box = studio.widget.models.qt
        box.showPopup()
        QTest.qWait(400)
        popup = box.view().window()
        check(popup.isVisible(), "the list of models does not open")
        screen = studio.widget.screen()
        whole = screen.grabWindow(0, 0, 0, *SIZE).toImage()
        whole = whole.convertToFormat(whole.Format.Format_RGBA8888)
        pixels = np.frombuffer(whole.constBits().asarray(whole.sizeInBytes()), np.uint8)
        picture = pixels.reshape(whole.height(), whole.width(), 4)
        self.write("models", picture)
        box.hidePopup()

    def everything(self, studio: Studio) -> None:
        """Everything else, in the same labels' company."""
        window = studio.viewer.window
        dock, widget = window.add_plugin_dock_widget(PLUGIN, "Segment everything")
        main = window._qt_window
        studio.wait(lambda: dock in main.tabifiedDockWidgets(studio.dock), 30)
        check(dock in main.tabifiedDockWidgets(studio.dock), "the docks are not tabbed")
        widget.targets.value = studio.widget.session.target
        widget.run_button.click()
        studio.wait(lambda: widget._drawn is not None and not widget._jobs.running, 120)
        check(widget._drawn is not None and widget._drawn.objects > 5, widget.status.text)
        QTest.qWait(500)
        self.save("everything", studio)

    def reopen(self, objects: int) -> None:
        """After a crash: the image is opened, and its unsaved work is offered."""
        with self.studio() as studio:
            notices = studio.widget.notices
            studio.wait(lambda: "unsaved" in notices.topics, 30)
            check(notices.topics.get("unsaved", "").startswith(f"{objects} objects"), "no offer")
            self.save("reopen", studio)
            for item in notices.findChildren(QPushButton):
                if item.text() == "Recover":
                    item.click()
                    break
            studio.wait(lambda: len(studio.widget.session.objects) == objects, 30)
            check(len(studio.widget.session.objects) == objects, "not all objects came back")
            studio.settle()


def check(so: Any, otherwise: str) -> None:
    """End the walk if something is not as it should be."""
    if not so:
        raise SystemExit(f"the walk ends here: {otherwise}")


def main() -> None:
    """Walk in the themes that were asked for, by default in both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--theme", choices=["dark", "light"])
    parser.add_argument("--into", type=Path, default=IMAGES)
    asked = parser.parse_args()
    asked.into.mkdir(parents=True, exist_ok=True)
    nsa.load_model  # noqa: B018 - torch is imported before the first window
    for theme in ("dark", "light") if asked.theme is None else (asked.theme,):
        os.environ["NAPARI_SEGMENT_ANYTHING_JOURNALS"] = tempfile.mkdtemp()
        Walk(theme, asked.into).go()
    QApplication.processEvents()


if __name__ == "__main__":
    main()
