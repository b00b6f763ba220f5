"""The choice of a model, with purpose, size, licence, and whether it is downloaded."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHeaderView,
    QSizePolicy,
    QTableView,
)

from ..checkpoints import CatalogueEntry, about_size, catalogue, is_here

HEADS = ("Model", "Size", "Here", "Licence", "For")
GAP = 14
"""Pixels between columns, and around the list."""
_SOURCE = Qt.ItemDataRole.UserRole


class ModelBox(QComboBox):
    """Chooses a model by name, or a file."""

    changed = Signal(str)
    """Emits the name or the path that the user chose."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._table = QTableView()
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setShowGrid(False)
        self._table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._table.verticalHeader().setVisible(False)
        self._table.verticalHeader().setDefaultSectionSize(24)
        head = self._table.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        head.setHighlightSections(False)
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self._items = QStandardItemModel(0, len(HEADS))
        self._items.setHorizontalHeaderLabels(list(HEADS))
        for name, entry in catalogue().items():
            self._items.appendRow(_row(name, entry))
        self._items.appendRow([QStandardItem("From a file …"), *map(QStandardItem, [""] * 4)])
        self.setModel(self._items)
        self.setView(self._table)
        self._current = next(iter(catalogue()))
        self.activated.connect(self._activated)

    @property
    def value(self) -> str:
        """The name or path that is chosen."""
        return self._current

    @value.setter
    def value(self, source: str) -> None:
        index = self.findData(source)
        if index < 0:
            index = self.count() - 1
            row = [QStandardItem(source.rsplit("/", 1)[-1]), *map(QStandardItem, [""] * 4)]
            row[0].setData(source, _SOURCE)
            row[4].setText(source)
            row[0].setToolTip(source)
            self._items.insertRow(index, row)
        self._current = source
        self.setCurrentIndex(index)

    def showPopup(self) -> None:
        """Show the list at its full width, with the current state of downloads."""
        for index in range(self.count()):
            entry = catalogue().get(self.itemData(index) or "")
            if entry is not None:
                self._items.item(index, 2).setText(_where(entry))
        head, bar = self._table.horizontalHeader(), self._table.verticalScrollBar()
        for column in range(len(HEADS)):
            head.resizeSection(column, self._table.sizeHintForColumn(column) + GAP)
        width = head.length() + bar.sizeHint().width() + GAP
        height = head.height() + self._table.verticalHeader().length() + 2 * GAP
        super().showPopup()
        popup, screen = self._table.window(), self.screen().availableGeometry()
        width, height = min(width, screen.width()), min(height, screen.height())
        under = self.mapToGlobal(self.rect().bottomLeft())
        left = min(under.x(), screen.right() - width)
        top = under.y() if under.y() + height <= screen.bottom() else screen.bottom() - height
        popup.setGeometry(max(left, screen.left()), max(top, screen.top()), width, height)

    def _activated(self, index: int) -> None:
        source = self.itemData(index)
        if source is None:
            kinds = "SAM checkpoints (*.pth *.pt *.safetensors);;All files (*)"
            source, _ = QFileDialog.getOpenFileName(self, "Open a SAM checkpoint", "", kinds)
            if not source:
                self.value = self._current
                return
        if source != self._current:
            self.value = source
            self.changed.emit(source)


def _row(name: str, entry: CatalogueEntry) -> list[QStandardItem]:
    exact, size = about_size(entry)
    about = f"{'' if exact else 'about '}{size / 1e6:.0f} MB" if size else "unknown"
    texts = (name, about, _where(entry), entry.licence, entry.description.rstrip("."))
    row = [QStandardItem(text) for text in texts]
    row[0].setData(name, _SOURCE)
    for item in row:
        item.setToolTip(entry.citation)
    return row


def _where(entry: CatalogueEntry) -> str:
    if entry.embedded:
        return "in the package"
    return "downloaded" if is_here(entry) else "to download"
