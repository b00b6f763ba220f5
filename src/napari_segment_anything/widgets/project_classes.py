"""Buttons for the classes of a project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSize
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QGridLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from ..bridge.project.classes import ClassChoice
from .qt_helpers import tight

_COLUMNS = 3
_LONGEST = 12


class ClassButtons(QWidget):
    """A button for each class; the checked one is the class of new objects.

    Parameters
    ----------
    attempt : callable
        Calls a function, and shows its errors.
    """

    def __init__(self, attempt: Callable[..., Any]) -> None:
        super().__init__()
        self._attempt = attempt
        self._choice: ClassChoice | None = None
        self._grid = tight(QGridLayout(), 2)
        self.new = QLineEdit()
        self.new.setPlaceholderText("New class: a name, then Enter")
        self.new.returnPressed.connect(self._add)
        whole = tight(QVBoxLayout(self), 2)
        whole.addLayout(self._grid)
        whole.addWidget(self.new)
        self._buttons: dict[str, QPushButton] = {}

    def follow(self, choice: ClassChoice | None) -> None:
        """Show the classes of another project; None for none."""
        self._choice = choice
        if choice is not None:
            choice.changed.connect(self._show_current)
            self._show_classes(choice)

    def _show_classes(self, choice: ClassChoice) -> None:
        for item in self._buttons.values():
            self._grid.removeWidget(item)
            item.deleteLater()
        self._buttons = {}
        for place, each in enumerate(choice.classes):
            name = each.name if len(each.name) <= _LONGEST else f"{each.name[: _LONGEST - 1]}…"
            item = QPushButton(f"{each.key}  {name}" if each.key else name)
            item.setCheckable(True)
            square = QPixmap(12, 12)
            square.fill(QColor(each.colour))
            item.setIcon(QIcon(square))
            item.setIconSize(QSize(12, 12))
            item.setStyleSheet("QPushButton { padding: 3px 4px; text-align: left; }")
            keys = f"; key {each.key} gives it to the object under the mouse" if each.key else ""
            item.setToolTip(f"New objects are of the class {each.name}{keys}")
            item.clicked.connect(lambda on, name=each.name: self._pick(name if on else ""))
            self._grid.addWidget(item, place // _COLUMNS, place % _COLUMNS)
            self._buttons[each.name] = item
        self._show_current(choice.current)

    def _pick(self, name: str) -> None:
        if self._choice is not None:
            self._choice.current = name

    def _add(self) -> None:
        name = self.new.text().strip()
        self.new.clear()
        if name and self._choice is not None:
            self._attempt(self._choice.add, name)
            self._show_classes(self._choice)

    def _show_current(self, name: str) -> None:
        for each, item in self._buttons.items():
            item.setChecked(each == name)
