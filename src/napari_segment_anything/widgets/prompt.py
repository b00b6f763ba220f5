"""The widget "Segment Anything": click, drag or scribble, see the mask, commit."""

from __future__ import annotations

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
from ..wording import counted
from . import keys
from .exports import ask_and_save
from .forms import ParameterField, QtField, plain
from .layer_box import labels_box
from .object_actions import ObjectActions
from .object_list import ObjectList
from .panel import Panel
from .prompting import Prompting
from .qt_helpers import ChoiceButtons, KeyList, button, heading, row
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
        self._image: Any = None
        """The layer that was chosen last."""
        self._build()
        self._restore()
        self._connect()
        self.recovery = RecoveryOffer(self)
        self.at_the_end(self.recovery.close_down)
        self._on_layers()
        self._image = self.images.value
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

        self.prompting = Prompting(self, lambda: self._hint)
        self.objects = ObjectList()
        self.shared.selected_objects = lambda: [] if self.is_shut else self.objects.selected
        self.actions = ObjectActions(self.session, self.objects, self.prompting.later)
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
                self.prompting,
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
        self.objects.picked.connect(self._centre)
        for signal, slot in (
            (session.objects_changed, self._on_objects),
            (session.layers_changed, self._on_layers),
            (session.noticed, self._on_notice),
            (session.click_ignored, self._on_ignored),
            (self.viewer.layers.selection.events.active, self._on_active),
        ):
            self.follow(signal, slot)

    # -- what the user does ----------------------------------------------------------------------

    @property
    def _hint(self) -> str:
        """Hint for starting an object with the current tool."""
        return HINTS[self.session.mode] if self.images.layers else ""

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
        before, self._image = self._image, self.images.value
        if self.images.layers:
            self._take_mouse()
            if before is None or before in self.viewer.layers:  # chosen, not what is left
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

    def _on_objects(self, ids: Any = None) -> None:
        session = self.session
        self.objects.show_objects(session.objects, session.locked, session.hidden)
        self.actions.refresh()
        self.table_button.setEnabled(self.objects.rowCount() > 0)

    def _on_layers(self) -> None:
        target = self.session.target
        self.targets.reset_choices()
        self.targets.show_layer(target)
        self._on_objects()
        self.prompting.refresh()
        if not self.images.layers:
            self.status.say("Open an image: File > Open, or File > Open Sample.")

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


def _check(name: str, tip: str) -> CheckBox:
    box = CheckBox(name=name, text=name.capitalize(), tooltip=f"<b>{name}</b><br>{tip}")
    box.native.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return box
