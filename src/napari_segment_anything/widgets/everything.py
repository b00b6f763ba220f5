"""The widget "Segment everything": one button, then filters on what was found."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import napari

from ..automatic import CandidateTable, available_modes, choose_mode
from ..automatic.heads import dense_head
from ..automatic.parameters import FILTERS, applicable, filters_in, resolve
from ..bridge.runs.areas import draw_region, find_area
from ..bridge.runs.everything import (
    DrawnObjects,
    FoundObjects,
    ResultLayer,
    refilter,
    run_everything,
)
from ..bridge.runs.finding import run_find
from ..errors import SegmentAnythingError
from ..finding.choosing import LOOSE
from ..parameters import EVERYTHING, FINDING, RUN
from ..progress import Progress
from ..wording import counted
from .exports import Exports
from .find_form import FindForm
from .forms import ParameterField, QtField, acting, fields, plain
from .jobs import Jobs
from .large import LargeRuns
from .layer_box import labels_box
from .panel import Panel
from .qt_helpers import ChoiceButtons, allow, button, heading
from .sections import Section

REGIONS = (
    ("plane", "Plane", "All of the plane that is shown"),
    ("view", "In view", "The part of it that is in view"),
    ("rectangle", "Rectangle", "A rectangle that you draw"),
    ("all", "All, tiled", "All of a large image, every plane of a stack: tile by tile, to disk"),
)
POLICIES = (
    ("smaller in front", "small"),
    ("better in front", "score"),
    ("larger in front", "large"),
)
FIND = "find"
MODES = (*((mode, mode) for mode in RUN["mode"].choices), ("find: words or examples", FIND))
LIKENESS = {name: each for name, each in FINDING.items() if each.filter}
TILED = "Finding works in a plane, the part in view or a rectangle; choose one of these."
FIRST = ("likeness_thresh", "pred_iou_thresh", "stability_score_thresh", "min_area", "max_area")


class EverythingWidget(Panel):
    """Finds every object of a plane, or of a part of it, and filters what was found.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._jobs = Jobs(self)
        self._result = ResultLayer(self.viewer)
        self._found: FoundObjects | None = None
        self._drawn: DrawnObjects | None = None
        self._filtering = False
        self._again = self.delayed(60, self._refilter)
        self._build()
        self._restore()
        self._connect()
        self._show_mode()
        self.session.when_loaded(lambda: None)  # it decides which parameters are shown

    # -- layout ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.targets = labels_box(
            self.viewer, "<b>target</b><br>Where the result goes; labels that are there stay"
        )
        self.mode = plain("mode", RUN["mode"], choices=MODES)
        self.find = FindForm(self, self._show_ready)
        self.policy = plain("policy", RUN["policy"], choices=POLICIES)
        self.region = QtField("region", "", ChoiceButtons(REGIONS))
        self.run_button = button("Segment everything", self.start, "Find every object")
        self.large = LargeRuns(self)
        self.fields: dict[str, ParameterField] = {
            item.name: item
            for counts in (True, False)
            for item in fields(
                {n: p for n, p in {**LIKENESS, **EVERYTHING}.items() if p.filter is counts},
                by_model=True,
                counts=counts,
            )
        }
        first = Section([self.fields[name] for name in FIRST])
        more = [f for n, f in self.fields.items() if n in FILTERS and n not in FIRST]
        finding = [f for n, f in self.fields.items() if n not in FILTERS]
        self._sections = (
            first,
            Section(more, "More filters"),
            Section(finding, "How objects are found (for the next run)"),
        )
        self.exports = Exports(self.status, lambda: self._drawn, self.discard)
        self.lay_out(
            (
                self.images,
                self.models,
                self.targets,
                self.mode,
                self.find.section,
                (self.region,),
                self.large.section,
                self.run_button,
                heading("Filter"),
                first,
                self.policy,
                self.exports,
                *self._sections[1:],
            ),
            "Segment everything",
            "Everything",
        )

    def _restore(self) -> None:
        kept = self.settings.get("everything")
        for item in (self.mode, self.region, self.policy):
            item.value = kept[item.name]
        self._show_region()
        for name in self.fields.keys() & kept.keys():
            self.fields[name].restore(kept[name])

    def _connect(self) -> None:
        for item in (self.mode, self.region, self.policy):
            item.changed.connect(lambda value, name=item.name: self._keep(name, value))
        self.mode.changed.connect(self._choose_mode)
        self.region.changed.connect(self._choose_region)
        self.policy.changed.connect(lambda *_: self._again.start())
        for name, field in self.fields.items():
            field.changed.connect(lambda value, name=name: self._changed(name, value))
        self._jobs.progressed.connect(self._on_progress)
        self._jobs.finished.connect(self._on_finished)
        self._jobs.failed.connect(self._on_failed)
        self._jobs.ended.connect(self._on_ended)
        self.large.jobs.ended.connect(self._show_region)
        self.follow(self.session.model_changed, self._show_mode)
        self.at_the_end(self._jobs.close)
        self.at_the_end(self.large.close_down)
        self.at_the_end(self.exports.close_down)

    # -- what the user does ----------------------------------------------------------------------

    def start(self) -> None:
        """Find every object, or what is looked for, on another thread."""
        if self._jobs.running or self.large.running:
            self.stop()
            return
        if self.region.value == "all":
            self.shared.start(self.status, self._start_large)
            return
        try:
            area = find_area(
                self.viewer,
                self.images.layers,
                self.region.value,
                channel_axis=self.images.channel_axis,
                target=self.targets.value,
            )
        except SegmentAnythingError as error:
            if self.region.value == "rectangle" and self.images.layers:
                draw_region(self.viewer, self.images.layers[0])
            self.status.warn(error)
            return
        mode = self.mode.value
        given = self._given()
        policy, target = self.policy.value, self.targets.value
        found = self.attempt(self.find.query, area) if mode == FIND else ("", [])
        if found is None:
            return
        words, examples = found

        def begin() -> None:
            if self.is_shut or any(layer not in self.viewer.layers for layer in area.layers):
                return
            self._found = self._drawn = None
            self._filtering = False
            self._show_counts()
            what = "everything" if mode != FIND else words or "like the examples"
            self._result.begin(area, target, what)
            self.run_button.setText("Stop")
            self.status.busy("Preparing …")
            predictor = self.session.predictor

            def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, DrawnObjects]:
                if mode == FIND:
                    finder = yield from self.find.finder_steps(predictor.model)
                    wanted = {n: v for n, v in given.items() if n in filters_in(FIND)}
                    steps = run_find(area, predictor, words, examples, finder, wanted, policy)
                    return (yield from steps)
                wanted = acting(predictor.model, mode, given)
                return (yield from run_everything(area, predictor, mode, wanted, policy))

            self._jobs.start(job)

        self.shared.start(self.status, begin)

    def _given(self) -> dict[str, Any]:
        return {name: field.value for name, field in self.fields.items() if field.explicit}

    def _start_large(self) -> None:
        """Segment all of the image tile by tile, or resume such a run."""
        if self.is_shut:
            return
        mode, given = self.mode.value, self._given()
        policy = self.policy.value
        predictor = self.session.predictor
        try:
            begun = self.large.start(
                predictor, mode, policy, lambda model: acting(model, mode, given)
            )
        except SegmentAnythingError as error:
            self.status.warn(error)
            return
        if begun:
            self.run_button.setText("Stop")

    def _choose_mode(self, mode: str) -> None:
        """Show what belongs to a mode; what is found overlaps by likeness."""
        self.policy.value = "score" if mode == FIND else self.settings.get("everything")["policy"]
        self._show_mode()

    def _show_region(self) -> None:
        """Show what belongs to the region that is chosen."""
        everywhere = self.region.value == "all"
        self.large.show(everywhere)
        self.targets.enabled = not everywhere
        resumed = "Run, or resume" if everywhere else "Segment everything"
        self.run_button.setText("Find" if self.mode.value == FIND else resumed)
        self._show_ready()
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
        """Discard the result."""
        self._result.discard()
        self._found = self._drawn = None
        self._show_counts()
        self.status.rest("Discarded.")

    def _choose_region(self, region: str) -> None:
        self._show_region()
        if region == "rectangle" and self.images.layers:
            draw_region(self.viewer, self.images.layers[0])
            self.status.say("Draw a rectangle, then press the button.")

    def _show_ready(self) -> None:
        """Enable the button, or grey it out with the reason."""
        reason = ""
        if self.mode.value == FIND and not self._jobs.running:
            model = self.session.model if self.session.is_loaded else None
            everywhere = self.region.value == "all"
            reason = TILED if everywhere else self.find.reason(model)
        allow(self.run_button, reason, "Find what is looked for, or every object")

    def _keep(self, name: str, value: Any) -> None:
        """Remember a value for the next start; finding is not a mode to start with."""
        if self.mode.value != FIND and name in self.settings.plain("everything"):
            self.settings.set("everything", **{name: value})

    def _changed(self, name: str, value: Any) -> None:
        self._keep(name, value)
        if name in FILTERS:
            self._again.start()

    # -- filtering -------------------------------------------------------------------------------

    def _refilter(self) -> None:
        found = self._found
        if found is None or (self._jobs.running and not self._filtering):
            return
        shown = {name: field.acting for name, field in self.fields.items() if name in FILTERS}
        policy = self.policy.value
        self._filtering = True
        self._jobs.start(lambda cancelled: refilter(found, shown, policy, cancelled))

    # -- what the jobs say -----------------------------------------------------------------------

    def _on_progress(self, step: Progress) -> None:
        if self._filtering:
            return
        self.status.show_progress(step)
        if isinstance(step.partial, DrawnObjects):
            self._show(step.partial)

    def _show(self, drawn: DrawnObjects) -> bool:
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

    def _on_finished(self, drawn: DrawnObjects | None) -> None:
        if drawn is None:
            return
        if self._filtering:
            found = self._found
            if self._show(drawn):
                self._found = found  # all candidates, the run's own thresholds
                self.status.rest()
        elif self._show(drawn):
            self._show_own(drawn.table.mode, drawn.table)
            where = "" if drawn.found.seconds < 0.05 else f" in {drawn.found.seconds:.1f} s"
            by = f", by {drawn.table.parameters['finder']}" if drawn.table.mode == FIND else ""
            self.status.rest(f"{counted(drawn.objects, 'object')}{where}{by}.")

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
        for name in FILTERS & self.fields.keys():
            self.fields[name].show_dropped(dropped.get(name, 0))
        self.exports.refresh()

    # -- parameters ------------------------------------------------------------------------------

    def _show_mode(self, *_: Any) -> None:
        mode = self.mode.value
        self.find.show(mode == FIND)
        self._sections[2].shown = mode != FIND
        self._show_region()
        if mode == FIND:
            names = filters_in(FIND)
            if self.session.is_loaded:
                self._show_own(mode)
        elif not self.session.is_loaded:
            names = applicable(mode if mode != "auto" else "instances")
        else:
            model = self.session.model
            self.large.set_model(model)
            modes = available_modes(model)
            for index, name in enumerate(self.mode.choices):
                item = self.mode.native.model().item(index)
                item.setEnabled(name in ("auto", FIND) or name in modes)
            if mode != "auto" and mode not in modes:
                self.status.warn(f"{model.name} cannot do {mode}; it does {', '.join(modes)}")
                return
            mode = choose_mode(model, mode)
            names = applicable(mode, dense_head(model))
            self._show_own(mode)
        for section in self._sections:
            section.show_only(names)
        self._show_counts()

    def _show_own(self, mode: str, table: CandidateTable | None = None) -> None:
        """Show the values that are used, or were in a table, where nothing was set by hand."""
        model = self.session.model
        if mode == FIND:
            own = LOOSE if table is None else dict(table.parameters)
        else:
            own = resolve(mode, {}, model.everything_defaults(mode), dense_head(model))
        for name, field in self.fields.items():
            if name in own:
                field.set_own(own[name])
