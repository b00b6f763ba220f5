"""The part of "Segment everything" that runs on all of a large image or stack, tile by tile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHeaderView,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..bridge.coordinates import data_to_world, point_from_data
from ..bridge.images import axes_of
from ..bridge.large import (
    LargeDone,
    LargeSource,
    LargeStep,
    default_store,
    large_steps,
    outline,
    unfinished,
)
from ..bridge.large_layers import SEAM_COLOURS, TILE_COLOURS, LargeLayers, seam_corners
from ..engine import Model, Predictor
from ..errors import SegmentAnythingError
from ..large import Status as TileStatus
from ..large import redecode
from ..large.run import OVERLAP
from ..large.runners import cores
from ..progress import Progress
from .forms import Number
from .jobs import Jobs
from .parts import Status, button, check, form, note, row, tight

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .choosers import ImageChooser

MOST_ROWS = 500
_ORDER = ("ambiguous", "cut", "redecoded", "merged")
_SQUARE = '<span style="color: {}">■</span> {}'


class LargePanel(QWidget):
    """Where the labels go, how tiles lie, what became of them, and the seams between them.

    Parameters
    ----------
    viewer : ViewerModel
    images : ImageChooser
        What is segmented.
    status : Status
        Of the widget it is part of.
    """

    ended = Signal()
    """Nothing runs any more."""

    def __init__(self, viewer: ViewerModel, images: ImageChooser, status: Status) -> None:
        super().__init__()
        self.viewer, self.images, self.status = viewer, images, status
        self.layers = LargeLayers(viewer)
        self.done: LargeDone | None = None
        self._source: LargeSource | None = None
        self._jobs = Jobs(self, name="segment-anything-large")
        self._again = False
        self._side = 512
        self._last: LargeStep | None = None
        self._offered = ""
        self._outlined = QTimer(self)
        self._outlined.setSingleShot(True)
        self._outlined.setInterval(150)
        self._outlined.timeout.connect(self._outline)
        self._build()
        images.changed.connect(self._new_image)
        images.box.chosen.connect(self._new_image)
        self._jobs.progressed.connect(self._on_progress)
        self._jobs.finished.connect(self._on_finished)
        self._jobs.failed.connect(self._on_failed)
        self._jobs.ended.connect(self.ended)
        self._new_image()

    def _build(self) -> None:
        self.store = QLineEdit()
        self.store.setPlaceholderText("an OME-Zarr store …")
        self.store.setToolTip(
            "<b>output</b><br>OME-Zarr store that the labels are written to as they come: "
            "the image's own, or a new one"
        )
        self.choose = QToolButton()
        self.choose.setText("…")
        self.choose.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.choose.clicked.connect(lambda *_: self.ask_store())
        self.label = QLineEdit("segment_anything")
        self.label.setToolTip("<b>label</b><br>Name of the label image in the store")
        self.tile = Number(0, 65536, 0, none="auto")
        self.tile.setToolTip(
            "<b>tile</b><br>Side of a tile in pixels; auto is the model's frame. "
            "Larger tiles suit larger objects"
        )
        self.overlap = Number(-1, 32768, 0, none="auto")
        self.overlap.setValue(-1)
        self.overlap.setToolTip(
            "<b>overlap</b><br>Pixels that neighbouring tiles share; auto is an eighth. Objects "
            "smaller than half of it are seen whole for certain"
        )
        self.overwrite = check("Begin anew", "<b>overwrite</b><br>Replace labels of that name")
        holder, fields = form()
        fields.addRow("Store", row(self.store, self.choose))
        fields.addRow("Name", row(self.label, self.overwrite))
        fields.addRow("Tile", row(self.tile, note("overlap"), self.overlap))
        self.fields = fields
        self.plan = note()
        self.legend = note()
        self.seams = QTableWidget(0, 4)
        self.seams.setHorizontalHeaderLabels(["seam", "kind", "IoU", "objects"])
        self.seams.verticalHeader().setVisible(False)
        self.seams.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.seams.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.seams.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.seams.setShowGrid(False)
        self.seams.setFixedHeight(132)
        self.seams.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.seams.setToolTip("Places where tiles had to agree; a click shows one")
        self.seams.itemSelectionChanged.connect(self._show_seam)
        self.redecode_button = button(
            "Decode again",
            self.decode_again,
            "<b>redecode</b><br>Prompt the model with the box around this seam's objects, seen "
            "whole, and put what it finds in their place, as one object",
        )
        self.review = QWidget()
        inner = tight(QVBoxLayout(self.review))
        inner.addWidget(self.seams)
        inner.addWidget(row(self.redecode_button, None))
        layout = tight(QVBoxLayout(self))
        for item in (holder, self.plan, self.legend, self.review):
            layout.addWidget(item)
        self.review.setVisible(False)
        self.legend.setVisible(False)
        for field in (self.tile, self.overlap):
            field.valueChanged.connect(lambda *_: self._outlined.start())
        for edit in (self.store, self.label):
            edit.textChanged.connect(lambda *_: self._outlined.start())

    def close_down(self) -> None:
        """Stop what runs."""
        with contextlib.suppress(RuntimeError):  # deleted with the window
            self._outlined.stop()
        self._jobs.close()
        self.layers.close()

    # -- what the user does ----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a run, or a seam, is worked on."""
        return self._jobs.running

    def ask_store(self) -> bool:
        """Let the user choose a store; return whether they did."""
        start = self.store.text() or str(Path.home() / "labels.ome.zarr")
        path, _ = QFileDialog.getSaveFileName(
            self, "Labels go to", start, "OME-Zarr stores (*.zarr)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )  # fmt: skip
        if path:
            self.store.setText(path if path.rstrip("/").endswith(".zarr") else f"{path}.ome.zarr")
        return bool(path)

    def start(
        self,
        predictor: Predictor,
        mode: str,
        policy: str,
        parameters: Callable[[Model], Mapping[str, Any]],
    ) -> bool:
        """Segment all of the image, or go on with it; return whether it begins.

        Raises
        ------
        SegmentAnythingError
            If there is no image, or what is chosen does not fit.
        """
        source = self._source_now()
        model = predictor.model
        self._side = model.image_size
        if not self.store.text().strip() and not self.ask_store():
            self.status.warn("choose a store for the labels")
            return False
        options = {
            "mode": mode,
            "policy": policy,
            "label": self.label.text().strip() or "segment_anything",
            "tile": int(self.tile.value()) or None,
            "overlap": None if self.overlap.value() < 0 else int(self.overlap.value()),
            "overwrite": self.overwrite.isChecked(),
        }
        store = self.store.text().strip()
        self._source, self._again, self.done, self._last = source, False, None, None
        self.review.setVisible(False)

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, LargeDone]:
            return (yield from large_steps(source, store, model, **options, **parameters(model)))

        self.overwrite.setChecked(False)
        self.status.busy("Preparing …")
        self._jobs.start(job)
        return True

    def stop(self) -> None:
        """Cancel what runs."""
        again, last = self._again, self._last
        self._jobs.cancel()
        if again:
            self.status.rest("Stopped.")
        else:
            done = "" if last is None else f" after {_counts(last.status)}"
            self.status.rest(f"Stopped{done}. Run again to go on.")
        self._outline()

    def decode_again(self) -> None:
        """Decode the seam that is selected once more."""
        seam, done, source = self.selected_seam, self.done, self._source
        if seam is None or done is None or source is None or self._jobs.running:
            self.status.warn("select a seam first")
            return
        self._again = True
        predictor = self._predictor
        path, number = done.result.path, seam

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, LargeDone]:
            yield Progress(0, 1, message=f"decoding seam {number} again")
            image = source.image()
            given = None if isinstance(image, str) else image
            redecode(path, predictor().model, number, image=given)
            done.result._tables.clear()
            return LargeDone(done.result, done.result.table, done.result.seams)

        self.status.busy(f"Decoding seam {seam} again …", stoppable=False)
        self._jobs.start(job)

    def bind(self, predictor: Callable[[], Predictor]) -> None:
        """Say where the model comes from."""
        self._predictor = predictor

    @property
    def selected_seam(self) -> int | None:
        """Number of the seam that is selected in the table, or on the canvas."""
        layer = self.layers.seams
        if layer is not None and layer is self.viewer.layers.selection.active:
            chosen = sorted(layer.selected_data)
            if chosen:
                return int(layer.features["seam"].iloc[chosen[0]])
        found = self.seams.selectedItems()
        return int(found[0].data(Qt.ItemDataRole.UserRole)) if found else None

    # -- the plan --------------------------------------------------------------------------------

    def _source_now(self) -> LargeSource:
        layers = self.images.layers
        if not layers:
            from ..errors import ImageError

            raise ImageError("open an image first")
        axes = axes_of(self.viewer, layers, self.images.channel_axis)
        same = self._source
        if same is not None and same.layers == tuple(layers) and same.axes == axes:
            return same
        return LargeSource.of(layers, axes)

    def _new_image(self, *_: Any) -> None:
        if self.running:
            return
        layers = self.images.layers
        if self.store.text() == self._offered:  # not typed by hand
            self._offered = default_store(layers[0]) if layers else ""
            self.store.setText(self._offered)
        self._outlined.start()

    def set_side(self, side: int) -> None:
        """Say which side the model's frame has."""
        self._side = side
        self._outlined.start()

    def _outline(self) -> None:
        if self.running or not self.isVisible():
            return
        lines = []
        try:
            source = self._source_now()
            tile = int(self.tile.value()) or self._side
            overlap = int(self.overlap.value())
            plan = outline(source, tile, round(tile * OVERLAP) if overlap < 0 else overlap, cores())
            lines = plan.describe()
        except SegmentAnythingError as error:
            lines = [f"⚠ {error}"]
        found = unfinished(self.store.text().strip(), self.label.text().strip())
        if found is not None:
            lines.append(f"An unfinished run is there, {found[0]} of {found[1]} tiles: goes on.")
        self._show_plan(lines)

    def showEvent(self, event: Any) -> None:
        """Look what there is to do."""
        super().showEvent(event)
        self._outlined.start()

    def _show_plan(self, lines: list[str]) -> None:
        self.plan.setText("<br>".join(line[:1].upper() + line[1:] for line in lines))

    # -- what the jobs say -----------------------------------------------------------------------

    def _on_progress(self, step: Progress) -> None:
        self.status.show_progress(step)
        here, source = step.partial, self._source
        if isinstance(here, LargeStep) and source is not None:
            first = self._last is None
            self._last = here
            if not self._image_is_there(source):
                self.stop()
                self.status.warn("the image was removed; what was segmented is kept")
                return
            self.layers.show(source, here)
            if here.fresh or first:
                self._show_plan(here.plan.describe())
                self._show_legend(here.status)

    def _image_is_there(self, source: LargeSource) -> bool:
        return all(layer in self.viewer.layers for layer in source.layers)

    def _on_finished(self, done: LargeDone) -> None:
        source = self._source
        if source is None or not self._image_is_there(source):
            self.status.rest("Done; the image was removed meanwhile.")
            return
        before = self.selected_seam if self._again else None
        self.done = done
        self.layers.finish(source, done)
        self._show_legend(done.result.status)
        self._fill_seams(done.seams, before)
        if self._again:
            self.status.rest(f"Seam {before} decoded again.")
            return
        result = done.result
        failed = len(result.failed)
        text = f"{result.count} objects in {Path(result.path).parents[1].name}."
        if failed:
            text = (
                f"⚠ {text[:-1]}; {failed} tiles failed ({result.failed[0].reason[:120]}). "
                "Run again to try those."
            )
        self.status.rest(text)

    def _on_failed(self, error: BaseException) -> None:
        self.status.rest()
        text = str(error).replace("overwrite=True", "'Begin anew'")
        self.status.warn(text)
        self._outlined.start()

    def _show_legend(self, status: np.ndarray) -> None:
        parts = []
        for state, word in (
            (TileStatus.DONE, "done"),
            (TileStatus.EMPTY, "empty"),
            (TileStatus.FAILED, "failed"),
            (TileStatus.TODO, "to do"),
        ):
            count = int((status == state).sum())
            if count:
                colour = "#3ddc97" if state == TileStatus.DONE else _hex(TILE_COLOURS[state])
                parts.append(_SQUARE.format(colour, f"{count} {word}"))
        self.legend.setText("Tiles: &nbsp;" + " &nbsp; ".join(parts))
        self.legend.setVisible(True)

    # -- seams -----------------------------------------------------------------------------------

    def _fill_seams(self, seams: Mapping[str, np.ndarray], chosen: int | None = None) -> None:
        kinds = [str(kind) for kind in seams.get("kind", ())]
        rows = sorted(range(len(kinds)), key=lambda i: (_ORDER.index(kinds[i]), i))[:MOST_ROWS]
        self.review.setVisible(bool(rows))
        self.seams.blockSignals(True)
        self.seams.setRowCount(len(rows))
        for place, index in enumerate(rows):
            number = int(seams["seam"][index])
            labels = " + ".join(str(int(n)) for n in seams["labels"][index] if n)
            texts = (str(number), kinds[index], f"{float(seams['iou'][index]):.2f}", labels)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setData(Qt.ItemDataRole.UserRole, number)
                if column == 1:
                    item.setIcon(_dot(SEAM_COLOURS[kinds[index]]))
                self.seams.setItem(place, column, item)
            if number == chosen:
                self.seams.selectRow(place)
        self.seams.blockSignals(False)

    def _show_seam(self) -> None:
        """Go to the seam that is selected in the table."""
        found, done, source = self.seams.selectedItems(), self.done, self._source
        if not found or done is None or source is None or not self._image_is_there(source):
            return
        number = int(found[0].data(Qt.ItemDataRole.UserRole))
        at = int(np.flatnonzero(done.seams["seam"] == number)[0])
        corners = seam_corners(source, done.result.grid, done.seams, at)
        go_to(self.viewer, source.layers[0], corners)
        layer = self.layers.seams
        if layer is not None and layer in self.viewer.layers:
            rows = np.flatnonzero(layer.features["seam"].to_numpy() == number)
            layer.selected_data = {int(i) for i in rows}


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


def _counts(status: np.ndarray) -> str:
    finished = int(np.isin(status, (TileStatus.DONE, TileStatus.EMPTY)).sum())
    return f"{finished} of {status.size} tiles"


def _hex(colour: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])


def _dot(colour: str) -> QIcon:
    picture = QPixmap(9, 9)
    picture.fill(QColor(colour))
    return QIcon(picture)
