"""Rows of a panel that are shown and hidden together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from magicgui.widgets.bases import Widget
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QToolButton


class Section:
    """Rows of a panel that are shown and hidden together; those with a title can be folded.

    Parameters
    ----------
    items : sequence of magicgui widget, QWidget or Section
    title : str
        Title to fold them by; "" for none.
    """

    def __init__(self, items: Sequence[Any], title: str = "") -> None:
        self.items = list(items)
        self.head = None if not title else Fold(title, self.show)
        self._shown, self._above = True, True
        self._acting: set[str] | None = None

    @property
    def shown(self) -> bool:
        """Whether the current choice has these rows."""
        return self._shown

    @shown.setter
    def shown(self, shown: bool) -> None:
        self._shown = shown
        self.show()

    def show_only(self, names: Iterable[str]) -> None:
        """Show only the parameters of these names."""
        self._acting = set(names)
        self.show()

    def show(self, above: bool | None = None) -> None:
        """Show or hide the rows; `above` says whether the enclosing section is shown."""
        self._above = self._above if above is None else above
        here = self._above and self._shown
        if self.head is not None:
            self.head.setVisible(here)
            here = here and self.head.opened
        for item in self.items:
            acts = self._acting is None or getattr(item, "name", None) in (None, *self._acting)
            if isinstance(item, Section):
                item.show(here)
            elif isinstance(item, Widget):
                item.visible = here and acts
            else:
                item.setVisible(here)

    def rows(self) -> list[Any]:
        """Return its rows from top to bottom."""
        rows: list[Any] = [] if self.head is None else [self.head]
        for item in self.items:
            rows += item.rows() if isinstance(item, Section) else [item]
        return rows


class Fold(QToolButton):
    """A title that shows and hides the rows below it.

    Parameters
    ----------
    title : str
    changed : callable
        Called when it was opened or closed.
    """

    def __init__(self, title: str, changed: Callable[[], object]) -> None:
        super().__init__()
        self.setText(title)
        self.setCheckable(True)
        self.setAutoRaise(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setIconSize(QSize(8, 8))
        self.setStyleSheet("QToolButton { border: none; background: none; padding: 2px 0; }")
        self.setArrowType(Qt.ArrowType.RightArrow)
        self.toggled.connect(self._turn)
        self._changed = changed

    def _turn(self, opened: bool) -> None:
        self.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self._changed()

    @property
    def opened(self) -> bool:
        """Whether the rows below are shown."""
        return bool(self.isChecked())

    @opened.setter
    def opened(self, opened: bool) -> None:
        self.setChecked(opened)
