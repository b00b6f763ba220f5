"""A table of a large run's seams, those to check first on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap

from ..bridge.runs.large_layers import SEAM_COLOURS
from ..bridge.viewer.coordinates import data_to_world, point_from_data
from .qt_helpers import RowTable

if TYPE_CHECKING:
    from napari.components import ViewerModel

MOST_ROWS = 500
_ORDER = ("ambiguous", "cut", "redecoded", "merged")


class SeamTable(RowTable):
    """Places where objects of neighbouring tiles were compared, and how well they agreed."""

    def __init__(self) -> None:
        super().__init__(["seam", "kind", "IoU", "objects"], 130)
        self.fit(1)
        self.setToolTip("Places where neighbouring tiles were joined; a click shows one")

    def show_seams(self, seams: Mapping[str, np.ndarray], chosen: int | None = None) -> None:
        """Show the seams of a run, one of them selected.

        Parameters
        ----------
        seams : mapping of str to array
            `LargeResult.seams`: a value per seam in each column.
        chosen : int, optional
            Number of the seam to select.
        """
        kinds = [str(kind) for kind in seams.get("kind", ())]
        order = sorted(range(len(kinds)), key=lambda i: (_ORDER.index(kinds[i]), i))[:MOST_ROWS]
        rows = {}
        for index in order:
            labels = " + ".join(str(int(n)) for n in seams["labels"][index] if n)
            number, iou = int(seams["seam"][index]), float(seams["iou"][index])
            rows[number] = (str(number), kinds[index], f"{iou:.2f}", labels)
        self.fill(rows)
        for place, index in enumerate(order):
            kind = self.item(place, 1)
            kind.setIcon(_dot(SEAM_COLOURS[kinds[index]]))
            kind.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.select(chosen)


def go_to(viewer: ViewerModel, layer: Any, corners: np.ndarray, part: float = 0.3) -> None:
    """Move to a box of a layer's data, so that it fills a part of the canvas.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Layer
    corners : float array (2, ndim)
        Lowest and highest corner in the layer's data coordinates.
    part : float
        The part of the canvas that the box fills.
    """
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
