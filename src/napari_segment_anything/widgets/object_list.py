"""The list of committed objects; sorted by score, it shows doubtful ones first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from ..session.objects import SessionObject

COLUMNS = ("id", "score", "slice", "prompts", "s", "state", "class")
_TIPS = (
    "Label",
    "Predicted IoU; – for a mask drawn by hand",
    "Position along the axes that are not shown",
    "Points, boxes, scribbles and masks",
    "Seconds from the first prompt to the commit",
    "Locked objects stay as they are; hidden ones are not drawn",
    "Class of the object",
)


_STATES = {
    (False, False): "",
    (True, False): "locked",
    (False, True): "hidden",
    (True, True): "both",
}
"""Word for a state: (locked, hidden)."""


class _Cell(QTableWidgetItem):
    """A cell that sorts by a value and shows a text."""

    def __init__(self, text: str, value: Any) -> None:
        super().__init__(text)
        self.value = value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < other.value)


class ObjectList(QTableWidget):
    """A table with a row for each object."""

    picked = Signal(int)
    """Emits the label of a row that was clicked."""
    selection_changed = Signal()

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(COLUMNS)
        for index, tip in enumerate(_TIPS):
            self.horizontalHeaderItem(index).setToolTip(tip)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(22)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setShowGrid(False)
        self.setMinimumHeight(110)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self._show_columns(False)
        self.cellClicked.connect(lambda index, _: self.picked.emit(self._label(index)))
        self.itemSelectionChanged.connect(self.selection_changed)
        self._shown: tuple[dict[int, SessionObject], dict[int, str]] = ({}, {})

    def showEvent(self, event: Any) -> None:
        """Make columns with long words wide enough for them."""
        super().showEvent(event)
        header, measure = self.horizontalHeader(), self.fontMetrics().horizontalAdvance
        widest = {3: COLUMNS[3], 5: max(_STATES.values(), key=measure)}
        for column, word in widest.items():
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, measure(word) + 14)

    def _show_columns(self, classes: bool) -> None:
        """Show the classes instead of the slices and the seconds, where there are any."""
        for name in ("slice", "s", "class"):
            self.setColumnHidden(COLUMNS.index(name), classes is (name != "class"))

    def _label(self, index: int) -> int:
        return int(self.item(index, 0).text())

    @property
    def selected(self) -> list[int]:
        """Labels of the selected rows."""
        return sorted(self._label(index.row()) for index in self.selectionModel().selectedRows())

    def show_objects(
        self,
        objects: Mapping[int, SessionObject],
        locked: Collection[int] = (),
        hidden: Collection[int] = (),
    ) -> None:
        """Show these objects; rows are kept if nothing changed.

        Parameters
        ----------
        objects : mapping of int to SessionObject
            By label.
        locked, hidden : collection of int
            Labels of those that are locked, or hidden.
        """
        states = {n: _STATES[n in locked, n in hidden] for n in objects}
        if self._shown == (dict(objects), states):
            return
        self._shown = (dict(objects), states)
        chosen = set(self.selected)
        self.setSortingEnabled(False)
        self.blockSignals(True)
        self.setRowCount(len(objects))
        for index, (label, item) in enumerate(objects.items()):
            prompts = item.prompts
            count = len(prompts.points) + len(prompts.scribbles)
            count += (prompts.box is not None) + (prompts.mask is not None)
            cells = (
                (str(label), label),
                ("–" if item.score is None else f"{item.score:.2f}", item.score or 0.0),
                (", ".join(map(str, item.plane)) or "–", tuple(item.plane)),
                (str(count), count),
                (f"{item.seconds:.1f}", item.seconds),
                (states[label], states[label]),
                (item.class_name, item.class_name),
            )
            for number, (text, value) in enumerate(cells):
                self.setItem(index, number, _Cell(text, value))
        self._show_columns(any(item.class_name for item in objects.values()))
        self.setSortingEnabled(True)
        self.clearSelection()
        for index in range(self.rowCount()):
            if self._label(index) in chosen:
                for number in range(len(COLUMNS)):
                    self.item(index, number).setSelected(True)
        self.blockSignals(False)
        self.selection_changed.emit()
