"""The widget "Annotate a series": one image of a project after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import napari
from qtpy.QtCore import QTimer

from ..bridge.project.auditing import AuditItem
from ..bridge.project.classes import ClassChoice
from ..bridge.project.object_tools import ObjectTools
from ..bridge.project.project_session import ProjectSession
from ..bridge.project.suggestion_board import SuggestionBoard
from ..bridge.project.teaching import Teaching
from ..bridge.viewer.signals import Notice
from ..projects import Project, ProjectImage
from ..wording import counted
from . import keys, project_keys
from .panel import Panel
from .project_audit import AuditPanel
from .project_bar import ProjectBar
from .project_classes import ClassButtons
from .project_learn import LearnPanel
from .project_list import ImageList
from .project_review import ReviewPanel
from .project_start import ProjectStart
from .project_suggestions import SuggestionPanel
from .prompting import Prompting
from .qt_helpers import ChoiceButtons, KeyList, button, heading, row
from .sections import Section
from .tools import HINTS, TOOLS

_TICK = 1000


class ProjectWidget(Panel):
    """Goes through a series of images: annotate, take suggestions, learn, review, audit.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.project: Project | None = None
        self.series: ProjectSession | None = None
        self.classes: ClassChoice | None = None
        self._asked: AuditItem | None = None
        self._class_before = ""
        self._tools: ObjectTools | None = None
        self._nudged = False
        self._counted = True
        """Whether the counts that are shown are those of now."""
        self._build()
        self._connect()
        self.at_the_end(self.close_project)
        self.at_the_end(self.audit.close_down)
        self._show_project()
        self.session.when_loaded(lambda: None)  # so that the first image need not wait for it

    # -- layout ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.start = ProjectStart(self.attempt, lambda: str(self.models.value))
        self.bar = ProjectBar(
            {
                "previous": self.previous,
                "next": self.next,
                "skip": self.skip,
                "complete": self.complete,
                "flag": self.flag,
            }
        )
        self.list = ImageList()
        self.tools = ChoiceButtons(TOOLS)
        self.prompting = Prompting(self, self._hint)
        self.object_tools = ChoiceButtons(project_keys.OBJECT_TOOLS)
        self.class_buttons = ClassButtons(self.attempt)
        self.suggestions = SuggestionPanel(
            self.attempt, self.find_similar, lambda: self.find_similar(True)
        )
        self.learn = LearnPanel(self.attempt)
        self.stage = ChoiceButtons(project_keys.STAGES)
        self.work = Section([self.tools, self.prompting, self.class_buttons])
        self.annotate = Section(
            [
                heading("Objects"),
                self.object_tools,
                self.suggestions,
                Section(
                    [
                        self.models,
                        row(
                            button("Look for new images", self.look_for_images),
                            button("Close the project", self.close_project),
                        ),
                    ],
                    "Project and model",
                ),
                Section([KeyList((*keys.SHOWN, *project_keys.SHOWN))], "Mouse and keys"),
            ]
        )
        self.review = ReviewPanel(self.attempt)
        self.audit = AuditPanel(self.attempt)
        self.audit.asked.connect(self._on_asked)
        self.stages = {
            "annotate": self.annotate,
            "learn": Section([self.learn]),
            "review": Section([self.review]),
            "audit": Section([self.audit]),
        }
        self.images_shown = Section([self.bar, self.list])
        self.main = Section([self.images_shown, self.stage, self.work, *self.stages.values()])
        self.ask = Section([self.start])
        self.images.native.setParent(self)  # the project chooses the image
        self.images.native.hide()
        self.lay_out((self.ask, self.main), "Annotate a series", "Series")

    def _connect(self) -> None:
        session = self.session
        self.start.found.connect(self.open)
        self.list.chosen.connect(self._go_to)
        self.tools.changed.connect(self._choose_tool)
        self.stage.changed.connect(self.show_stage)
        self.suggestions.told.connect(self.status.say)
        self.learn.chosen.connect(self._use_model)
        self.learn.learned.connect(self._on_learned)
        self.object_tools.changed.connect(self.choose_object_tool)
        for signal, slot in (
            (session.objects_changed, self._on_objects),
            (session.draft_changed, self._on_draft),
            (session.click_ignored, self.status.say),
            (session.noticed, self._on_notice),
        ):
            self.follow(signal, slot)
        self.at_the_end(self.list.close_down)
        self._clock = QTimer(self)
        self._clock.setInterval(_TICK)
        self._clock.timeout.connect(self._tick)
        self._clock.start()
        bound = keys.Keys(self.viewer, self, project_keys.bindings(self))
        self.at_the_end(bound.close)

    def _show_project(self) -> None:
        """Show what belongs to a project, or ask for one."""
        there = self.project is not None
        self.ask.shown = not there
        self.main.shown = there
        if not there:
            self.start.offer(self.settings.get("project")["recent"])
            self.status.say("Open a project, or make one.")

    # -- the project -----------------------------------------------------------------------------

    def open(self, project: Project) -> None:
        """Work on a project; the one before is closed."""
        self.close_project()
        self.project = project
        self.series = ProjectSession(self.session, project, dispatch=self.shared.dispatch)
        self.classes = ClassChoice(self.series)
        self._tools = ObjectTools(self.session, self._region_done)
        self.series.opened.connect(self._on_opened)
        self.series.left.connect(self._on_left)
        self.series.changed.connect(self._on_changed)
        self.class_buttons.follow(self.classes)
        self.suggestions.follow(self.series)
        first = project.versions[0].learned()["model"] if project.versions else project.model
        self.learn.follow(Teaching(project), str(first))
        self.review.follow(self.series)
        self.audit.follow(self.series)
        self.settings.set("project", recent=str(project.folder))
        if project.model_path() != self.session.models.source:
            self.shared.choose_model(project.model_path())
        self.tools.value = self.session.mode
        self.list.show_images(project.images)
        self.bar.show_counts(project)
        self.bar.show_image(None)
        self.show_stage("annotate")
        self._show_project()
        self.next()

    def close_project(self) -> None:
        """Save and close the image and the project."""
        if self.series is not None and self._tools is not None:
            self._tools.close()
            for asking in (self.review.round, self.audit.round):
                if asking is not None:
                    asking.close()
            self.series.close()
        self.project = self.series = self.classes = self._tools = None
        if not self.is_shut:
            self.class_buttons.follow(None)
            self.suggestions.follow(None)
            self.learn.follow(None)
            self.review.follow(None)
            self.audit.follow(None)
            self._show_project()

    def look_for_images(self) -> None:
        """Add images that are new in the project's folders."""
        if self.project is not None:
            found = self.attempt(self.project.refresh) or ()
            self.list.show_images(self.project.images)
            here = None if self.series is None else self.series.image
            self.list.select(None if here is None else here.key)
            self._counted = False
            self.status.say(f"{counted(len(found), 'new image')}.")

    # -- going through the images ----------------------------------------------------------------

    def _moving(self, move: Callable[[ProjectSession], bool], nothing: str) -> None:
        if self.series is None:
            return
        if not move(self.series):
            self.status.say(nothing)

    def next(self) -> None:
        """Go to the next image that is to be done."""
        self._moving(ProjectSession.next, self._end)

    def previous(self) -> None:
        """Go to the image before."""
        self._moving(ProjectSession.previous, "This is the first image.")

    def skip(self) -> None:
        """Leave the image out, and go on."""
        self._moving(ProjectSession.skip, self._end)

    def complete(self) -> None:
        """Declare the image complete, and go on."""
        self._moving(ProjectSession.complete, self._end)

    def flag(self, note: str) -> None:
        """Leave the image to somebody else, and go on."""
        self._moving(lambda series: series.flag(note), self._end)

    @property
    def _end(self) -> str:
        return "No other image is to be done."

    def _go_to(self, key: str) -> None:
        if self.series is not None:
            self.series.go_to(key)

    # -- stages ----------------------------------------------------------------------------------

    def show_stage(self, stage: str) -> None:
        """Show what belongs to annotation, or to learning."""
        self.stage.value = stage
        for name, section in self.stages.items():
            section.shown = name == stage
        self.images_shown.shown = stage == "annotate"
        self.work.shown = stage != "learn"
        self.class_buttons.new.setVisible(stage == "annotate")
        if stage == "learn":
            self.learn.refresh()
        if stage != "review":
            self.review.end()
        if stage == "audit":
            self.audit.refresh()
        else:
            self.audit.end()

    def _use_model(self, model: str) -> None:
        if self.project is not None:
            self.attempt(self.project.set_model, model)
            self.shared.choose_model(self.project.model_path())
            self.learn.refresh()
            self.session.when_loaded(self._renew)

    def _renew(self) -> None:
        """Renew the suggestions of the images that are still to do, with another model."""
        if self.series is not None and self.series.board.automatic:
            self.attempt(self.series.jobs.suggest)

    def _on_learned(self, version: str) -> None:
        self.notices.tell(
            "learned",
            f"{version} has learned from this project.",
            (f"Use {version}", partial(self._use_model, version)),
            ("Compare", partial(self.show_stage, "learn")),
            sign="",
        )

    # -- tools and classes -----------------------------------------------------------------------

    def _choose_tool(self, mode: str) -> None:
        self.session.mode = mode  # type: ignore[assignment]
        self.choose_object_tool("")
        if self.series is not None and self.series.now is not None:
            self.attempt(self.session.mouse.take)

    def choose_object_tool(self, name: str) -> None:
        """Draw with a tool for objects until it is chosen again; "" for none."""
        if self._tools is None:
            return
        self._tools.tool = "" if name == self._tools.tool else name
        self.object_tools.value = self._tools.tool
        tips = {tool: tip for tool, _, tip in project_keys.OBJECT_TOOLS}
        self.status.rest(tips.get(self._tools.tool, self._hint()))

    def _region_done(self, corners: Any) -> None:
        if self.series is not None:
            (top, left), (bottom, right) = corners.min(0), corners.max(0)
            self.series.add_complete_region((top, left, bottom, right))
            self.choose_object_tool("")
            self.status.say("Everything in the rectangle counts as labelled.")

    def accept(self) -> None:
        """Take the suggestion under the mouse, or record the answer of an audit."""
        if self.stage.value == "audit":
            self.audit.yes()
        elif self.review.round is not None:
            self.review.accept()
        else:
            self.on_suggestions(SuggestionBoard.take_at_cursor)

    def reject(self) -> None:
        """Reject the suggestion under the mouse, or the mask that an audit asks about."""
        if self.stage.value == "audit":
            self.audit.no()
        elif self.review.round is not None:
            self.review.reject()
        else:
            self.on_suggestions(SuggestionBoard.reject_at_cursor)

    def on_suggestions(self, act: Callable[[SuggestionBoard], object]) -> None:
        """Do something with the suggestions, after everything that is waiting for a mask."""
        if self.series is not None:
            self.prompting.later(act, self.series.board)

    def find_similar(self, everywhere: bool = False) -> None:
        """Look for all objects like the one under the mouse, or the one made last.

        Parameters
        ----------
        everywhere : bool
            In all images that are still to do, instead of the one that is open.
        """
        series = self.series
        if series is None:
            return

        def act() -> None:
            label = self.session.commits.object_at_cursor
            ids = [label] if label is not None else list(self.session.objects)[-1:]
            (series.jobs if everywhere else series.board).find_similar(ids)

        self.prompting.later(act)

    def press_digit(self, key: str) -> None:
        """Give a class to the object under the mouse, or to new ones."""
        if self.classes is not None and not self.attempt(self.classes.press, key):
            self.status.say(f"No class has the key {key}.")

    def _bind_digits(self) -> None:
        """Let digits give classes in the layers that are shown."""
        for layer in () if self.series is None else self.series.layers.images:
            for digit in "0123456789":
                press = keys.pressed_key(partial(self.press_digit, digit))
                layer.bind_key(digit, press, overwrite=True)

    def _on_asked(self, item: AuditItem | None) -> None:
        """Choose the class of the mask that an audit asks about."""
        asked, self._asked = self._asked, item
        if self.classes is None or (asked is None and item is None):
            return
        self._bind_digits()
        self.status.rest(HINTS[self.session.mode] if item is not None else "")
        if asked is None:
            self._class_before = self.classes.current
        if item is None:
            self.classes.current = self._class_before
        elif item.kind == "mask" or asked is None or asked.kind == "mask":
            self.classes.current = item.class_name

    # -- what the series says --------------------------------------------------------------------

    def _on_opened(self, image: ProjectImage) -> None:
        self.list.select(image.key)
        self._nudged = False
        self.notices.drop("recovered")
        if self.series is not None and self.classes is not None:
            self.classes.follow()
            self._bind_digits()
        self.attempt(self.session.mouse.take)
        self._tick()
        self.status.rest(self._hint())

    def _on_left(self, image: ProjectImage) -> None:
        self.list.update_image(image)
        self._tick()

    def _on_changed(self, image: ProjectImage) -> None:
        self.list.update_image(image)
        self._counted = False

    def _on_objects(self, ids: Any = None) -> None:
        self._tick()

    def _on_draft(self) -> None:
        if self.session.draft is None:
            self._nudged = False

    def _on_notice(self, notice: Notice) -> None:
        if notice.topic == "recovered":
            self.notices.tell("recovered", notice.text, ("OK", lambda: None), sign="")

    def _tick(self) -> None:
        """Show the time, and hint that it is time to go on with the next object."""
        series = self.series
        if series is None or self.project is None or self.is_shut:
            return
        if not self._counted:  # here, as that reads the state of every image
            self.bar.show_counts(self.project)
            self._counted = True
        now = series.now
        if now is None:
            self.bar.show_image(None)
            return
        self.bar.show_image(now.image, len(now.session.objects), now.seconds)
        limit = float(self.project.settings["nudge_seconds"])
        if limit and not self._nudged and series.seconds_on_object > limit:
            self._nudged = True
            self.status.say(f"{limit:.0f} s on this object: good enough? Enter commits it.")

    def _hint(self) -> str:
        if self.series is None or self.series.now is None:
            return ""
        return HINTS[self.session.mode]
