"""The list of a project's images: thumbnail, state, objects, time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from ..bridge.project.thumbnails import SIDE, thumbnails
from ..projects import ProjectImage
from .jobs import Jobs

WORDS = {
    "todo": "to do",
    "in_progress": "begun",
    "complete": "✓ complete",
    "skipped": "skipped",
    "flagged": "⚑ flagged",
}
"""The word for each state."""
_COLOURS = {"complete": "#3ddc97", "flagged": "#ffb347", "in_progress": "#6cb6ff"}
_HEADS = ("image", "state", "objects", "min")
_ROWS_AROUND = 4


class ImageList(QTableWidget):
    """A row for each image; thumbnails are read for the rows that are seen."""

    chosen = Signal(str)
    """Emits the key of an image that was clicked."""

    def __init__(self) -> None:
        super().__init__(0, len(_HEADS))
        self.setHorizontalHeaderLabels(_HEADS)
        self.setIconSize(QSize(SIDE, SIDE - 8))
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(SIDE - 4)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setFixedHeight(178)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.cellClicked.connect(lambda row, _: self.chosen.emit(self._images[row].key))
        self._images: tuple[ProjectImage, ...] = ()
        self._row: dict[str, int] = {}
        self._seen: set[str] = set()
        self._closed = False
        self._jobs = Jobs(self, name="segment-anything-thumbnails")
        self._jobs.progressed.connect(self._on_thumbnail)
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(80)
        self._look.timeout.connect(self._read_seen)
        self.verticalScrollBar().valueChanged.connect(lambda *_: self._look.start())

    def showEvent(self, event: Any) -> None:
        """Make the columns wide enough for their words."""
        super().showEvent(event)
        measure = self.fontMetrics().horizontalAdvance
        for column, word in ((1, max(WORDS.values(), key=measure)), (2, _HEADS[2]), (3, "000")):
            self.horizontalHeader().resizeSection(column, measure(word) + 14)
        self._look.start()

    def show_images(self, images: Iterable[ProjectImage]) -> None:
        """Show a project's images."""
        self._images = tuple(images)
        self._row = {image.key: row for row, image in enumerate(self._images)}
        self._seen.clear()
        self.setRowCount(len(self._images))
        for row, image in enumerate(self._images):
            for column in range(len(_HEADS)):
                item = QTableWidgetItem()
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.setItem(row, column, item)
            self.update_image(image)
        self._look.start()

    def update_image(self, image: ProjectImage) -> None:
        """Show what is known of an image now."""
        row = self._row.get(image.key)
        if row is None:
            return
        status = image.status
        minutes = f"{status.seconds / 60:.0f}" if status.seconds >= 30 else ""
        count = sum(status.objects.values())
        texts = (image.key, WORDS[status.state], str(count) if count else "", minutes)
        tip = "\n".join(text for text in (image.key, status.note) if text)
        for column, text in enumerate(texts):
            self.item(row, column).setText(text)
            self.item(row, column).setToolTip(tip)
        colour = _COLOURS.get(status.state)
        self.item(row, 1).setData(
            Qt.ItemDataRole.ForegroundRole, None if colour is None else QColor(colour)
        )

    def select(self, key: str | None) -> None:
        """Mark an image as the one that is open, and scroll to it."""
        row = None if key is None else self._row.get(key)
        if row is None:
            self.clearSelection()
            return
        self.selectRow(row)
        self.scrollToItem(self.item(row, 0), QAbstractItemView.ScrollHint.EnsureVisible)

    # -- thumbnails ------------------------------------------------------------------------------

    def _read_seen(self) -> None:
        """Read the thumbnails of the rows that are seen, and a few around them."""
        first = self.rowAt(0)
        if first < 0 or self._closed or not self.isVisible():
            return
        last = self.rowAt(self.viewport().height() - 1)
        last = len(self._images) - 1 if last < 0 else last
        rows = range(max(0, first - _ROWS_AROUND), min(len(self._images), last + 1 + _ROWS_AROUND))
        wanted = [self._images[row] for row in rows if self._images[row].key not in self._seen]
        if wanted:
            self._jobs.start(partial(thumbnails, wanted))

    def _on_thumbnail(self, step: Any) -> None:
        key, picture = step.partial
        self._seen.add(key)
        if picture is not None and key in self._row:
            self.item(self._row[key], 0).setIcon(QIcon(pixmap(picture)))

    def close_down(self) -> None:
        """Stop reading."""
        self._closed = True
        self._jobs.close()


def pixmap(picture: np.ndarray) -> QPixmap:
    """Return an array, uint8 (rows, columns, 3), as Qt draws it."""
    array = np.ascontiguousarray(picture[..., :3])
    rows, cols, _ = array.shape
    return QPixmap.fromImage(QImage(array.data, cols, rows, 3 * cols, QImage.Format.Format_RGB888))
