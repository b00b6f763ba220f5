"""Random actions in a real window: whatever our code raises, or ends the process with.

    python -m tests.hostile.random_actions 3                # seed 3, for 75 seconds
    python -m tests.hostile.random_actions 3 --actions 40

Mouse, keys, buttons and fields of all widgets, layers of all kinds that are added, moved, edited
and removed, planes, 3-D views, the console, and a project. Every third seed has the default model,
the others one that sees bright things. Errors that napari raises by itself are not counted; each
of ours is printed with the actions before it. The exit status is 1 if there was one.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PLUGIN = "segment-anything-napari"
WIDGETS = ("Segment Anything", "Segment everything", "Segment a stack", "Refine objects",
           "Annotate a series")  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ1234"
KEYS = (
    *LETTERS,
    *(f"Shift+{key}" for key in LETTERS),
    *("Return", "Escape", "Tab", "Shift+Tab", "Delete", "Backspace", "Space"),
    *("Ctrl+Z", "Ctrl+Shift+Z", "Ctrl+E", "Ctrl+T", "Ctrl+G", "Ctrl+Y"),
    *("Left", "Right", "Up", "Down", "[", "]", ",", ".", "-", "="),
)
MOST_LAYERS = 14


class Chance:
    """Random actions on a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    rng : random.Random
    folder : Path
        Holds a project and its images.
    """

    def __init__(self, viewer: Any, rng: random.Random, folder: Path) -> None:
        from qtpy.QtCore import Qt

        self.viewer, self.rng, self.folder = viewer, rng, folder
        self.canvas = viewer.window._qt_viewer.canvas.native
        self.docks: dict[str, tuple[Any, Any]] = {}
        self.buttons = [Qt.MouseButton.LeftButton] * 3 + [Qt.MouseButton.RightButton]
        none, shift = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
        self.modifiers = [none] * 5 + [shift, Qt.KeyboardModifier.ControlModifier]
        self.weights: dict[Callable[[], Any], float] = {
            self.click: 30, self.press: 20, self.wait: 15, self.drag: 8, self.push: 8,
            self.set_plane: 5, self.choose: 4, self.set_number: 4, self.use_console: 5,
            self.open_widget: 3, self.activate: 3, self.reset_view: 3, self.add_image: 2,
            self.add_labels: 1, self.remove_layer: 2, self.edit_labels: 2, self.hide_layer: 2,
            self.zoom: 2, self.write: 2, self.rename: 1, self.reorder: 1, self.close_widget: 1,
            self.set_mode: 1, self.turn_3d: 0.7, self.scale: 0.5,
        }  # fmt: skip

    def act(self) -> str:
        """Do something; return what."""
        [action] = self.rng.choices(list(self.weights), list(self.weights.values()))
        if len(self.viewer.layers) > MOST_LAYERS:
            self.viewer.layers.pop(0)
        return f"{action.__name__} {action()}"

    # -- mouse and keys --------------------------------------------------------------------------

    def _point(self) -> Any:
        from qtpy.QtCore import QPoint

        size = self.canvas.size()
        return QPoint(self.rng.randrange(size.width()), self.rng.randrange(size.height()))

    def click(self) -> Any:
        from qtpy.QtTest import QTest

        at, button = self._point(), self.rng.choice(self.buttons)
        QTest.mouseClick(self.canvas, button, self.rng.choice(self.modifiers), at)
        return at

    def drag(self) -> Any:
        from qtpy.QtTest import QTest

        begin, end = self._point(), self._point()
        button, modifier = self.rng.choice(self.buttons), self.rng.choice(self.modifiers)
        QTest.mousePress(self.canvas, button, modifier, begin)
        for part in range(1, 5):
            QTest.mouseMove(self.canvas, begin + (end - begin) * part / 4)
        QTest.mouseRelease(self.canvas, button, modifier, end)
        return begin, end

    def press(self) -> str:
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        key = self.rng.choice(KEYS)
        combination = QKeySequence(key)[0]
        QTest.keyClick(self.canvas, combination.key(), combination.keyboardModifiers())
        return key

    def wait(self) -> float:
        from qtpy.QtWidgets import QApplication

        seconds = self.rng.choice([0.02, 0.1, 0.4, 1.5])
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.01)
        return seconds

    # -- layers and views ------------------------------------------------------------------------

    def _layer(self, *kinds: str) -> Any:
        found = [
            layer for layer in self.viewer.layers if not kinds or type(layer).__name__ in kinds
        ]
        return self.rng.choice(found) if found else None

    def spots(self, *shape: int) -> np.ndarray:
        """Return bright spots on noise, 0 to 250."""
        from scipy.ndimage import gaussian_filter

        numbers = np.random.default_rng(self.rng.randrange(1 << 30))
        image = numbers.normal(20, 4, shape)
        image[tuple(numbers.integers(0, size, 12) for size in shape)] += 20_000
        image = gaussian_filter(image, [6 if size > 30 else 0 for size in shape])
        return (image - image.min()) / np.ptp(image) * 250

    def add_image(self) -> str:
        make: dict[str, Callable[[], np.ndarray]] = {
            "plane": lambda: self.spots(200, 240).astype(np.uint8),
            "stack": lambda: self.spots(6, 120, 140).astype(np.uint8),
            "colour": lambda: np.stack([self.spots(150, 160).astype(np.uint8)] * 3, -1),
            "float": lambda: self.spots(150, 160) / 250,
            "NaN": lambda: np.where(self.spots(120, 130) < 30, np.nan, 1.0),
            "pixel": lambda: np.ones((1, 1), np.uint8),
            "bool": lambda: self.spots(120, 130) > 60,
            "negative": lambda: self.spots(150, 160).astype(np.int16) - 100,
            "4-D": lambda: np.stack([self.spots(4, 80, 90)] * 3),
            "large": lambda: self.spots(1500, 1500).astype(np.uint8),
        }
        kind = self.rng.choice(list(make))
        layer = self.viewer.add_image(make[kind]())
        layer.scale = [self.rng.choice([1, 1, 0.5, 2.5])] * layer.ndim
        layer.translate = [self.rng.choice([0, 0, 0, 20.5])] * layer.ndim
        return kind

    def add_labels(self) -> None:
        image = self._layer("Image")
        shape = (200, 240) if image is None else image.data.shape[: image.ndim]
        self.viewer.add_labels(np.zeros(shape, self.rng.choice([np.uint8, np.uint16, np.int32])))

    def remove_layer(self) -> Any:
        layer = self._layer()
        if layer is not None and self.rng.random() < 0.5:
            self.viewer.layers.remove(layer)
        return layer

    def edit_labels(self) -> Any:
        layer = self._layer("Labels")
        if layer is not None and isinstance(layer.data, np.ndarray) and layer.data.flags.writeable:
            layer.data[tuple(self.rng.randrange(size) for size in layer.data.shape)] = 3
            layer.refresh()
        return layer

    def set_mode(self) -> Any:
        layer = self._layer("Labels")
        if layer is not None:
            layer.mode = self.rng.choice(["paint", "erase", "fill", "pick", "pan_zoom", "polygon"])
        return layer

    def hide_layer(self) -> Any:
        layer = self._layer()
        if layer is not None:
            layer.visible = not layer.visible
        return layer

    def activate(self) -> Any:
        layer = self.viewer.layers.selection.active = self._layer()
        return layer

    def rename(self) -> Any:
        layer = self._layer()
        if layer is not None:
            layer.name = self.rng.choice(["x", "Labels", "image", ""])
        return layer

    def reorder(self) -> None:
        count = len(self.viewer.layers)
        if count > 1:
            self.viewer.layers.move(self.rng.randrange(count), self.rng.randrange(count))

    def scale(self) -> Any:
        layer = self._layer()
        if layer is not None:
            layer.scale = [self.rng.choice([0.5, 1, 2.0])] * layer.ndim
        return layer

    def set_plane(self) -> None:
        dims = self.viewer.dims
        axis = self.rng.randrange(dims.ndim)
        dims.set_current_step(axis, self.rng.randrange(max(int(dims.nsteps[axis]), 1)))

    def turn_3d(self) -> int:
        self.viewer.dims.ndisplay = self.rng.choice([2, 2, 2, 3])
        return self.viewer.dims.ndisplay

    def zoom(self) -> None:
        self.viewer.scene.camera.zoom = self.rng.uniform(0.2, 8)

    def reset_view(self) -> None:
        self.viewer.reset_view()

    # -- widgets ---------------------------------------------------------------------------------

    def _children(self, *kinds: str) -> list[Any]:
        from qtpy import QtWidgets

        found = []
        for dock, _ in self.docks.values():
            for kind in kinds:
                for child in dock.findChildren(getattr(QtWidgets, kind)):
                    if child.isVisible() and child.isEnabled():
                        found.append(child)
        return found

    def open_widget(self) -> str:
        from napari_segment_anything import Project

        name = self.rng.choice(WIDGETS)
        if name not in self.docks:
            self.docks[name] = self.viewer.window.add_plugin_dock_widget(PLUGIN, name)
        if name == WIDGETS[-1]:
            self.docks[name][1].open(Project.open(self.folder / "project"))
        return name

    def close_widget(self) -> str:
        if not self.docks or self.rng.random() > 0.3:
            return ""
        name = self.rng.choice(list(self.docks))
        self.viewer.window.remove_dock_widget(self.docks.pop(name)[0])
        return name

    def push(self) -> str:
        found = self._children("QAbstractButton")
        if not found:
            return ""
        button = self.rng.choice(found)
        text = button.text() or button.toolTip()
        button.click()
        return text

    def choose(self) -> str:
        found = [box for box in self._children("QComboBox") if box.count()]
        if not found:
            return ""
        box = self.rng.choice(found)
        index = self.rng.randrange(box.count())
        text = box.itemText(index)
        box.setCurrentIndex(index)
        box.activated.emit(index)
        return text

    def set_number(self) -> Any:
        found = [
            field
            for field in self._children("QAbstractSpinBox", "QAbstractSlider")
            if hasattr(field, "setValue") and isinstance(field.minimum(), int | float)
        ]
        if not found:
            return None
        field = self.rng.choice(found)
        low, high = field.minimum(), field.maximum()
        value = type(low)(low + (min(high, low + 1000) - low) * self.rng.random())
        field.setValue(value)
        return value

    def write(self) -> str:
        found = self._children("QLineEdit")
        if not found:
            return ""
        field, text = self.rng.choice(found), self.rng.choice(["", "1", "-5", "cells", "/nowhere"])
        field.setText(text)
        field.editingFinished.emit()
        return text

    def use_console(self) -> str:
        import napari_segment_anything as nsa

        session = nsa.attach(self.viewer)
        line = [(10, 10), (40, 50), (60, 20)]
        number = self.rng.choice(list(session.objects) or [3])
        act: dict[str, Callable[[], object]] = {
            "undo": session.undo,
            "redo": session.redo,
            "commit": session.commit,
            "point": lambda: session.add_point((self.rng.uniform(-10, 200), 50)),
            "box": lambda: session.add_box((10, 10, self.rng.uniform(0, 100), 80)),
            "scribble": lambda: session.scribble(line),
            "lasso": lambda: session.lasso(line),
            "edit": lambda: session.edit(number),
            "delete": lambda: session.delete(number),
            "merge": lambda: session.merge(list(session.objects)[:2]),
        }
        name = self.rng.choice(list(act))
        try:
            act[name]()
        except nsa.SegmentAnythingError as error:
            return f"{name}: {error}"
        return name


def never_wait(rng: random.Random, folder: Path) -> None:
    """Let dialogs answer at once, by chance."""
    from qtpy import QtWidgets as W

    def files(*arguments: Any, **options: Any) -> tuple[str, str]:
        return rng.choice(["", str(folder / f"file{rng.randrange(5)}.csv")]), ""

    for name in ("getOpenFileName", "getSaveFileName"):
        setattr(W.QFileDialog, name, staticmethod(files))
    places = ["", str(folder / "project"), str(folder / "raw"), str(folder / "nothing")]
    W.QFileDialog.getExistingDirectory = staticmethod(lambda *a, **k: rng.choice(places))
    W.QDialog.exec = W.QMessageBox.exec = lambda self, *arguments: rng.choice([0, 1])
    answers = [W.QMessageBox.StandardButton.Yes, W.QMessageBox.StandardButton.No]
    for name in ("question", "warning", "information", "critical"):
        setattr(W.QMessageBox, name, staticmethod(lambda *a, **k: rng.choice(answers)))


def close_menus(rng: random.Random, trail: list[str]) -> None:
    """Choose from a menu that is open, and close dialogs, which have event loops of their own."""
    from qtpy import QtWidgets as W

    popup, modal = W.QApplication.activePopupWidget(), W.QApplication.activeModalWidget()
    if popup is not None:
        actions = [each for each in popup.actions() if each.isEnabled() and not each.isSeparator()]
        popup.close()
        if actions and rng.random() < 0.7:
            action = rng.choice(actions)
            trail.append(f"menu {action.text()}")
            action.trigger()
    elif modal is not None:
        trail.append(f"dialog {modal.windowTitle()}")
        modal.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--actions", type=int, default=sys.maxsize, help="stop after so many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = Path(made)
        os.environ["NAPARI_CONFIG"] = str(folder / "settings.yaml")
        for name in ("JOURNALS", "CACHE"):
            os.environ[f"NAPARI_SEGMENT_ANYTHING_{name}"] = str(folder / name)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            os.environ[name] = "http://127.0.0.1:9"  # no downloads
        return run(folder, options.seed, options.seconds, options.actions)


def run(folder: Path, seed: int, seconds: float, actions: int) -> int:
    import napari
    import tifffile
    from napari.utils.notifications import notification_manager
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    import napari_segment_anything as nsa
    from napari_segment_anything.bridge.viewer import model_holder

    from ..bright import bright_model

    if seed % 3:
        load = model_holder.load_model
        model_holder.load_model = lambda source, *given, **named: (  # type: ignore[assignment]
            bright_model() if source == "default" else load(source, *given, **named)
        )
    rng, trail, faults = random.Random(seed), [], []

    def found(error: BaseException | None, where: str) -> None:
        text = "" if error is None else "".join(traceback.format_exception(error))
        if "napari_segment_anything" in text:
            faults.append(text)
            print(f"seed {seed}, {where}:", text, "after", *trail[-12:], sep="\n  ", flush=True)

    def notified(notification: Any) -> None:
        if str(notification.severity).lower().endswith("error"):
            found(getattr(notification, "exception", None), notification.message)

    sys.excepthook = lambda kind, error, trace: found(error, "in the event loop")
    threading.excepthook = lambda given: found(given.exc_value, "in a thread")
    notification_manager.notification_ready.connect(notified)
    viewer = napari.Viewer()
    viewer.window.resize(1100, 800)
    never_wait(rng, folder)
    timer = QTimer()
    timer.timeout.connect(lambda: close_menus(rng, trail))
    timer.start(150)
    chance = Chance(viewer, rng, folder)
    (folder / "raw").mkdir()
    for number in range(4):
        image = chance.spots(150, 160).astype(np.uint8)
        tifffile.imwrite(folder / "raw" / f"image{number}.tif", image)
    nsa.Project.create(folder / "project", folder / "raw")
    chance.add_image()
    dock = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGETS[0])
    chance.docks[WIDGETS[0]] = dock
    chance.wait()
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until and count < actions:
        if chance._layer("Image") is None:
            chance.add_image()
        try:
            trail.append(chance.act())
        except Exception as error:
            found(error, "of an action")
        QApplication.processEvents()
        count += 1
    timer.stop()
    viewer.close()
    QApplication.processEvents()
    print(f"seed {seed}: {count} actions, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
