"""Keys of the prompt widget, on the canvas and on the widget; restored when it is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari.components import ViewerModel

SHOWN = (
    ("Click", "inside the object"),
    ("Right click", "outside of it (or Shift-click)"),
    ("Shift-drag", "box"),
    ("Enter", "commit; the next click begins a new object"),
    ("Esc", "drop what is in progress"),
    ("Shift-C", "next candidate mask"),
    ("Alt-Z", "undo; Shift-Alt-Z: redo"),
    ("Ctrl-click", "edit a committed object"),
    ("Shift-E", "edit the one under the mouse"),
    ("Shift-D", "delete the one under the mouse"),
    ("Drag, wheel", "pan and zoom"),
)
"""Keys and their meaning, as the widget lists them."""


class Keys:
    """Binds keys to actions.

    Parameters
    ----------
    viewer : ViewerModel
        Keys work on its canvas.
    widget : QWidget
        They also work here and in its children.
    actions : iterable of (str, callable)
        A key as napari spells it, and what it does.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        widget: QWidget,
        actions: Iterable[tuple[str, Callable[[], object]]],
    ) -> None:
        self._viewer = viewer
        self._before: dict[Any, Any] = dict(viewer.keymap)
        self.ours: set[Any] = set()
        """The keys that were bound on the canvas."""
        for key, action in actions:
            known = dict(viewer.keymap)
            viewer.bind_key(key, pressed_key(action), overwrite=True)
            now = viewer.keymap
            self.ours |= {name for name in now if now[name] is not known.get(name)}
            for sequence in _sequences(key):
                shortcut = QShortcut(sequence, widget)
                shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
                shortcut.activated.connect(action)

    def close(self) -> None:
        """Restore the previous bindings."""
        for key in self.ours:
            self._viewer.keymap.pop(key, None)
            if key in self._before:
                self._viewer.keymap[key] = self._before[key]


def _sequences(key: str) -> list[QKeySequence]:
    text = key.replace("-", "+").replace("Escape", "Esc")
    names = [text, text.replace("Enter", "Return")] if "Enter" in text else [text]
    return [QKeySequence(name) for name in names]


def pressed_key(action: Callable[[], object]) -> Callable[[Any], None]:
    """Return a function for `bind_key` that does something."""

    def pressed(viewer: Any) -> None:
        action()

    return pressed
