"""Buttons for the classes of a project."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from ..projects import ObjectClass
from .qt_helpers import tight

_COLUMNS = 3
_LONGEST = 12


class ClassButtons(QWidget):
    """A button for each class; the checked one is the class of new objects."""

    chosen = Signal(str)
    """Emits the name of the class that the user chose; "" for none."""

    def __init__(self) -> None:
        super().__init__()
        self._layout = tight(QGridLayout(self), 2)
        self._buttons: dict[str, QPushButton] = {}

    def show_classes(self, classes: Sequence[ObjectClass]) -> None:
        """Show the classes of a project."""
        for item in self._buttons.values():
            self._layout.removeWidget(item)
            item.deleteLater()
        self._buttons = {}
        for place, each in enumerate(classes):
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
            self._layout.addWidget(item, place // _COLUMNS, place % _COLUMNS)
            self._buttons[each.name] = item
        self.setVisible(bool(classes))

    def _pick(self, name: str) -> None:
        self.show_current(name)
        self.chosen.emit(name)

    def show_current(self, name: str) -> None:
        """Check the button of a class; "" for none."""
        for each, item in self._buttons.items():
            item.setChecked(each == name)
