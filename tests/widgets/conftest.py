"""Real windows, with settings, journals and caches of their own."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_segment_anything.checkpoints import transfer

from ..bright import bright_model
from ..encodings import remembered_encodings

os.environ.setdefault("NAPARI_CONFIG", os.devnull)

PLUGIN = "segment-anything-napari"
NO_DISPLAY = os.environ.get("QT_QPA_PLATFORM") == "offscreen" or not os.environ.get("DISPLAY")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep settings, journals and embeddings out of the user's folders, and never wait.

    Downloads that fail are tried again at once.
    """
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "settings.yaml"))
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_JOURNALS", str(tmp_path / "journals"))
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", str(tmp_path / "cache"))
    settings = pytest.importorskip("napari.settings", reason="napari is not installed")
    # where napari keeps the settings of plugins, too: read from NAPARI_CONFIG once, on import
    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "settings.yaml"))
    monkeypatch.setattr(settings, "_PLUGIN_SETTINGS", {})


@pytest.fixture(autouse=True)
def light(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Load a model that sees bright things for the embedded one, but where `weights` is marked."""
    if request.node.get_closest_marker("weights"):
        with remembered_encodings():
            yield
        return
    holder = pytest.importorskip("napari_segment_anything.bridge.viewer.model_holder")
    load = holder.load_model

    def light_model(source: Any, *given: Any, **options: Any) -> Any:
        return bright_model() if source == "default" else load(source, *given, **options)

    monkeypatch.setattr(holder, "load_model", light_model)
    yield


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download fail at once."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


class Window:
    """A napari window, and hands on its mouse and keys."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self._qtbot = viewer, qtbot

    @property
    def native(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    def at(self, layer: Any, point: tuple[float, float]) -> Any:
        from qtpy.QtCore import QPoint

        world = np.array(layer.data_to_world(point))[list(self.viewer.dims.displayed)]
        camera = self.viewer.scene.camera
        height, width = self.viewer.canvas.size
        row, col = (world - np.array(camera.center)[-2:]) * camera.zoom
        return QPoint(round(col + width / 2), round(row + height / 2))

    def hover(self, layer: Any, point: tuple[float, float]) -> None:
        """Move the mouse there, without the screen's pointer, which other windows may hold."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        at = self.at(layer, point)
        places = QPointF(at), QPointF(self.native.mapToGlobal(at))
        none = Qt.MouseButton.NoButton
        move = QMouseEvent(
            QEvent.Type.MouseMove, *places, none, none, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(self.native, move)

    def click(self, layer: Any, point: tuple[float, float], right: bool = False) -> None:
        from qtpy.QtCore import Qt

        button = Qt.MouseButton.RightButton if right else Qt.MouseButton.LeftButton
        self._qtbot.mouseClick(self.native, button, pos=self.at(layer, point))

    def press(self, key: str) -> None:
        """Press a key such as "Shift+D" on the canvas."""
        from qtpy.QtGui import QKeySequence

        combination = QKeySequence(key)[0]
        modifiers = combination.keyboardModifiers()
        self._qtbot.keyClick(self.native, combination.key(), modifiers)

    def add(self, name: str) -> Any:
        """Open one of the plugin's widgets."""
        return self.viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


@pytest.fixture
def qtbot(qtbot: Any) -> Any:
    """Return pytest-qt's robot, which waits longer: other tests may share the processor."""
    qtbot.waitUntil = functools.partial(qtbot.waitUntil, timeout=120_000)
    return qtbot


@pytest.fixture
def viewer(qtbot: Any, make_napari_viewer: Callable[..., Any]) -> Iterator[Any]:
    """Return a viewer in a window; nothing of it, nor a thread of ours, may be left afterwards."""
    if NO_DISPLAY:
        pytest.skip("needs a display (xvfb-run)")
    # napari collects garbage whenever a layer is removed: among what this test makes only
    gc.collect()
    gc.freeze()
    made = make_napari_viewer(show=True, strict_qt="raise")
    made.window.resize(1000, 700)
    yield made
    with contextlib.suppress(RuntimeError):  # a test may have closed it
        made.close()
    qtbot.waitUntil(lambda: not ours())


def at_rest(qtbot: Any, viewer: Any) -> None:
    """Wait until docks and canvas keep their sizes: layouts follow a new dock with later events."""
    from qtpy.QtWidgets import QDockWidget

    main, native = viewer.window._qt_window, viewer.window._qt_viewer.canvas.native
    seen: list[Any] = []

    def same() -> bool:
        parts = [main, native, *main.findChildren(QDockWidget)]
        sizes = [part.geometry() for part in parts]
        seen.append((sizes, viewer.canvas.size, viewer.scene.camera.zoom))
        return len(seen) > 5 and all(each == seen[-1] for each in seen[-5:])

    qtbot.waitUntil(same)


def ours() -> list[str]:
    """Return the names of the plugin's threads that run."""
    return [t.name for t in threading.enumerate() if t.name.startswith("segment-anything")]


@pytest.fixture
def window(viewer: Any, qtbot: Any) -> Window:
    return Window(viewer, qtbot)


def picture(size: int = 160) -> np.ndarray:
    """Return bright disks, 48 pixels apart, on a dark, slightly noisy ground."""
    rows, cols = np.mgrid[:size, :size]
    centre = (np.arange(size // 48) * 48 + 24)[None]
    away = [np.abs(axis[..., None] - centre).min(-1) for axis in (rows, cols)]
    clean = gaussian_filter(np.where(np.hypot(*away) < 15, 180.0, 30.0), 1.5)
    noisy = clean + np.random.default_rng(0).normal(0, 12, clean.shape)
    return noisy.clip(0, 255).astype(np.uint8)
