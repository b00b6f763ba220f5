"""The widget "Segment Anything": click, drag or scribble, see the mask, commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import napari
from magicgui.widgets import CheckBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy

from ..bridge.viewer.signals import Notice
from ..engine import Window
from ..errors import SegmentAnythingError
from ..parameters import PROMPTING
from ..progress import Progress
from ..wording import counted
from . import keys
from .exports import ask_and_save
from .forms import ParameterField, QtField, plain
from .layer_box import labels_box
from .object_actions import ObjectActions
from .object_list import ObjectList
from .painting import PaintTools
from .panel import Panel
from .qt_helpers import CandidateButtons, ChoiceButtons, KeyList, button, heading, row
from .recovery import RecoveryOffer
from .sections import Section
from .tools import HINTS, TOOLS

MULTIMASK = (("auto", "auto"), ("always three", True), ("one", False))
_SHORT = 20


class PromptWidget(Panel):
    """Prompts one object after the other, or many at once, on a viewer's image.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._build()
        self._restore()
        self._connect()
        self._bind_keys()
        self.recovery = RecoveryOffer(self)
        self.at_the_end(self.recovery.close_down)
        self._on_layers()
        self._on_draft()
        self._take_mouse()
        self.session.when_loaded(self._prepare)  # so that the first click need not wait for it

    def _prepare(self) -> None:
        """Create the layers for prompts and masks ahead of time; napari takes a moment for each."""
        if not self.is_shut and self.images.layers:
            with suppress(SegmentAnythingError):
                rows, cols = self.session.planes.find().axes.rows_cols
                size = self.session.model.image_size
                window = Window(0, 0, min(rows, size), min(cols, size))
                self.session.working.prepare(self.session.plane, window)

    def _take_mouse(self) -> None:
        """Make the chosen image the active layer, so that clicks on it are prompts."""
        if self.images.layers:
            self.attempt(self.session.mouse.take)

    # -- layout ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.targets = labels_box(
            self.viewer, "<b>target</b><br>The Labels layer that objects go to"
        )
        self.tools = QtField("mode", "", ChoiceButtons(TOOLS))
        self.batch = _check("batch", "Every click and every box is an object of its own")
        self.hover = _check("hover", "Show the mask under the mouse before any click")
        self.overwrite = _check(
            "overwrite", "A new object takes pixels from labels that are there already"
        )

        self.candidates = CandidateButtons()
        self.commit_button = button("Commit", self.commit, "Write the object to the labels (Enter)")
        self.cancel_button = button("Cancel", self.cancel, "Discard the object in progress (Esc)")
        self.undo_button = button("Undo", self.undo, "Undo the last step (Alt-Z)")
        self.redo_button = button("Redo", self.redo, "Redo it (Shift-Alt-Z)")
        self.painting = PaintTools(self.session, self.attempt, self.commit)

        self.objects = ObjectList()
        self.actions = ObjectActions(self.session, self.objects, self._later)
        self.table_button = button(
            "Save table …", self.save_table, "Area, shape, intensities, score and seconds as CSV"
        )
        self.table_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.multimask = plain("multimask", PROMPTING["multimask"], choices=MULTIMASK)
        self.region_area = ParameterField(
            "min_mask_region_area", replace(PROMPTING["min_mask_region_area"], kind=int)
        )
        self.lay_out(
            (
                self.images,
                self.models,
                self.targets,
                (self.tools,),
                (self.batch, self.hover, self.overwrite),
                heading("This object"),
                self.candidates,
                self.painting,
                row(self.commit_button, self.cancel_button, self.undo_button, self.redo_button),
                Section([self.multimask, self.region_area], "Options"),
                Section([KeyList(keys.SHOWN)], "Mouse and keys"),
                row(heading("Objects"), self.table_button),
                self.actions,
                self.objects,
            ),
            "Segment Anything",
            "Prompts",
        )

    def _restore(self) -> None:
        """Show what the session is set to."""
        session, options = self.session, self.session.options
        self.tools.value = session.mode
        self.batch.value = session.batch
        self.hover.value = session.hover_preview
        self.overwrite.value = options["overwrite"]
        self.multimask.value = options["multimask"]
        self.region_area.restore(options["min_mask_region_area"])

    def _connect(self) -> None:
        session = self.session
        self.images.changed.connect(self._choose_image)
        self.targets.changed.connect(self._choose_target)
        self.tools.changed.connect(self._choose_tool)
        self.batch.changed.connect(self._choose_batch)
        self.hover.changed.connect(self._choose_hover)
        for item in (self.overwrite, self.multimask, self.region_area):
            item.changed.connect(lambda value, name=item.name: self._option(**{name: value}))
        self.candidates.changed.connect(lambda value: self.attempt(session.choose, int(value)))
        self.objects.picked.connect(self._centre)
        self.status.cancelled.connect(self._stop)
        for signal, slot in (
            (session.draft_changed, self._on_draft),
            (session.preview_changed, self._on_preview),
            (session.objects_changed, self._on_objects),
            (session.history_changed, self._on_history),
            (session.layers_changed, self._on_layers),
            (session.busy_changed, self._on_busy),
            (session.progressed, self._on_progress),
            (session.failed, self._on_error),
            (session.committed, self._on_committed),
            (session.noticed, self._on_notice),
            (session.click_ignored, self._on_ignored),
            (self.viewer.layers.selection.events.active, self._on_active),
        ):
            self.follow(signal, slot)
        self._on_history()

    def _bind_keys(self) -> None:
        actions = (
            ("Enter", self.commit),
            ("Escape", self.cancel),
            ("Shift-C", self.next_candidate),
            ("Alt-Z", self.undo),
            ("Shift-Alt-Z", self.redo),
            ("Shift-E", self.edit_under_mouse),
            ("Shift-D", self.delete_under_mouse),
        )
        self._keys = keys.Keys(self.viewer, self, actions)
        self.at_the_end(self._keys.close)
        self.viewer.mouse_drag_callbacks.append(self._take_up)
        self.at_the_end(lambda: self.viewer.mouse_drag_callbacks.remove(self._take_up))

    def _take_up(self, viewer: Any, event: Any) -> None:
        """Ctrl-click: edit the object there."""
        plain = event.button == 1 and set(event.modifiers) == {"Control"}
        if plain and self.session.mouse.is_ours():
            self.edit_under_mouse()

    # -- what the user does ----------------------------------------------------------------------

    def _later(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Do something after everything that is waiting for a mask."""
        self.session.queue.ask(lambda: self.attempt(action, *arguments))

    def commit(self) -> None:
        """Write the object in progress to the labels."""
        if self.session.draft is None and not self.session.queue.users:
            self.status.say(self._hint)
            return
        self.session.commit_when_decoded()

    def _on_committed(self, ids: tuple[int, ...]) -> None:
        what = f"Object {ids[0]}" if len(ids) == 1 else counted(len(ids), "object")
        self.status.rest(f"{what} committed.")

    @property
    def _hint(self) -> str:
        """Hint for starting an object with the current tool."""
        return HINTS[self.session.mode] if self.images.layers else ""

    def cancel(self) -> None:
        """Discard the object in progress."""
        self.attempt(self.session.cancel_last)
        self.status.rest()

    def _stop(self) -> None:
        if not self.session.models.is_loading:  # the shared session stops that
            self.cancel()

    def next_candidate(self) -> None:
        """Choose the next candidate mask."""
        if self.session.preview is not None:
            self.attempt(self.session.cycle)

    def undo(self) -> None:
        """Undo the last step."""
        self._step(self.session.undo, "Undone", "Nothing to undo.")

    def redo(self) -> None:
        """Redo the step that was undone last."""
        self._step(self.session.redo, "Redone", "Nothing to redo.")

    def _step(self, action: Callable[[], str | None], done: str, nothing: str) -> None:
        def step() -> None:
            what = self.attempt(action)
            self.status.say(f"{done}: {what}." if what else nothing)

        self.session.queue.ask(step)

    def edit_under_mouse(self) -> None:
        """Edit the prompts of the object under the mouse."""
        label = self.attempt(lambda: self.session.commits.object_at_cursor)
        if label is None:
            self.status.say("No object under the mouse.")
        else:
            self._later(self.session.edit, label)

    def delete_under_mouse(self) -> None:
        """Delete the object under the mouse."""
        label = self.attempt(lambda: self.session.commits.object_at_cursor)
        if label is not None:
            self._later(self.session.delete, label)

    def save_table(self) -> None:
        """Save the measures of all objects."""
        ask_and_save(
            "objects.csv",
            "Table (*.csv)",
            self.session.measures.save,
            lambda text: self.status.say(f"{text} {counted(len(self.session.objects), 'row')}."),
            self.status.warn,
        )

    def _choose_image(self, *_: Any) -> None:
        if self.images.layers:
            self._take_mouse()
            self.session.when_loaded(self._prepare)

    def _choose_target(self, layer: Any) -> None:
        if layer is not self.session.target:
            self.attempt(self.session.set_target, layer)
            self.targets.show_layer(
                self.session.target
            )  # still the old one if the new one was refused

    def _choose_tool(self, mode: str) -> None:
        self.session.mode = mode  # type: ignore[assignment]
        if mode != "off":
            self._take_mouse()
        if self.session.draft is None and not self.session.busy:
            self.status.rest(self._hint)

    def _choose_batch(self, on: bool) -> None:
        self.session.batch = on

    def _choose_hover(self, on: bool) -> None:
        self.session.hover_preview = on
        self.settings.set("prompt", hover=on)

    def _option(self, **options: Any) -> None:
        self.attempt(lambda: self.session.set_options(**options))
        self.settings.set("prompt", **options)

    def _centre(self, label: int) -> None:
        item = self.session.objects.get(label)
        if item is None or not len(item.prompts):
            return
        low_row, low_col, high_row, high_col = item.prompts.extent()
        middle = ((low_row + high_row) / 2, (low_col + high_col) / 2)
        self.attempt(self.session.centre, middle, item.plane)
        if self.session.target is not None:
            self.session.target.selected_label = label

    # -- what the session says -------------------------------------------------------------------

    def _on_draft(self) -> None:
        going = self.session.draft is not None
        self.commit_button.setEnabled(going)
        self.cancel_button.setEnabled(going)
        if not going:
            self.candidates.show_scores()
        self.painting.update_tools()

    def _on_preview(self, preview: Any) -> None:
        self.painting.update_tools()
        if preview is None or len(preview.objects) != 1:
            self.candidates.show_scores()
            if preview is not None:
                them = counted(len(preview.objects), "object")
                self.status.rest(f"{them}; Enter commits them.")
            return
        self.candidates.show_scores(preview.scores, preview.chosen)
        if not self.session.busy:
            draft = self.session.draft
            editing = None if draft is None else draft.editing
            what = "commits" if editing is None else f"replaces object {editing}"
            self.status.rest(f"Enter {what}; right-click on what does not belong to it.")

    def _on_objects(self, ids: Any = None) -> None:
        session = self.session
        self.objects.show_objects(session.objects, session.locked, session.hidden)
        self.actions.refresh()
        self.table_button.setEnabled(self.objects.rowCount() > 0)

    def _on_history(self) -> None:
        self.undo_button.setEnabled(self.session.can_undo)
        self.redo_button.setEnabled(self.session.can_redo)

    def _on_layers(self) -> None:
        target = self.session.target
        self.targets.reset_choices()
        self.targets.show_layer(target)
        self._on_objects()
        self._on_history()
        if not self.images.layers:
            self.status.say("Open an image: File > Open, or File > Open Sample.")

    def _on_busy(self, busy: bool) -> None:
        if self.session.models.is_loading:
            return  # shown by the shared session
        if busy:
            self.status.busy("Working …", stoppable=True, doing="")
        else:
            self._on_preview(self.session.preview)
            if self.session.draft is None:
                self.status.rest(self._hint)

    def _on_ignored(self, why: str) -> None:
        if self.status.text == self._hint:
            self.status.rest()
        name = self.images.layers[0].name if self.images.layers else ""
        image = name if 0 < len(name) <= _SHORT else "the image"
        self.notices.tell("click", why, (f"Click on {image}", self._take_mouse))

    def _on_notice(self, notice: Notice) -> None:
        if notice.text:
            actions = () if notice.action is None else (notice.action,)
            self.notices.tell(notice.topic, notice.text, *actions, ("OK", lambda: None))
        else:
            self.notices.drop(notice.topic)

    def _on_active(self, event: Any = None) -> None:
        if self.session.mouse.listens():
            self.notices.drop("click")

    def _on_progress(self, step: Progress) -> None:
        if self.session.busy and not self.session.models.is_loading:
            self.status.show_progress(step)

    def _on_error(self, error: BaseException) -> None:
        self.status.rest()
        self.status.warn(error)


def _check(name: str, tip: str) -> CheckBox:
    box = CheckBox(name=name, text=name.capitalize(), tooltip=f"<b>{name}</b><br>{tip}")
    box.native.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return box
