"""Runs over all of a large image or stack, tile by tile: the part of "Segment everything"."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import CheckBox, LineEdit
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..bridge.runs.large import (
    LargeDone,
    LargeSource,
    LargeStep,
    default_store,
    large_steps,
    outline,
    spare_workers,
    unfinished,
)
from ..bridge.runs.large_layers import TILE_COLOURS, LargeLayers, seam_corners
from ..bridge.viewer.images import axes_of
from ..engine import Model, Predictor
from ..errors import ImageError, SegmentAnythingError
from ..large import TileStatus, redecode
from ..large.opening import OVERLAP
from ..large.plan import readable_time
from ..parameters import TILING
from ..progress import Progress
from ..wording import counted
from .choosers import StoreBox
from .forms import QtField, fields
from .jobs import Jobs
from .qt_helpers import button, column, note, row, tight
from .seams import SeamTable, go_to
from .sections import Section
from .status import Pace

if TYPE_CHECKING:
    from .panel import Panel

_SQUARE = '<span style="color: {}">■</span> {}'


class LargeRuns:
    """Store and tiles of a large run, its progress, and the seams between its tiles.

    Parameters
    ----------
    panel : Panel
        The widget it is part of: its image, model and status.
    """

    def __init__(self, panel: Panel) -> None:
        self.viewer, self.images, self.status = panel.viewer, panel.images, panel.status
        self._session = panel.session
        self.jobs = Jobs(panel, name="segment-anything-large")
        self.layers = LargeLayers(panel.viewer)
        self.done: LargeDone | None = None
        self._source: LargeSource | None = None
        self._again = False
        self._side, self._workers = 512, spare_workers("cpu")
        self._last: LargeStep | None = None
        self._pace = Pace()
        self._offered = ""
        self._outlined = panel.delayed(150, self._outline)
        self._build()
        self.images.changed.connect(self._new_image)
        self.jobs.progressed.connect(self._on_progress)
        self.jobs.finished.connect(self._on_finished)
        self.jobs.failed.connect(self._on_failed)
        self._new_image()

    def _build(self) -> None:
        self.store = QtField(
            "output",
            "Store",
            StoreBox("an OME-Zarr store …"),
            tooltip="<b>output</b><br>OME-Zarr store that the labels are written to as they come: "
            "the image's own, or a new one",
        )
        self.label = LineEdit(
            name="label",
            label="Name",
            value="segment_anything",
            tooltip="<b>label</b><br>Name of the label image in the store",
        )
        self.tile, self.overlap = fields(TILING, ("tile", "overlap"))
        self.overwrite = CheckBox(
            name="overwrite",
            text="Start over",
            tooltip="<b>overwrite</b><br>Replace labels of that name",
        )
        self.plan, self.legend = note(), note()
        self.seams = SeamTable()
        self.seams.chosen.connect(self._show_seam)
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
        self.review.setVisible(False)
        self.legend.setVisible(False)
        self._rows = (self.store, self.label, self.tile, self.overlap, self.overwrite)
        told = column(self.plan, self.legend, self.review)
        self.section = Section([*self._rows, told])
        for field in self._rows[:-1]:
            field.changed.connect(lambda *_: self._outlined.start())

    def show(self, shown: bool) -> None:
        """Show what belongs to a large run, or hide it."""
        self.section.shown = shown
        self._outlined.start()

    def close_down(self) -> None:
        """Stop what runs."""
        self.jobs.close()
        self.layers.close()

    # -- what the user does ----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a run, or a seam, is worked on."""
        return self.jobs.running

    def start(
        self,
        predictor: Predictor,
        mode: str,
        policy: str,
        parameters: Callable[[Model], Mapping[str, Any]],
    ) -> bool:
        """Start or resume a run over all of the image; return whether it started.

        Parameters
        ----------
        predictor : Predictor
        mode, policy : str
            As for `segment_large`.
        parameters : callable
            Takes the model, and returns its parameters of everything mode.

        Raises
        ------
        SegmentAnythingError
            If there is no image, or the settings do not fit it.
        """
        source = self._source_now()
        model = predictor.model
        self.set_model(model)
        if not self.store.value and not self.store.qt.ask():
            self.status.warn("choose a store for the labels")
            return False
        options = {
            "mode": mode,
            "policy": policy,
            "label": self.label.value.strip() or "segment_anything",
            "tile": self.tile.value,
            "overlap": self.overlap.value,
            "overwrite": self.overwrite.value,
        }
        store = self.store.value
        self._source, self._again, self.done, self._last = source, False, None, None
        self.review.setVisible(False)

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, LargeDone]:
            return (yield from large_steps(source, store, model, **options, **parameters(model)))

        self.overwrite.value = False
        self._pace = Pace()
        self.layers.start()
        self.status.busy("Preparing …")
        self.jobs.start(job)
        return True

    def stop(self) -> None:
        """Cancel what runs."""
        again, last = self._again, self._last
        self.jobs.cancel()
        if again:
            self.status.rest("Stopped.")
        else:
            done = "" if last is None else f" after {_counts(last.status)}"
            self.status.rest(f"Stopped{done}. Run again to resume.")
        self._outline()

    def decode_again(self) -> None:
        """Decode the selected seam again."""
        seam, done, source = self.selected_seam, self.done, self._source
        if seam is None or done is None or source is None or self.jobs.running:
            self.status.warn("select a seam first")
            return
        self._again = True
        predictor = self._session.predictor
        path, number = done.result.path, seam

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, LargeDone]:
            yield Progress(0, 1, message=f"decoding seam {number} again")
            image = source.image()
            given = None if isinstance(image, str) else image
            redecode(path, predictor.model, number, image=given)
            done.result._tables.clear()
            return LargeDone(done.result, done.result.table, done.result.seams)

        self.status.busy(f"Decoding seam {seam} again …", stoppable=False)
        self.jobs.start(job)

    @property
    def selected_seam(self) -> int | None:
        """Number of the seam selected on the canvas, or else in the table."""
        layer = self.layers.seams
        if layer is not None and layer is self.viewer.layers.selection.active:
            chosen = sorted(layer.selected_data)
            if chosen:
                return int(layer.features["seam"].iloc[chosen[0]])
        return self.seams.selected

    def _show_seam(self, number: int) -> None:
        """Move to a seam."""
        done, source = self.done, self._source
        if done is None or source is None or not self._image_is_there(source):
            return
        at = int(np.flatnonzero(done.seams["seam"] == number)[0])
        corners = seam_corners(source, done.result.grid, done.seams, at)
        go_to(self.viewer, source.layers[0], corners)
        layer = self.layers.seams
        if layer is not None and layer in self.viewer.layers:
            rows = np.flatnonzero(layer.features["seam"].to_numpy() == number)
            layer.selected_data = {int(i) for i in rows}

    # -- the plan --------------------------------------------------------------------------------

    def _source_now(self) -> LargeSource:
        layers = self.images.layers
        if not layers:
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
        if self.store.value == self._offered:  # not typed by hand
            self._offered = default_store(layers[0]) if layers else ""
            self.store.value = self._offered
        self._outlined.start()

    def set_model(self, model: Model) -> None:
        """Set the model: the plan depends on its frame and its device."""
        self._side, self._workers = model.image_size, spare_workers(model.device.type)
        self._outlined.start()

    def _outline(self) -> None:
        if self.running or not self.section.shown:
            return
        lines = []
        try:
            source = self._source_now()
            tile, overlap = self.tile.value or self._side, self.overlap.value
            shared = round(tile * OVERLAP) if overlap is None else overlap
            plan = outline(source, tile, shared, self._workers or 2)
            lines = plan.describe()
        except SegmentAnythingError as error:
            lines = [f"⚠ {error}"]
        found = unfinished(self.store.value, self.label.value.strip())
        if found is not None:
            lines.append(
                f"Resumes an unfinished run: {found[0]} of {counted(found[1], 'tile')} done."
            )
        self._show_plan(lines)

    def _show_plan(self, lines: list[str]) -> None:
        self.plan.setText("<br>".join(line[:1].upper() + line[1:] for line in lines))

    # -- what the jobs say -----------------------------------------------------------------------

    def _on_progress(self, step: Progress) -> None:
        self.status.show_progress(step)
        left = self._pace.left(step.done, step.total, step.message.partition(",")[0])
        if left is not None:
            self.status.say(f"{self.status.text}, {readable_time(left)} left")
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
                lines = replace(here.plan, done=0).describe()  # the legend shows what is done
                self._show_plan(lines)
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
        self.seams.show_seams(done.seams, before)
        self.review.setVisible(self.seams.rowCount() > 0)
        if self._again:
            self.status.rest(f"Seam {before} decoded again.")
            return
        result = done.result
        failed = len(result.failed)
        text = f"{counted(result.count, 'object')} in {Path(result.path).parents[1].name}."
        if failed:
            text = (
                f"⚠ {text[:-1]}; {counted(failed, 'tile')} failed "
                f"({result.failed[0].reason[:120]}). Run again to try those."
            )
        self.status.rest(text)

    def _on_failed(self, error: BaseException) -> None:
        self.status.rest()
        text = str(error).replace("overwrite=True", "'Start over'")
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
        self.legend.setText(" &nbsp; ".join(parts))
        self.legend.setVisible(True)


def _counts(status: np.ndarray) -> str:
    finished = int(np.isin(status, (TileStatus.DONE, TileStatus.EMPTY)).sum())
    return f"{finished} of {counted(status.size, 'tile')}"


def _hex(colour: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])
