"""The choice of a model, with purpose, size, licence, and whether it is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFont, QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHeaderView,
    QInputDialog,
    QSizePolicy,
    QTableView,
)

from ..checkpoints import (
    INSTALL_EXTRA,
    CatalogueEntry,
    about_size,
    cannot,
    catalogue,
    is_here,
    missing_packages,
)

HEADS = ("Model", "Size", "Here", "Licence", "Also", "For")
ALSO = {"memory": "memory", "words": "words", "examples": "examples", "train": "training"}
"""What models can do besides prompts and everything mode, as the list shows it."""
GAP = 14
"""Pixels between columns, and around the list."""
_SOURCE = Qt.ItemDataRole.UserRole
_ACTION = Qt.ItemDataRole.UserRole + 1
_OTHER_SOURCES = {"file": "From a file …", "folder": "From a folder …", "hub": "From the hub …"}


class ModelBox(QComboBox):
    """Chooses a model by name, or a file, a folder, or a model on the Hugging Face Hub.

    What a model cannot do, or needs, is the tooltip of a row that cannot be chosen.

    Parameters
    ----------
    ability : str
        What the models have to be able to do; see `Model.abilities`.
    kinds : tuple of str
        Kinds of models in the list; see `CatalogueEntry`.
    """

    changed = Signal(str)
    """Emits the name or the path that the user chose."""

    def __init__(self, ability: str = "prompt", kinds: tuple[str, ...] = ("sam",)) -> None:
        super().__init__()
        self._ability = ability
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
        group = ""
        for name, entry in catalogue().items():
            if entry.kind not in kinds:
                continue
            if entry.group != group:
                group = entry.group
                self._items.appendRow(_title(group))
            self._items.appendRow(_row(name, entry))
        self._items.appendRow(_title("Others"))
        for action, text in _OTHER_SOURCES.items():
            row = _items(text)
            row[0].setData(action, _ACTION)
            self._items.appendRow(row)
        self._mark()
        self.setModel(self._items)
        self.setView(self._table)
        self.value = next(iter(catalogue()))
        self.activated.connect(self._activated)

    @property
    def value(self) -> str:
        """The name or path that is chosen."""
        return self._current

    @value.setter
    def value(self, source: str) -> None:
        index = self.findData(source)
        if index < 0:
            index = self.count() - len(_OTHER_SOURCES)
            row = _items(source.rstrip("/").rsplit("/", 1)[-1])
            row[0].setData(source, _SOURCE)
            row[-1].setText(source)
            row[0].setToolTip(source)
            self._items.insertRow(index, row)
        self._current = source
        self.setCurrentIndex(index)

    def require(self, ability: str) -> None:
        """Let only models be chosen that have an ability, and say why the others cannot be.

        Parameters
        ----------
        ability : str
            See `Model.abilities`.
        """
        self._ability = ability
        self._mark()

    def reason(self, name: str) -> str:
        """Return why a model of the list cannot be chosen; "" if it can."""
        entry = catalogue()[name]
        if self._ability not in entry.abilities:
            return f"{cannot(name, self._ability)}."
        missing = missing_packages() if entry.needs_extra else []
        if missing:
            return f"{name} needs {' and '.join(missing)}: {INSTALL_EXTRA}"
        return ""

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

    def _mark(self) -> None:
        """Grey out what cannot be chosen, and say why."""
        for index in range(self._items.rowCount()):
            name = self._items.item(index, 0).data(_SOURCE)
            if name not in catalogue():
                continue
            reason = self.reason(name)
            for column in range(len(HEADS)):
                item = self._items.item(index, column)
                item.setEnabled(not reason)
                item.setToolTip(reason or _about(catalogue()[name]))

    def _activated(self, index: int) -> None:
        source = self.itemData(index)
        if source is None:
            source = self._ask(self.itemData(index, _ACTION))
            if not source:
                self.value = self._current
                return
        if source != self._current:
            self.value = source
            self.changed.emit(source)

    def _ask(self, action: Any) -> str:
        """Let the user choose what is in no list; "" for nothing."""
        if action == "folder":
            return QFileDialog.getExistingDirectory(self, "Open a folder with a model") or ""
        if action == "hub":
            text, agreed = QInputDialog.getText(
                self, "A model of the Hugging Face Hub", "owner/name, of a model with safetensors:"
            )
            return text.strip() if agreed else ""
        kinds = "SAM checkpoints (*.pth *.pt *.safetensors);;All files (*)"
        source, _ = QFileDialog.getOpenFileName(self, "Open a SAM checkpoint", "", kinds)
        path = Path(source)
        return str(path.parent) if (path.parent / "config.json").is_file() and source else source


def _row(name: str, entry: CatalogueEntry) -> list[QStandardItem]:
    exact, size = about_size(entry)
    about = f"{'' if exact else 'about '}{size / 1e6:.0f} MB" if size else "unknown"
    also = ", ".join(text for ability, text in ALSO.items() if ability in entry.abilities)
    row = _items(name, about, _where(entry), entry.licence, also, entry.description.rstrip("."))
    row[0].setData(name, _SOURCE)
    return row


def _items(*texts: str) -> list[QStandardItem]:
    """A row of the list."""
    return [QStandardItem(text) for text in (*texts, *[""] * (len(HEADS) - len(texts)))]


def _title(text: str) -> list[QStandardItem]:
    """The heading of a group, which cannot be chosen."""
    row, bold = _items(text), QFont()
    bold.setBold(True)
    for item in row:
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        item.setFont(bold)
    return row


def _about(entry: CatalogueEntry) -> str:
    gated = "Its publisher gives access on request; see its page.\n" if entry.gated else ""
    page = f"\n{entry.source}" if entry.source else ""
    return f"{gated}{entry.citation}{page}"


def _where(entry: CatalogueEntry) -> str:
    if entry.embedded:
        return "in the package"
    if is_here(entry):
        return "downloaded"
    return "gated" if entry.gated else "to download"
