"""Viewers without a window."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# napari must neither read nor write the settings of whoever runs the tests
os.environ.setdefault(
    "NAPARI_CONFIG", str(Path(tempfile.mkdtemp(prefix="napari-tests-")) / "settings.yaml")
)


@pytest.fixture
def viewer(signatures: None) -> Iterator[Any]:
    components = pytest.importorskip("napari.components", reason="napari is not installed")
    model = components.ViewerModel()
    yield model
    model.layers.clear()


class Mouse:
    """A mouse over a ViewerModel: positions in world coordinates, one canvas pixel a unit."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer

    def _event(self, kind: str, position: Any, button: int, modifiers: tuple[str, ...]) -> Any:
        shown = list(self.viewer.dims.displayed)
        return SimpleNamespace(
            type=kind,
            position=tuple(position),
            pos=[position[axis] for axis in shown],
            button=button,
            modifiers=modifiers,
            handled=False,
            dims_displayed=shown,
        )

    def drag(self, *path: Any, button: int = 1, modifiers: tuple[str, ...] = ()) -> None:
        event = self._event("mouse_press", path[0], button, modifiers)
        running = []
        for callback in list(self.viewer.mouse_drag_callbacks):
            made = callback(self.viewer, event)
            if hasattr(made, "__next__") and next(made, running) is not running:
                running.append(made)
        for position in path[1:]:
            vars(event).update(vars(self._event("mouse_move", position, button, modifiers)))
            for made in running:
                next(made, None)
        vars(event).update(vars(self._event("mouse_release", path[-1], button, modifiers)))
        for made in running:
            next(made, None)

    def click(self, position: Any, button: int = 1, modifiers: tuple[str, ...] = ()) -> None:
        self.drag(position, button=button, modifiers=modifiers)


@pytest.fixture
def mouse(viewer: Any) -> Mouse:
    return Mouse(viewer)
