"""What a session is made of: its state, its one line of history, its journal, its events."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch
from psygnal import Signal, SignalGroup

from ..engine import PlaneSource, Predictor, Window
from ..errors import ParameterError, PromptError, ResourceError
from ..wording import counted
from .decoding import EmbeddingStore
from .draft import Draft
from .history import Action, Edit, History
from .journal import Journal
from .label_edits import Extents, Work, apply, touched
from .objects import ObjectPrompts, SessionObject
from .precompute import WindowList
from .regions import window_from, window_json
from .results import DecodedResults
from .target import LabelTarget
from .timing import Stopwatch, at_one_time


class SessionEvents(SignalGroup):
    """What a session tells others; always after the change, on the thread that made it."""

    draft_changed = Signal()
    """Prompts of the object in progress, or its chosen candidate."""
    preview_changed = Signal()
    """There are other masks to show, or none any more."""
    objects_changed = Signal(tuple)
    """Committed objects: emits their labels."""
    target_changed = Signal(tuple, Window)
    """Labels were written: emits the plane and the window."""
    history_changed = Signal()
    """What can be undone or redone."""


class SessionCore:
    """State of a session; see `Session`."""

    def __init__(
        self,
        predictor: Predictor,
        source: PlaneSource,
        target: LabelTarget,
        *,
        journal: Journal | str | os.PathLike[str] | None = None,
        window_size: int | None = None,
        overwrite: bool = False,
        multimask: Any = "auto",
        min_mask_region_area: float | None = None,
        on_journal_lost: Callable[[ResourceError], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events = SessionEvents()
        self._predictor = predictor
        self.source = source
        self.target = target
        self._journal = (
            journal if journal is None or isinstance(journal, Journal) else Journal(journal)
        )
        self._on_journal_lost = on_journal_lost
        if window_size is not None and int(window_size) < 1:
            raise ParameterError(f"window_size is at least 1 pixel, not {window_size}")
        self.window_size = window_size
        self._overwrite = bool(overwrite)
        self._multimask = _checked_multimask(multimask)
        self._min_area = _checked_area(min_mask_region_area)
        self._watch = Stopwatch(clock)
        self._draft: Draft | None = None
        self._objects: dict[int, SessionObject] = {}
        self._locked: set[int] = set()
        self._history = History()
        self._extents: Extents | None = None
        self._next_id = 0
        self._reserved = 0
        self._revisions = 0
        self._epoch = 0
        self._results = DecodedResults()
        self._store = EmbeddingStore()
        self._ahead: dict[tuple[int, ...], WindowList] = {}
        self._recorded: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        objects = counted(len(self._objects), "object")
        going = "" if self._draft is None else ", one in progress"
        name = self.source.name or "an image"
        shape = " x ".join(str(n) for n in self.source.data_shape)
        return f"<Session: {name} ({shape}), {objects}{going}, model {self._predictor.model.name}>"

    # -- settings --------------------------------------------------------------------------------

    @property
    def predictor(self) -> Predictor:
        """The predictor in use; see `set_predictor`."""
        return self._predictor

    def set_predictor(self, predictor: Predictor) -> None:
        """Use another model, in mid-object too: its prompts stay and are decoded anew.

        Embeddings and masks of the old model are dropped; committed objects keep theirs.
        """
        if predictor is self._predictor:
            return
        self._predictor = predictor
        self._ahead.clear()
        self._forget()
        self._record({"do": "model", "model": model_json(predictor)})
        self.events.preview_changed.emit()

    @property
    def overwrite(self) -> bool:
        """Whether a new object takes pixels from other labels; they are kept if not."""
        return self._overwrite

    @overwrite.setter
    def overwrite(self, value: bool) -> None:
        if bool(value) != self._overwrite:
            self._overwrite = bool(value)
            self._record({"do": "settings", "overwrite": self._overwrite})

    @property
    def multimask(self) -> Any:
        """Which candidates there are.

        "auto": three (whole, part, subpart) for a single point; for more prompts the mask meant
        for these and the three besides. True: three always. False: the one.
        """
        return self._multimask

    @multimask.setter
    def multimask(self, value: Any) -> None:
        if value != self._multimask or type(value) is not type(self._multimask):
            self._multimask = _checked_multimask(value)
            self._forget()
            self._record({"do": "settings", "multimask": self._multimask})
            self.events.preview_changed.emit()

    @property
    def min_mask_region_area(self) -> float | None:
        """Holes and islands smaller than this are cleaned away; None is the model's own value."""
        return self._min_area

    @min_mask_region_area.setter
    def min_mask_region_area(self, value: float | None) -> None:
        if value != self._min_area:
            self._min_area = _checked_area(value)
            self._forget()
            self._record({"do": "settings", "min_mask_region_area": self._min_area})
            self.events.preview_changed.emit()

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values, by parameter name."""
        return {
            "window_size": self.window_size,
            "overwrite": self._overwrite,
            "multimask": self._multimask,
            "min_mask_region_area": self._min_area,
        }

    def _forget(self) -> None:
        """Drop what was decoded; the prompts stay."""
        self._epoch += 1
        self._results.clear()
        self._store.clear()

    # -- state -----------------------------------------------------------------------------------

    @property
    def draft(self) -> Draft | None:
        """What is in progress, immutable; None if nothing is."""
        return self._draft

    @property
    def objects(self) -> dict[int, SessionObject]:
        """Committed objects by label, a copy. Labels from before the session are not among them."""
        return dict(self._objects)

    @property
    def next_id(self) -> int:
        """The label that the next object gets; all labels are below it."""
        self._known_extents()
        return max(self._next_id, self._reserved)

    @property
    def locked(self) -> frozenset[int]:
        """Labels that are finished; see `lock`."""
        return frozenset(self._locked)

    def lock(self, ids: Iterable[int], on: bool = True) -> None:
        """Lock objects, or unlock them. Is no step of the history, but recorded.

        A locked object is neither edited nor deleted, merged, split or relabelled, and new
        objects leave its pixels alone. What was done before can be undone, and what others paint
        is taken over.
        """
        changed = sorted({int(label) for label in ids if (int(label) in self._locked) != on})
        if changed:
            self._locked.symmetric_difference_update(changed)
            self._record({"do": "lock", "ids": changed, "on": on})
            self.events.objects_changed.emit(tuple(changed))

    def _require_unlocked(self, label: int) -> None:
        if label in self._locked:
            raise PromptError(f"object {label} is locked; unlock it first")

    @property
    def journal(self) -> Journal | None:
        """The journal, if there is one."""
        return self._journal

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to take back."""
        return bool(self._history.done)

    @property
    def can_redo(self) -> bool:
        """Whether an action was taken back last."""
        return bool(self._history.undone)

    @at_one_time
    def undo(self) -> str | None:
        """Take the last action back, of whatever kind and on whatever plane.

        Returns
        -------
        str or None
            What it was; None if there is nothing to take back.
        """
        if not self._history.done:
            return None
        action = self._history.done[-1]
        edit = None if action.edit is None else action.edit.inverse()
        self._apply(edit, {"do": "undo"})
        self._history.undone.append(self._history.done.pop())
        self._show(action.before, edit)
        return action.description

    @at_one_time
    def redo(self) -> str | None:
        """Do again what was taken back last.

        Returns
        -------
        str or None
            What it is; None if there is nothing.
        """
        if not self._history.undone:
            return None
        action = self._history.undone[-1]
        self._apply(action.edit, {"do": "redo"})
        self._history.done.append(self._history.undone.pop())
        self._show(action.after, action.edit)
        return action.description

    @at_one_time
    def _perform(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        description: str,
        after: Draft | None,
        edit: Edit | None = None,
    ) -> None:
        """Journal, do and remember an action. If it fails, everything is as it was."""
        event: dict[str, Any] = {"do": kind, **arguments}
        if edit is not None:
            event["edit"] = edit.to_json()
        elif after is not None:
            event["window"] = window_json(after.window)
        action = Action(description, self._draft, after, edit)
        self._apply(edit, event)
        self._history.push(action)
        self._show(after, edit)

    def _apply(self, edit: Edit | None, event: Mapping[str, Any]) -> None:
        self._record(event, durable=edit is not None)
        if edit is None:
            return
        extents = self._known_extents()
        try:
            apply(self.target, edit.patches)
        except BaseException:
            with contextlib.suppress(Exception):  # what failed once may fail again
                apply(self.target, edit.inverse().patches)
            self._record({"do": "void"}, durable=True)
            raise
        for patch in edit.patches:
            extents.grow(patch)
        for label, _, after in edit.objects:
            if after is None:
                self._objects.pop(label, None)
            else:
                self._objects[label] = after
        self._next_id = edit.next_id[1]

    def _show(self, draft: Draft | None, edit: Edit | None) -> None:
        """Take over a draft and tell everybody what has changed."""
        before, self._draft = self._draft, self._running(draft)
        events = self.events
        if edit is not None:
            for plane, window in touched(edit.patches):
                events.target_changed.emit(plane, window)
            if edit.objects:
                events.objects_changed.emit(edit.ids)
        if before is not draft:
            events.draft_changed.emit()
            if self._shows_other(before, self._draft):
                events.preview_changed.emit()
        events.history_changed.emit()

    def _running(self, draft: Draft | None) -> Draft | None:
        """Return a draft whose time goes on from now."""
        if draft is None:
            return None
        spent = draft.seconds if self._draft is None else self._spent(self._draft)
        return replace(draft, seconds=max(spent, draft.seconds), started=self._watch.now())

    def _spent(self, draft: Draft) -> float:
        return round(draft.seconds + self._watch.now() - draft.started, 6)

    def _shows_other(self, before: Draft | None, after: Draft | None) -> bool:
        """Whether masks change now, and not only when the draft is decoded."""
        if after is None or before is None or after.plane != before.plane:
            return True
        if after.revision in self._results or after.painted != before.painted:
            return True
        return not any(prompts.decodable for prompts in after.objects().values())

    # -- objects ---------------------------------------------------------------------------------

    def _known_extents(self) -> Extents:
        if self._extents is None:
            first = self.target.largest() + 1
            self._extents = Extents(first)
            self._next_id = max(self._next_id, first)
        return self._extents

    def _begin_ids(self, first: int) -> None:
        """Take `first` as the first label of the session's own, without looking."""
        self._extents = Extents(first)
        self._next_id = first

    def reserve(self, label: int) -> None:
        """Give no label up to this one from now on: others who write to the same labels use it.

        Is no step of the history.
        """
        self._known_extents()
        if int(label) >= max(self._next_id, self._reserved):
            self._reserved = int(label) + 1
            self._record({"do": "reserve", "label": int(label)})

    def _work(self) -> Work:
        extents = self._known_extents()
        first = max(self._next_id, self._reserved)
        return Work(self.target, self.source, extents, self._objects, first)

    def _embedded(self, plane: tuple[int, ...], prompts: ObjectPrompts) -> list[Window]:
        """Return windows around prompts that were embedded before the session."""
        cache = self._predictor.cache
        if cache is None or cache.directory is None:
            return []
        if plane not in self._ahead:
            self._ahead[plane] = WindowList(cache, self.source, plane, self._predictor.model)
        return self._ahead[plane].around(prompts.extent())

    def _planned_window(self, window: Window | None) -> Window | None:
        """Return a window, or, while recorded events are gone through, the recorded one."""
        if self._recorded is None or "window" not in self._recorded:
            return window
        recorded = self._recorded["window"]
        return None if recorded is None else window_from(recorded)

    def _next_revision(self) -> int:
        self._revisions += 1
        return self._revisions

    def _require_no_draft(self) -> None:
        if self._draft is not None and not self._draft.empty:
            raise PromptError("there is an object in progress; commit or cancel it first")

    # -- journal ---------------------------------------------------------------------------------

    def _record(self, event: Mapping[str, Any], durable: bool = False) -> None:
        if self._journal is None:
            return
        try:
            if not self._journal.is_open:
                self._journal.begin(self.header())
            self._journal.write({**event, "t": self._watch.now()}, durable)
        except ResourceError as error:
            if self._on_journal_lost is None:
                raise
            self._lose_journal(error)

    def _lose_journal(self, error: ResourceError) -> None:
        """Go on without a journal: an event left out of it would make the rest worthless."""
        if self._journal is not None:
            self._journal.close()
        self._journal = None
        if self._on_journal_lost is not None:
            self._on_journal_lost(error)

    def header(self) -> dict[str, Any]:
        """Return what a journal begins with, as plain values."""
        self._known_extents()
        return {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "image": self.source.signature(),
            "model": model_json(self._predictor),
            "target": {
                "shape": [int(n) for n in self.target.shape],
                "dtype": str(self.target.dtype),
                "displayed": list(getattr(self.target, "displayed", ())) or None,
                "largest": self._next_id - 1,
            },
            "settings": self.settings(),
        }

    def close(self) -> None:
        """Close the journal and drop what was decoded; labels and objects stay."""
        if self._journal is not None:
            if self._journal.is_open:
                self._record({"do": "closed"}, durable=True)
            self._journal.close()
        self._forget()


def model_json(predictor: Predictor) -> dict[str, Any]:
    """Return all that numbers depend on besides the image, as plain values."""
    model = predictor.model
    rounded = predictor.cache is not None and predictor.cache.directory is not None
    return {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "embeddings": "half" if rounded else "full",
        "device": str(model.device),
        "threads": torch.get_num_threads(),
    }


def _checked_multimask(value: Any) -> Any:
    if value != "auto" and not isinstance(value, bool):
        raise ParameterError(f"multimask is 'auto', True or False, not {value!r}")
    return value


def _checked_area(value: float | None) -> float | None:
    if value is not None and not 0 <= float(value) < float("inf"):
        raise ParameterError(f"min_mask_region_area is a number of pixels, not {value!r}")
    return None if value is None else float(value)
