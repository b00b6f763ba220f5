"""An audit in a viewer: one mask or field after the other, corrected apart from the labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from psygnal import Signal

from ...automatic.candidates import placed
from ...engine import PlacedMask, Window
from ...errors import PromptError
from ...formats import encode_labels
from ...projects.audit import Audit
from ...session import ArrayTarget, Session, SuggestedMask
from .clock import ActiveClock
from .layers import show_window
from .opening import ImageAhead, pyramid, read_ahead
from .outline_layer import Outline, OutlineLayer, outline_of
from .threads import OrderedThread

if TYPE_CHECKING:
    from .project_session import ProjectSession

_Prepared: TypeAlias = tuple[ImageAhead, list[tuple[int, Outline]], tuple[np.ndarray, ...]]
_COLOURS = {"others": "#9aa0a6", "field": "#ffd34d"}


@dataclass(frozen=True, slots=True)
class AuditItem:
    """What is asked about.

    Parameters
    ----------
    kind : {"mask", "field"}
    number : int
        Its position in the sample.
    image : str
        Key of its image.
    window : Window
        Where it lies.
    mask : PlacedMask or None
        None for a field.
    score : float or None
    class_name : str
        Of the mask; "" for none.
    """

    kind: str
    number: int
    image: str
    window: Window
    mask: PlacedMask | None = None
    score: float | None = None
    class_name: str = ""


class AuditRound:
    """Asks about the masks and fields of an audit. Answers change nothing of the project's labels.

    A drawn mask is shown as an object in progress, which prompts and the brush correct. In a drawn
    field, objects without a mask are prompted. `done` records what there is then.

    Parameters
    ----------
    owner : ProjectSession
        Its image is left.
    audit : Audit
    """

    asked = Signal(object)
    """Emits the `AuditItem` that is shown, or None at the end."""

    def __init__(self, owner: ProjectSession, audit: Audit) -> None:
        self._owner, self._session = owner, owner.session
        self.audit = audit
        self.item: AuditItem | None = None
        """What is asked about now."""
        self._thread = OrderedThread("segment-anything-audit", owner.dispatch)
        self._outlines = OutlineLayer(owner.session.viewer, "audit", _COLOURS)
        self._ahead: ImageAhead | None = None
        self._lines: list[tuple[str, Outline]] = []
        self._clock = ActiveClock(float(owner.project.settings["pause_seconds"]))
        self._scratch: Session | None = None
        self._changed: Window | None = None
        self._moving = self.is_closed = False
        self._masks, self._fields = audit.open_masks(), audit.open_fields()
        owner.leave()

    @property
    def left(self) -> tuple[int, int]:
        """Masks and fields without an answer."""
        return len(self._masks), len(self._fields)

    def begin(self) -> None:
        """Show the first that has no answer."""
        self._session.when_loaded(self._next)

    def _next(self) -> None:
        if self.is_closed:
            return
        sample = self.audit.sample
        if self._masks:
            drawn = sample.masks[self._masks[0]]
            mask = placed(drawn.rle)
            item = AuditItem(
                "mask", self._masks[0], drawn.image, mask.window, mask, drawn.score,
                sample.strata[drawn.stratum].class_name,
            )  # fmt: skip
        elif self._fields:
            field = sample.fields[self._fields[0]]
            window = Window(field.row, field.col, field.height, field.width)
            item = AuditItem("field", self._fields[0], field.image, window)
        else:
            self.item = None
            self._clear()
            self.asked.emit(None)
            return
        image = self._owner.project.image(item.image)
        read = self._ahead
        known = read if read is not None and read.image.key == item.image else None

        def work() -> _Prepared:
            ahead = known or read_ahead(image)
            held = self.audit.masks_of(item.image)
            outlines = []
            for number, rle in {**held.automatic, **held.trusted}.items():
                mask = placed(rle)
                outlines.append((number, outline_of(mask, ahead.source.shape)))
            return ahead, outlines, pyramid(np.zeros(ahead.source.shape, np.uint16))

        self._thread.run(work, partial(self._show, item), self._session.report)

    def _show(self, item: AuditItem, found: _Prepared) -> None:
        if self.is_closed:
            return
        ahead, outlines, labels = found
        self._ahead = ahead
        scratch = Session(
            self._session.predictor, ahead.source, ArrayTarget(labels[0]), clock=self._clock
        )
        self._moving = True
        try:
            self._session.lend(
                scratch, partial(self._owner.layers.show, ahead, labels), self._dropped
            )
        finally:
            self._moving = False
        scratch.class_name = item.class_name
        self._scratch = self._owner.apart = scratch
        self._changed = None
        scratch.events.target_changed.connect(self._on_labels)
        self.item = item
        lines = [("others", line) for _, line in outlines]
        if item.kind == "field":
            lines.append(("field", _frame(item.window, ahead.source.shape)))
        image = self._owner.layers.images[0]
        self._outlines.show(image, ahead.source.shape, lines)
        show_window(self._session.viewer, image, item.window, 1.2 if item.kind == "field" else 4)
        if item.mask is not None:
            self._session.prompts.take_up(SuggestedMask(0, item.mask, item.score or 0.0))
        self._clock()
        self._since = self._clock.peek()
        self.asked.emit(item)

    def done(self) -> None:
        """Record what there is as the answer, and go on once it is on the disk.

        The object in progress is committed first. The mask of an answer is what a person made of
        the drawn one.
        """
        if self.item is not None:
            if self._session.draft is not None:
                self._session.commit_when_decoded()
            self._session.when_loaded(partial(self._record, self.item, True))

    def reject(self) -> None:
        """Record that a drawn mask is no object, or that a field lacks none, and go on."""
        if self.item is not None:
            self._session.when_loaded(partial(self._record, self.item, False))

    def _record(self, item: AuditItem, objects: bool) -> None:
        scratch = self._scratch
        if self.item is not item or scratch is None:  # it is being recorded
            return
        window, labels = Window(0, 0, 1, 1), np.zeros((1, 1), np.int32)  # nothing
        if objects and self._changed is not None:
            window = self._changed
            labels = np.array(scratch.target.read((), window))
        if objects and item.kind == "mask" and not labels.any():
            self._session.report(PromptError("there is no object; reject the mask instead"))
            return
        self._scratch, made = None, scratch.objects
        seconds, by = self._clock() - self._since, self._owner.who
        answer = self.audit.answer_mask if item.kind == "mask" else self.audit.answer_field

        def work() -> Any:
            codes = encode_labels(labels, (window.row, window.col), scratch.source.shape)
            names = [made[label].class_name if label in made else "" for label in codes]
            classes = names if self.audit.sample.classes else None
            masks = list(codes.values())
            return answer(item.number, masks, classes=classes, seconds=seconds, by=by)

        def done(recorded: Any) -> None:
            (self._masks if item.kind == "mask" else self._fields).remove(item.number)
            self._next()

        def failed(error: Exception) -> None:
            if self.item is item:  # to be answered again
                self._scratch = scratch
            self._session.report(error)

        self._thread.run(work, done, failed)

    def _on_labels(self, plane: tuple[int, ...], window: Window) -> None:
        self._changed = window if self._changed is None else self._changed.union(window)

    def _dropped(self) -> None:
        if not self._moving:
            self.close()

    def _clear(self) -> None:
        self._moving = True
        try:
            self._outlines.remove()
            if not self._session.is_closed:
                self._owner.layers.remove()
        finally:
            self._moving = False
        self._scratch = self._owner.apart = None

    def close(self) -> None:
        """End the round; answers are kept."""
        if not self.is_closed:
            self.is_closed = True
            self.item = None
            self._clear()
            self._thread.close()
            self.asked.emit(None)


def _frame(window: Window, shape: tuple[int, int]) -> Outline:
    """Return the outline of a rectangle."""
    return outline_of(PlacedMask.of(np.ones(window.shape, bool), window.row, window.col), shape)
