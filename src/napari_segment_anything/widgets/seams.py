"""The seams of a large run in a table, those that need a look on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QHeaderView, QTableWidgetItem

from ..bridge.runs.large_layers import SEAM_COLOURS
from ..bridge.viewer.coordinates import data_to_world, point_from_data
from .parts import Table

if TYPE_CHECKING:
    from napari.components import ViewerModel

MOST_ROWS = 500
_ORDER = ("ambiguous", "cut", "redecoded", "merged")
_NUMBER = Qt.ItemDataRole.UserRole


class SeamTable(Table):
    """Places where tiles had to agree, and how well they did."""

    chosen = Signal(int)
    """Emits the number of the seam that was clicked."""

    def __init__(self) -> None:
        super().__init__(["seam", "kind", "IoU", "objects"], 130)
        wide = QHeaderView.ResizeMode.ResizeToContents
        self.horizontalHeader().setSectionResizeMode(1, wide)
        self.setToolTip("Places where tiles had to agree; a click shows one")
        self.itemSelectionChanged.connect(self._on_selected)

    @property
    def selected(self) -> int | None:
        """Number of the seam that is selected."""
        found = self.selectedItems()
        return int(found[0].data(_NUMBER)) if found else None

    def fill(self, seams: Mapping[str, np.ndarray], chosen: int | None = None) -> None:
        """Show the seams of a run, one of them selected."""
        kinds = [str(kind) for kind in seams.get("kind", ())]
        rows = sorted(range(len(kinds)), key=lambda i: (_ORDER.index(kinds[i]), i))[:MOST_ROWS]
        self.blockSignals(True)
        self.clearSelection()
        self.setRowCount(len(rows))
        for place, index in enumerate(rows):
            number = int(seams["seam"][index])
            labels = " + ".join(str(int(n)) for n in seams["labels"][index] if n)
            texts = (str(number), kinds[index], f"{float(seams['iou'][index]):.2f}", labels)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setData(_NUMBER, number)
                if column == 1:
                    item.setIcon(_dot(SEAM_COLOURS[kinds[index]]))
                else:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.setItem(place, column, item)
            if number == chosen:
                self.selectRow(place)
        self.blockSignals(False)

    def _on_selected(self) -> None:
        number = self.selected
        if number is not None:
            self.chosen.emit(number)


def go_to(viewer: ViewerModel, layer: Any, corners: np.ndarray, part: float = 0.3) -> None:
    """Show a box of a layer's data: its plane, and the box as a part of the canvas."""
    shown = sorted(axis - (viewer.dims.ndim - layer.ndim) for axis in viewer.dims.displayed)
    hidden = {a: float(corners[0, a]) for a in range(layer.ndim) if a not in shown}
    for axis, value in point_from_data(viewer, layer, hidden).items():
        viewer.dims.set_point(axis, value)
    world = data_to_world(viewer, layer, corners)[:, list(viewer.dims.displayed)]
    low, high = world.min(0), world.max(0)
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    camera.center = (*tuple(camera.center)[:-2], *((low + high) / 2)[-2:])
    size = float(max((high - low).max(), 1e-9))
    canvas = viewer.canvas.size if hasattr(viewer, "canvas") else (600, 800)
    camera.zoom = part * min(canvas) / size


def _dot(colour: str) -> QIcon:
    picture = QPixmap(9, 9)
    picture.fill(QColor(colour))
    return QIcon(picture)
