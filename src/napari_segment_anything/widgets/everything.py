"""The widget "Segment everything": one button, then sliders that filter what was found."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from ..automatic import MODES, PARAMETERS, available_modes, choose_mode
from ..automatic.heads import dense_head
from ..automatic.parameters import FILTERS, applicable, resolve
from ..bridge.runs.areas import draw_region, find_area
from ..bridge.runs.results import Drawn, Found, ResultLayer, refilter, run
from ..errors import SegmentAnythingError
from ..progress import Progress
from ..wording import counted
from .choosers import ImageChooser, labels_box
from .exports import Exports
from .forms import Form, acting
from .jobs import Jobs
from .large import LargePanel
from .model_box import ModelBox
from .notices import Notices
from .panel import fill_panel
from .parts import (
    Fold,
    Segmented,
    Status,
    align,
    button,
    column,
    form,
    heading,
    wide,
)
from .shared import WindowWatch, shared_session

REGIONS = (
    ("plane", "Plane", "All of the plane that is shown"),
    ("view", "In view", "The part of it that is in view"),
    ("rectangle", "Rectangle", "A rectangle that you draw"),
    ("all", "All, tiled", "All of a large image, every plane of a stack: tile by tile, to disk"),
)
POLICIES = {"smaller in front": "small", "better in front": "score", "larger in front": "large"}
FIRST = ("pred_iou_thresh", "stability_score_thresh", "min_area", "max_area")
_MODEL = "this model's"


class EverythingWidget(QWidget):
    """Finds every object of a plane, or of a part of it, and filters what was found.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._shared = shared_session(self.viewer)
        self._settings = self._shared.settings
        self._jobs = Jobs(self)
        self._result = ResultLayer(self.viewer)
        self._found: Found | None = None
        self._drawn: Drawn | None = None
        self._filtering = False
        self._open = True
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(60)
        self._again.timeout.connect(self._refilter)
        self._build()
        self._restore()
        self._connect()
        self._watch = WindowWatch(self, self.shut)
        self._show_mode()
        self._shared.session.when_loaded(lambda: None)  # which parameters there are, it says

    # -- layout ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.images = ImageChooser(self.viewer, self._shared.images)
        self.models = ModelBox()
        self.targets = labels_box(self.viewer, "new layer")
        self.targets.setToolTip("Where the result goes; labels that are there stay")
        self.mode = wide(QComboBox())
        self.mode.addItems(["auto", *MODES])
        self.mode.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.mode.setToolTip(
            "<b>mode</b><br>grid: prompts at a grid of points, as published<br>"
            "proposals: prompts where the model's dense head sees objects<br>"
            "instances: objects straight from the dense head, fastest<br>"
            "auto: what the model says validates best"
        )
        self.policy = wide(QComboBox())
        self.policy.addItems(list(POLICIES))
        self.policy.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.policy.setToolTip("policy: which mask is in front where two overlap")
        chosen, fields = form()
        fields.addRow("Image", self.images)
        fields.addRow("Model", self.models)
        fields.addRow("Labels", self.targets)
        fields.addRow("Mode", self.mode)
        self.region = Segmented(REGIONS)
        self.run_button = button("Segment everything", self.start, "Find every object")
        self.notices = Notices()
        self.status = Status()
        self.large = LargePanel(self.viewer, self.images, self.status)
        self.large.bind(lambda: self._shared.session.predictor)
        names = [name for name in FILTERS if name not in FIRST]
        self.first = Form(FIRST, counts=True)
        self.more = Form(names, counts=True)
        self.finding = Form(
            [n for n in PARAMETERS if n not in FILTERS and n != "point_grids"], counts=False
        )
        self.exports = Exports(self.status, lambda: self._drawn, self.discard)
        overlap, overlap_row = form()
        overlap_row.addRow("Overlaps", self.policy)
        fill_panel(
            self,
            (
                chosen,
                self.region,
                self.large,
                self.run_button,
                heading("Filter"),
                self.first,
                overlap,
                self.exports,
                column(
                    Fold("More filters", self.more),
                    Fold("How objects are found (for the next run)", self.finding),
                    None,
                    space=0,
                ),
            ),
            (self.notices, self.status),
            "Segment everything",
            "Everything",
        )
        titles = [item.title for item in self.first.fields.values()]
        align([fields, overlap_row, self.large.fields], titles)
        self._forms = (self.first, self.more, self.finding)

    def _restore(self) -> None:
        kept = self._settings.get("everything")
        self.mode.setCurrentText(kept["mode"])
        self.region.value = kept["region"]
        self._show_region()
        words = {value: word for word, value in POLICIES.items()}
        self.policy.setCurrentText(words[kept["policy"]])
        for item in self._forms:
            for name, field in item.fields.items():
                field.set(kept[name])

    def _connect(self) -> None:
        self.mode.currentTextChanged.connect(self._choose_mode)
        self.region.changed.connect(self._choose_region)
        self.policy.currentTextChanged.connect(self._choose_policy)
        self._unbind_model = self._shared.bind_model(self.models, self.notices, self.status)
        for item in self._forms:
            item.changed.connect(self._changed)
        self._jobs.progressed.connect(self._on_progress)
        self._jobs.finished.connect(self._on_finished)
        self._jobs.failed.connect(self._on_failed)
        self._jobs.ended.connect(self._on_ended)
        self.large.ended.connect(self._show_region)
        self._shared.session.model_changed.connect(self._show_mode)

    def shut(self) -> None:
        """Stop what runs, and let go of the viewer."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(RuntimeError):  # deleted with the window
            self._again.stop()
        self._unbind_model()
        self._jobs.close()
        self.large.close_down()
        self._shared.session.model_changed.disconnect(self._show_mode)
        self.images.close_down()
        self.targets.close_down()
        self._shared.leave(self.viewer)

    # -- what the user does ----------------------------------------------------------------------

    def start(self) -> None:
        """Find every object, off the Qt thread."""
        if self._jobs.running or self.large.running:
            self.stop()
            return
        if self.region.value == "all":
            self._shared.start(self.status, self._start_large)
            return
        try:
            area = find_area(
                self.viewer,
                self.images.layers,
                self.region.value,
                channel_axis=self.images.channel_axis,
                target=self.targets.layer,
            )
        except SegmentAnythingError as error:
            if self.region.value == "rectangle" and self.images.layers:
                draw_region(self.viewer, self.images.layers[0])
            self.status.warn(error)
            return
        mode = self.mode.currentText()
        given = self._given()
        policy, target = POLICIES[self.policy.currentText()], self.targets.layer

        def begin() -> None:
            if not self._open or any(layer not in self.viewer.layers for layer in area.layers):
                return
            self._found = self._drawn = None
            self._filtering = False
            self._show_counts()
            self._result.begin(area, target)
            self.run_button.setText("Stop")
            self.status.busy("Preparing …")
            predictor = self._shared.session.predictor

            def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, Drawn]:
                wanted = acting(predictor.model, mode, given)
                return (yield from run(area, predictor, mode, wanted, policy))

            self._jobs.start(job)

        self._shared.start(self.status, begin)

    def _given(self) -> dict[str, Any]:
        return {**self.first.values(), **self.more.values(), **self.finding.values()}

    def _start_large(self) -> None:
        """Segment all of the image, tile by tile, or go on with that."""
        if not self._open:
            return
        mode, given = self.mode.currentText(), self._given()
        policy = POLICIES[self.policy.currentText()]
        predictor = self._shared.session.predictor
        try:
            begun = self.large.start(
                predictor, mode, policy, lambda model: acting(model, mode, given)
            )
        except SegmentAnythingError as error:
            self.status.warn(error)
            return
        if begun:
            self.run_button.setText("Stop")

    def _show_region(self) -> None:
        """Show what belongs to the region that is chosen."""
        everywhere = self.region.value == "all"
        self.large.setVisible(everywhere)
        self.targets.setEnabled(not everywhere)
        self.run_button.setText("Run, or go on" if everywhere else "Segment everything")
        self.exports.setVisible(not everywhere)

    def stop(self) -> None:
        """Cancel what runs."""
        if self.large.running:
            self.large.stop()
            return
        self._jobs.cancel()
        found = (
            "" if self._drawn is None else f" {counted(self._drawn.objects, 'object')} until then."
        )
        self.status.rest(f"Stopped.{found}")

    def discard(self) -> None:
        """Take the result back."""
        self._result.discard()
        self._found = self._drawn = None
        self._show_counts()
        self.status.rest("Taken back.")

    def _choose_mode(self, mode: str) -> None:
        self._settings.set("everything", mode=mode)
        self._show_mode()

    def _choose_region(self, region: str) -> None:
        self._settings.set("everything", region=region)
        self._show_region()
        if region == "rectangle" and self.images.layers:
            draw_region(self.viewer, self.images.layers[0])
            self.status.say("Draw a rectangle, then press the button.")

    def _choose_policy(self, word: str) -> None:
        self._settings.set("everything", policy=POLICIES[word])
        self._again.start()

    def _changed(self, name: str) -> None:
        field = next(item.fields[name] for item in self._forms if name in item.fields)
        self._settings.set("everything", **{name: field.value})
        if name in FILTERS:
            self._again.start()

    # -- filtering -------------------------------------------------------------------------------

    def _refilter(self) -> None:
        found = self._found
        if found is None or (self._jobs.running and not self._filtering):
            return
        shown = {n: f.shown for item in (self.first, self.more) for n, f in item.fields.items()}
        policy = POLICIES[self.policy.currentText()]
        self._filtering = True
        self._jobs.start(lambda cancelled: refilter(found, shown, policy, cancelled))

    # -- what the jobs say -----------------------------------------------------------------------

    def _on_progress(self, step: Progress) -> None:
        if self._filtering:
            return
        self.status.show_progress(step)
        if isinstance(step.partial, Drawn):
            self._show(step.partial)

    def _show(self, drawn: Drawn) -> bool:
        """Show what was found; return whether that was possible."""
        try:
            self._result.show(drawn)
        except SegmentAnythingError as error:
            self._jobs.cancel()
            self.status.rest()
            self.status.warn(error)
            return False
        self._found, self._drawn = drawn.found, drawn
        self._show_counts()
        return True

    def _on_finished(self, drawn: Drawn | None) -> None:
        if drawn is None:
            return
        if self._filtering:
            found = self._found
            if self._show(drawn):
                self._found = found  # all candidates, the run's own thresholds
                self.status.rest()
        elif self._show(drawn):
            self._show_own(drawn.table.mode)
            where = "" if drawn.found.seconds < 0.05 else f" in {drawn.found.seconds:.1f} s"
            self.status.rest(f"{counted(drawn.objects, 'object')}{where}.")

    def _on_failed(self, error: BaseException) -> None:
        self.status.rest()
        if self._filtering and "_floor=" in str(error):
            self.status.warn("Masks with such low scores were not kept; segment again to see them.")
        else:
            self.status.warn(error)

    def _on_ended(self) -> None:
        self._show_region()
        if self._drawn is None:
            self._result.abort()

    def _show_counts(self) -> None:
        drawn = self._drawn
        dropped = {} if drawn is None else drawn.dropped
        for item in (self.first, self.more):
            item.show_dropped(dropped)
        self.exports.refresh()

    # -- parameters ------------------------------------------------------------------------------

    def _show_mode(self) -> None:
        session = self._shared.session
        mode = self.mode.currentText()
        if not session.is_loaded:
            head, names = "", set(applicable(mode if mode != "auto" else "instances"))
        else:
            model = session.model
            self.large.set_model(model)
            modes = available_modes(model)
            for index in range(self.mode.count()):
                name = self.mode.itemText(index)
                self.mode.model().item(index).setEnabled(name == "auto" or name in modes)
            if mode != "auto" and mode not in modes:
                self.status.warn(f"{model.name} cannot do {mode}; it does {', '.join(modes)}")
                return
            mode = choose_mode(model, mode)
            head = dense_head(model)
            names = set(applicable(mode, head))
            self._show_own(mode)
        for item in self._forms:
            item.show_only(names)
        self._show_counts()

    def _show_own(self, mode: str) -> None:
        """Show the values that act where nothing was set by hand."""
        model = self._shared.session.model
        own = resolve(mode, {}, model.everything_defaults(mode), dense_head(model))
        for item in self._forms:
            for name, field in item.fields.items():
                if name in own:
                    field.set_own(own[name])
