"""Clicks and drags on the canvas as prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from ..viewer_session import ViewerSession

MouseMode = Literal["points", "box", "scribble", "lasso", "off"]
MODES: tuple[MouseMode, ...] = ("points", "box", "scribble", "lasso", "off")
_STILL = 4.0  # canvas pixels within which a press and a release are a click


class MouseInput:
    """Listens to a viewer's mouse while a session wants prompts.

    A click is a positive point, a right click or Shift-click a negative one; Shift-drag draws a
    box. In the modes "box", "scribble" and "lasso" a plain drag draws (Shift: a negative scribble).
    What napari does with the mouse stays: a drag pans, Alt-drag and the wheel zoom. While another
    layer's tool is in use, or the active layer is not one of the session's, a click is no prompt;
    the session then emits `click_ignored`.

    Parameters
    ----------
    session : ViewerSession
    """

    def __init__(self, session: ViewerSession) -> None:
        self._session = session
        self._viewer = session.viewer
        self.mode: MouseMode = "points"
        self._viewer.mouse_drag_callbacks.append(self._drag)
        self._viewer.mouse_move_callbacks.append(self._move)
        self._zooms = list(self._viewer.mouse_double_click_callbacks)
        self._viewer.mouse_double_click_callbacks[:] = [self._double_click]

    def close(self) -> None:
        """Stop listening."""
        for callbacks, function in (
            (self._viewer.mouse_drag_callbacks, self._drag),
            (self._viewer.mouse_move_callbacks, self._move),
        ):
            if function in callbacks:
                callbacks.remove(function)
        callbacks = self._viewer.mouse_double_click_callbacks
        callbacks[:] = [
            *self._zooms,
            *(item for item in callbacks if item != self._double_click and item not in self._zooms),
        ]

    def listens(self) -> bool:
        """Whether a click would be a prompt now."""
        return (
            self.mode != "off" and self._viewer.dims.ndisplay == 2 and self._session.takes_mouse()
        )

    def _move(self, viewer: Any, event: Any) -> None:
        if not event.modifiers and self.listens():
            self._session.hover(event.position)

    def _double_click(self, viewer: Any, event: Any) -> None:
        """Take the second of two quick clicks as a click; else zoom, as napari does."""
        if self.listens() and "Alt" not in event.modifiers:
            self._session.click(event.position, positive=_positive(event))
            return
        for zoom in self._zooms:
            zoom(viewer, event)

    def _ignored(self, event: Any) -> Iterator[None]:
        """Follow a press that is no prompt; if it becomes a click, say why it is none."""
        begin = np.asarray(event.pos, np.float64)
        away = 0.0
        yield
        while event.type == "mouse_move":
            away = max(away, _far(event, begin))
            yield
        if away <= _STILL:
            self._session.ignore_click()

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if set(event.modifiers) - {"Shift"} or event.button not in (1, 2) or self.mode == "off":
            return
        if not self.listens():
            yield from self._ignored(event)
            return
        shift = "Shift" in event.modifiers
        positive = _positive(event)
        drawing = event.button == 1 and (shift or self.mode != "points")
        kind = self.mode if self.mode != "points" else "box"
        path = [np.asarray(event.position, np.float64)]
        begin = np.asarray(event.pos, np.float64)
        away = 0.0
        camera = viewer.scene.camera
        pans = camera.mouse_pan
        if drawing:
            camera.mouse_pan = False
        try:
            yield
            while event.type == "mouse_move":
                away = max(away, _far(event, begin))
                if drawing and away > _STILL:
                    path.append(np.asarray(event.position, np.float64))
                    self._session.drawing(kind, np.array(path))
                yield
        finally:
            if drawing:
                camera.mouse_pan = pans
        if away <= _STILL:
            self._session.click(path[0], positive=positive)
        elif drawing:
            self._session.drawn(kind, np.array(path), positive)


def _far(event: Any, begin: np.ndarray) -> float:
    """Canvas pixels between the mouse and where it was pressed."""
    return float(np.abs(np.asarray(event.pos) - begin).max())


def _positive(event: Any) -> bool:
    return event.button == 1 and "Shift" not in event.modifiers
