"""Real windows, with settings, journals and caches of their own."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

os.environ.setdefault("NAPARI_CONFIG", os.devnull)

PLUGIN = "segment-anything-napari"
NO_DISPLAY = os.environ.get("QT_QPA_PLATFORM") == "offscreen" or not os.environ.get("DISPLAY")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep settings, journals and embeddings out of the user's folders."""
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "settings.yaml"))
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_JOURNALS", str(tmp_path / "journals"))
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", str(tmp_path / "cache"))
    settings = pytest.importorskip("napari.settings", reason="napari is not installed")
    # where napari keeps the settings of plugins, too: read from NAPARI_CONFIG once, on import
    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "settings.yaml"))
    monkeypatch.setattr(settings, "_PLUGIN_SETTINGS", {})


class Window:
    """A napari window, and hands on its mouse and keys."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer

    @staticmethod
    def wait(until: Callable[[], bool] = lambda: False, seconds: float = 30.0) -> bool:
        """Let Qt work until something is so; return whether it came to be."""
        from qtpy.QtTest import QTest

        for _ in range(round(seconds * 200)):
            QTest.qWait(5)
            if until():
                return True
        return until()

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

    def click(self, layer: Any, point: tuple[float, float], right: bool = False) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        button = Qt.MouseButton.RightButton if right else Qt.MouseButton.LeftButton
        none = Qt.KeyboardModifier.NoModifier
        QTest.mouseClick(self.native, button, none, self.at(layer, point))

    def press(self, key: str) -> None:
        """Press a key such as "Shift+D" on the canvas."""
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        combination = QKeySequence(key)[0]
        QTest.keyClick(self.native, combination.key(), combination.keyboardModifiers())

    def add(self, name: str) -> Any:
        """Open one of the plugin's widgets."""
        return self.viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


@pytest.fixture
def viewer() -> Iterator[Any]:
    """Return a viewer in a window; afterwards nothing of ours may run."""
    if NO_DISPLAY:
        pytest.skip("needs a display (xvfb-run)")
    napari = pytest.importorskip("napari")
    made = napari.Viewer(show=True)
    made.window.resize(1000, 700)
    yield made
    with contextlib.suppress(RuntimeError):  # a test may have closed it
        made.close()
    assert wait(lambda: not ours(), 10), "threads outlive the viewer"


def ours() -> list[str]:
    """Return the names of the plugin's threads that run."""
    return [t.name for t in threading.enumerate() if t.name.startswith("segment-anything")]


@pytest.fixture
def window(viewer: Any) -> Window:
    return Window(viewer)


def wait(until: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Let Qt work until something is so; return whether it came to be."""
    return Window.wait(until, seconds)


def picture(size: int = 160) -> np.ndarray:
    """Return bright disks, 48 pixels apart, on a dark, slightly noisy ground."""
    rows, cols = np.mgrid[:size, :size]
    centre = (np.arange(size // 48) * 48 + 24)[None]
    away = [np.abs(axis[..., None] - centre).min(-1) for axis in (rows, cols)]
    clean = gaussian_filter(np.where(np.hypot(*away) < 15, 180.0, 30.0), 1.5)
    noisy = clean + np.random.default_rng(0).normal(0, 12, clean.shape)
    return noisy.clip(0, 255).astype(np.uint8)
