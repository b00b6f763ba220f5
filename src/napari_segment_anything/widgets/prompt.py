"""The widget "Segment Anything": click, drag or scribble, see the mask, commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import napari
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from ..bridge.viewer.viewer_model import Notice
from ..engine import Window
from ..errors import SegmentAnythingError
from ..progress import Progress
from ..wording import counted
from . import keys
from .choosers import ImageChooser, labels_box
from .exports import save_measures
from .forms import Number
from .model_box import ModelBox
from .notices import Notices
from .object_list import ObjectList
from .painting import PaintTools
from .panel import fill_panel
from .parts import (
    Candidates,
    Fold,
    KeyList,
    Segmented,
    Status,
    button,
    check,
    column,
    form,
    heading,
    row,
    wide,
)
from .recovery import RecoveryOffer
from .shared import WindowWatch, shared_session
from .tools import HINTS, TOOLS

MULTIMASK = {"auto": "auto", "always three": True, "one": False}
_SHORT = 20


class PromptWidget(QWidget):
    """Prompts one object after the other, or many at once, on a viewer's image.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._shared = shared_session(self.viewer)
        self.session = self._shared.session
        self._settings = self._shared.settings
        self._open = True
        self._build()
        self._restore()
        self._connect()
        self._bind_keys()
        self._watch = WindowWatch(self, self.shut)
        self.recovery = RecoveryOffer(self._shared, self.notices, self.status, self)
        self._on_layers()
        self._on_draft()
        self._take_mouse()
        self.session.when_loaded(self._prepare)  # so that the first click need not wait for it

    def _prepare(self) -> None:
        """Make the layers that prompts and masks are shown on; napari takes a moment for each."""
        if self._open and self.images.layers:
            with suppress(SegmentAnythingError):
                rows, cols = self.session.view.axes.rows_cols
                size = self.session.model.image_size
                window = Window(0, 0, min(rows, size), min(cols, size))
                self.session.working.prepare(self.session.plane, window)

    def _take_mouse(self) -> None:
        """Make the image that is chosen the active layer, so that clicks on it are prompts."""
        if self.images.layers:
            self._try(self.session.take_mouse)

    # -- layout ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.images = ImageChooser(self.viewer, self._shared.images)
        self.models = ModelBox()
        self.targets = labels_box(self.viewer, "new layer")
        self.targets.setToolTip("target: the Labels layer that objects go to")
        chosen, fields = form()
        fields.addRow("Image", self.images)
        fields.addRow("Model", self.models)
        fields.addRow("Labels", self.targets)

        self.tools = Segmented(TOOLS)
        self.batch = check("Batch", "Every click and every box is an object of its own")
        self.hover = check("Hover", "Show the mask under the mouse before any click")
        self.overwrite = check(
            "Overwrite", "overwrite: a new object takes pixels from labels that are there already"
        )

        self.candidates = Candidates()
        self.commit_button = button("Commit", self.commit, "Write the object to the labels (Enter)")
        self.cancel_button = button("Cancel", self.cancel, "Drop the object in progress (Esc)")
        self.undo_button = button("Undo", self.undo, "Take the last step back (Alt-Z)")
        self.redo_button = button("Redo", self.redo, "Take it again (Shift-Alt-Z)")
        self.painting = PaintTools(self.session, self._try, self.commit)
        self.notices = Notices()
        self.status = Status()

        self.objects = ObjectList()
        self.edit_button = button(
            "Edit", self.edit_selected, "Take the object's prompts up again (Shift-E: under mouse)"
        )
        self.delete_button = button(
            "Delete", self.delete_selected, "Remove the objects (Shift-D: the one under the mouse)"
        )
        self.merge_button = button("Merge", self.merge_selected, "Make the objects one")
        self.hide_button = button("Hide", self.hide_selected, "Draw the objects, or not")
        self.lock_button = button(
            "Lock", self.lock_selected, "Protect the objects: nothing changes them or takes pixels"
        )
        self.table_button = button(
            "Save table …", self.save_table, "Area, shape, intensities, score and seconds as CSV"
        )

        self.table_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.multimask = wide(QComboBox())
        self.multimask.addItems(list(MULTIMASK))
        self.multimask.setToolTip("multimask: how many masks a prompt gives")
        self.region_area = wide(Number(-1, 2**31 - 1, 0, none="model's"))
        self.region_area.setToolTip(
            "min_mask_region_area: fill holes and drop islands with fewer pixels"
        )
        more, rows = form()
        rows.addRow("Masks", self.multimask)
        rows.addRow("Clean below", self.region_area)
        self.options = Fold("Options", more)
        self.key_list = Fold("Mouse and keys", KeyList(keys.SHOWN))

        fill_panel(
            self,
            (
                chosen,
                self.tools,
                row(self.batch, self.hover, self.overwrite, None),
                heading("This object"),
                self.candidates,
                self.painting,
                row(self.commit_button, self.cancel_button, self.undo_button, self.redo_button),
                column(self.options, self.key_list, space=0),
                row(heading("Objects"), self.table_button),
                row(
                    self.edit_button,
                    self.delete_button,
                    self.merge_button,
                    self.hide_button,
                    self.lock_button,
                    None,
                ),
                self.objects,
            ),
            (self.notices, self.status),
            "Segment Anything",
            "Prompts",
        )

    def _restore(self) -> None:
        """Show what the session is set to."""
        session, options = self.session, self.session.options
        self.tools.value = session.mode
        self.batch.setChecked(session.batch)
        self.hover.setChecked(session.hover_preview)
        self.overwrite.setChecked(options["overwrite"])
        words = {value: word for word, value in MULTIMASK.items()}
        self.multimask.setCurrentText(words[options["multimask"]])
        area = options["min_mask_region_area"]
        self.region_area.setValue(-1 if area is None else area)

    def _connect(self) -> None:
        self.images.changed.connect(self._choose_image)
        self._unbind_model = self._shared.bind_model(self.models, self.notices, self.status)
        self.targets.chosen.connect(self._choose_target)
        self.tools.changed.connect(self._choose_tool)
        self.batch.toggled.connect(self._choose_batch)
        self.hover.toggled.connect(self._choose_hover)
        self.overwrite.toggled.connect(lambda on: self._option(overwrite=on))
        self.multimask.currentTextChanged.connect(
            lambda word: self._option(multimask=MULTIMASK[word])
        )
        self.region_area.valueChanged.connect(
            lambda area: self._option(min_mask_region_area=None if area < 0 else int(area))
        )
        self.candidates.changed.connect(lambda value: self._try(self.session.choose, int(value)))
        self.objects.picked.connect(self._centre)
        self.objects.cellDoubleClicked.connect(lambda *_: self.edit_selected())
        self.objects.selection_changed.connect(self._on_selection)
        self.status.cancelled.connect(self._stop)
        session = self.session
        self._links: list[tuple[Any, Callable[..., Any]]] = [
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
        ]
        for signal, slot in self._links:
            signal.connect(slot)
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
        self.viewer.mouse_drag_callbacks.append(self._take_up)

    def _take_up(self, viewer: Any, event: Any) -> None:
        """Ctrl-click: edit the object there."""
        plain = event.button == 1 and set(event.modifiers) == {"Control"}
        if plain and self.session.takes_mouse():
            self.edit_under_mouse()

    def shut(self) -> None:
        """Let go of the viewer."""
        if not self._open:
            return
        self._open = False
        for signal, slot in self._links:
            signal.disconnect(slot)
        self._unbind_model()
        self._keys.close()
        if self._take_up in self.viewer.mouse_drag_callbacks:
            self.viewer.mouse_drag_callbacks.remove(self._take_up)
        self.recovery.close_down()
        self.images.close_down()
        self.targets.close_down()
        self._shared.leave(self.viewer)

    # -- what the user does ----------------------------------------------------------------------

    def _try(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Do something, and say so if it cannot be done."""
        try:
            return action(*arguments)
        except SegmentAnythingError as error:
            self.status.warn(error)
            return None

    def _later(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Do something after all that waits for a mask."""
        self.session.in_order(lambda: self._try(action, *arguments))

    def commit(self) -> None:
        """Write the object in progress to the labels."""
        if self.session.draft is None and not self.session.waiting:
            self.status.say(self._hint)
            return
        self.session.commit_when_decoded()

    def _on_committed(self, ids: tuple[int, ...]) -> None:
        what = f"Object {ids[0]}" if len(ids) == 1 else counted(len(ids), "object")
        self.status.rest(f"{what} committed.")

    @property
    def _hint(self) -> str:
        """How an object is begun with the tool in use."""
        return HINTS[self.session.mode] if self.images.layers else ""

    def cancel(self) -> None:
        """Drop the object in progress."""
        self._try(self.session.cancel_last)
        self.status.rest()

    def _stop(self) -> None:
        if not self.session.is_loading:  # the shared session stops that
            self.cancel()

    def next_candidate(self) -> None:
        """Take the next mask for the same prompts."""
        if self.session.preview is not None:
            self._try(self.session.cycle)

    def undo(self) -> None:
        """Take the last step back."""
        self._step(self.session.undo, "Undone", "Nothing to undo.")

    def redo(self) -> None:
        """Take a step again that was taken back."""
        self._step(self.session.redo, "Done again", "Nothing to redo.")

    def _step(self, action: Callable[[], str | None], done: str, nothing: str) -> None:
        def step() -> None:
            what = self._try(action)
            self.status.say(f"{done}: {what}." if what else nothing)

        self.session.in_order(step)

    def edit_selected(self) -> None:
        """Take up the prompts of the object that is selected in the list."""
        if self.objects.selected:
            self._later(self.session.edit, self.objects.selected[0])

    def edit_under_mouse(self) -> None:
        """Take up the prompts of the object under the mouse."""
        label = self._try(lambda: self.session.object_at_cursor)
        if label is None:
            self.status.say("No object under the mouse.")
        else:
            self._later(self.session.edit, label)

    def delete_selected(self) -> None:
        """Remove the objects that are selected in the list."""
        if self.objects.selected:
            self._later(self.session.delete, self.objects.selected)

    def delete_under_mouse(self) -> None:
        """Remove the object under the mouse."""
        label = self._try(lambda: self.session.object_at_cursor)
        if label is not None:
            self._later(self.session.delete, label)

    def merge_selected(self) -> None:
        """Make one object of those that are selected in the list."""
        if len(self.objects.selected) > 1:
            self._later(self.session.merge, self.objects.selected)

    def hide_selected(self) -> None:
        """Hide the objects that are selected in the list, or show them if all are hidden."""
        chosen = self.objects.selected
        on = not self.session.hidden.issuperset(chosen)
        self._later(lambda: self.session.hide(chosen, on))

    def lock_selected(self) -> None:
        """Lock the objects that are selected in the list, or unlock them if all are locked."""
        chosen = self.objects.selected
        on = not self.session.locked.issuperset(chosen)
        self._later(lambda: self.session.lock(chosen, on))

    def save_table(self) -> None:
        """Save the measures of all objects."""
        save_measures(self, self.session, self.status)

    def _choose_image(self) -> None:
        layers = self.images.layers
        if layers:
            self._take_mouse()
            self.session.when_loaded(self._prepare)

    def _choose_target(self, layer: Any) -> None:
        if layer is not self.session.target:
            self._try(self.session.set_target, layer)
            self.targets.show_layer(self.session.target)  # the old one, if it was refused

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
        self._settings.set("prompt", hover=on)

    def _option(self, **options: Any) -> None:
        self._try(lambda: self.session.set_options(**options))
        self._settings.set("prompt", **options)

    def _centre(self, label: int) -> None:
        item = self.session.objects.get(label)
        if item is None or not len(item.prompts):
            return
        low_row, low_col, high_row, high_col = item.prompts.extent()
        middle = ((low_row + high_row) / 2, (low_col + high_col) / 2)
        self._try(self.session.centre, middle, item.plane)
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
                self.status.rest(f"{them}; Enter commits what is there.")
            return
        self.candidates.show_scores(preview.scores, preview.chosen)
        if not self.session.busy:
            draft = self.session.draft
            editing = None if draft is None else draft.editing
            what = "commits" if editing is None else f"replaces object {editing}"
            self.status.rest(f"Enter {what}; right click where it should not be.")

    def _on_objects(self, ids: Any = None) -> None:
        session = self.session
        self.objects.show_objects(session.objects, session.locked, session.hidden)
        self._on_selection()

    def _on_selection(self) -> None:
        chosen, session = self.objects.selected, self.session
        count = len(chosen)
        for item in (self.hide_button, self.lock_button):
            item.setEnabled(count > 0)
        self.hide_button.setText("Show" if session.hidden.issuperset(chosen) and count else "Hide")
        self.lock_button.setText(
            "Unlock" if session.locked.issuperset(chosen) and count else "Lock"
        )
        self.table_button.setEnabled(self.objects.rowCount() > 0)
        self.edit_button.setEnabled(count == 1)
        self.delete_button.setEnabled(count > 0)
        self.merge_button.setEnabled(count > 1)

    def _on_history(self) -> None:
        self.undo_button.setEnabled(self.session.can_undo)
        self.redo_button.setEnabled(self.session.can_redo)

    def _on_layers(self) -> None:
        target = self.session.target
        self.targets.refresh()
        self.targets.show_layer(target)
        self._on_objects()
        self._on_history()
        if not self.images.layers:
            self.status.say("Open an image: File > Open, or File > Open Sample.")

    def _on_busy(self, busy: bool) -> None:
        if self.session.is_loading:
            return  # the shared session shows that
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
        if self.session.busy and not self.session.is_loading:
            self.status.show_progress(step)

    def _on_error(self, error: BaseException) -> None:
        self.status.rest()
        self.status.warn(error)
