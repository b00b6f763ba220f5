"""An annotation session: objects that own their prompts, and every step of making them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import PlacedMask, PlaneSource, Predictor, Window
from ..errors import PromptError, ResourceError
from ..progress import finish
from ..wording import counted, extent
from . import draft_actions as on_draft
from . import object_actions as on_objects
from . import series_actions as on_series
from . import session_actions as on_session
from .committed import CommittedObjects, ObjectPlace
from .decoding import DecodeRequest, DecodeResult, DecodingChain, Preview, decode
from .journal import VOID, Event, Journal, Recorder, model_record, to_event
from .label_edits import touched
from .objects import (
    Draft,
    SessionObject,
    SuggestedMask,
    as_box,
    as_point,
    as_rows,
    drawn_mask,
    require_inside,
)
from .settings import SessionSettings
from .state import Action, Change, SessionEvents, SessionState, Stopwatch
from .target import LabelTarget


class Session:
    """Objects with prompts on the planes of an image, and their labels.

    Without a viewer and without threads: methods are fast and belong to one thread; `decode`
    changes nothing and may run on any. Every method performs an `Action`, which can be undone,
    across planes and commits, and is written to the journal.

    Parameters
    ----------
    predictor : Predictor
        May be shared; the session also keeps the embeddings that it used last.
    source : PlaneSource
        The image.
    target : LabelTarget
        Where labels are written.
    journal : Journal or path, optional
        A file of every event, made with the first one.
    window_size : int, optional
        Side in pixels of the window that is encoded around prompts. By default the model's
        frame side, or the whole image where it is no larger than two frames.
    overwrite : bool
        Whether a new object takes pixels from other labels. They are kept if not.
    multimask : "auto" or bool
        Which candidates there are; see `multimask`.
    min_mask_region_area : float, optional
        Holes and islands smaller than this are removed; the model's own value by default.
    on_journal_lost : callable, optional
        Called with the `ResourceError` when the journal cannot be written; the session goes on
        without one. By default the error is raised, and nothing is done.
    clock : callable
        Gives seconds, to measure how long an object takes.

    Attributes
    ----------
    events : SessionEvents
    state : SessionState
        The session's parts: objects and labels, the object in progress, decoding, history.
    recorder : Recorder
    source : PlaneSource
        The image.
    class_name : str
        The class that new objects get.

    Examples
    --------
    >>> session = Session(predictor, PlaneSource(image), ArrayTarget(labels))  # doctest: +SKIP
    >>> session.add_point((), (126, 103))                                      # doctest: +SKIP
    >>> session.update().score                                                 # doctest: +SKIP
    0.93
    >>> session.commit()                                                       # doctest: +SKIP
    (1,)
    """

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
        settings = SessionSettings(window_size, overwrite, multimask, min_mask_region_area)
        self.events = SessionEvents()
        self.class_name = ""
        self.source = source
        self.state = SessionState(
            source,
            Stopwatch(clock),
            DecodingChain(predictor, source, settings),
            CommittedObjects(target, source),
        )
        self.recorder = Recorder(journal, self.state.watch.now, self.header, on_journal_lost)

    def __repr__(self) -> str:
        objects = counted(len(self.state.objects.items), "object")
        going = "" if self.draft is None else ", one in progress"
        name = self.source.name or "an image"
        shape = extent(self.source.data_shape)
        return f"<Session: {name} ({shape}), {objects}{going}, model {self.predictor.model.name}>"

    # -- what there is ---------------------------------------------------------------------------

    @property
    def target(self) -> LabelTarget:
        """Where labels are written."""
        return self.state.objects.target

    @property
    def journal(self) -> Journal | None:
        """The journal, if there is one."""
        return self.recorder.journal

    @property
    def draft(self) -> Draft | None:
        """The object in progress (several in a batch), immutable; None if there is none."""
        return self.state.draft

    @property
    def objects(self) -> dict[int, SessionObject]:
        """Committed objects by label, a copy. Labels from before the session are not among them."""
        return dict(self.state.objects.items)

    @property
    def next_id(self) -> int:
        """The label that the next object gets; all labels are below it."""
        return self.state.objects.next_id

    @property
    def locked(self) -> frozenset[int]:
        """Labels of locked objects; see `lock`."""
        return frozenset(self.state.objects.locked)

    def object_at(self, plane: Sequence[int], point: npt.ArrayLike) -> int | None:
        """Return the label under a point; None where there is none or no image."""
        where = self.source.check_plane(plane)
        row, col = (int(np.floor(float(at) + 0.5)) for at in np.asarray(point, np.float64))
        rows, cols = self.source.shape
        if not (0 <= row < rows and 0 <= col < cols):
            return None
        return int(self.target.read(where, Window(row, col, 1, 1))[0, 0]) or None

    def places(self, ids: Collection[int] | None = None) -> list[ObjectPlace]:
        """Return where objects lie, by default all."""
        return self.state.objects.places(ids)

    def add_known(self, objects: Iterable[SessionObject]) -> None:
        """Add objects whose labels are there from before the session, with their prompts."""
        known = tuple(objects)
        if known:
            self.perform(on_series.AddKnown(known))

    def bind(self, target: LabelTarget) -> None:
        """Write to another place from now on, which holds the same labels already."""
        self.state.objects.bind(target)

    # -- settings --------------------------------------------------------------------------------

    @property
    def predictor(self) -> Predictor:
        """The predictor in use; see `set_predictor`."""
        return self.state.chain.predictor

    def set_predictor(self, predictor: Predictor) -> None:
        """Use another model. The prompts of the object in progress are decoded anew."""
        if predictor is not self.predictor:
            self.state.chain.use(predictor)
            self.perform(on_session.ChangeModel(model_record(predictor)))

    @property
    def window_size(self) -> int | None:
        """Side in pixels of the window that is encoded around prompts, if it was chosen."""
        return self.state.chain.settings.window_size

    @property
    def overwrite(self) -> bool:
        """Whether a new object takes pixels from other labels; they are kept if not."""
        return self.state.chain.settings.overwrite

    @overwrite.setter
    def overwrite(self, value: bool) -> None:
        self._configure(overwrite=bool(value))

    @property
    def multimask(self) -> Any:
        """Which candidates there are.

        "auto": three (whole, part, subpart) for a single point; for other prompts, the mask meant
        for these as well. True: three always. False: only the one.
        """
        return self.state.chain.settings.multimask

    @multimask.setter
    def multimask(self, value: Any) -> None:
        self._configure(multimask=value)

    @property
    def min_mask_region_area(self) -> float | None:
        """Holes and islands smaller than this are removed; None is the model's own value."""
        return self.state.chain.settings.min_mask_region_area

    @min_mask_region_area.setter
    def min_mask_region_area(self, value: float | None) -> None:
        self._configure(min_mask_region_area=None if value is None else float(value))

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values, by parameter name."""
        return self.state.chain.settings.to_json()

    def _configure(self, **values: Any) -> None:
        action = on_session.ChangeSettings(values)  # type: ignore[arg-type]
        if action.among(self.state.chain.settings) != self.state.chain.settings:
            self.perform(action)

    def lock(self, ids: Iterable[int], on: bool = True) -> None:
        """Lock objects, or unlock them. This is recorded, but no step of the history.

        A locked object cannot be edited, deleted, merged, split or relabelled, and new objects
        leave its pixels alone. Earlier actions can still be undone, and strokes are taken over.

        Parameters
        ----------
        ids : iterable of int
        on : bool
            False to unlock them.
        """
        changed = sorted({int(label) for label in ids if (int(label) in self.locked) != on})
        if changed:
            self.perform(on_session.Lock(tuple(changed), on))

    def reserve(self, label: int) -> None:
        """Give no new object a label up to this one: another writer of the same labels uses it."""
        if int(label) >= self.next_id:
            self.perform(on_session.Reserve(int(label)))

    # -- actions ---------------------------------------------------------------------------------

    def perform(self, action: Action, recorded: Event | None = None) -> Change:
        """Plan, journal and make the change of an action. If it fails, nothing has changed.

        Parameters
        ----------
        action : Action
        recorded : Event, optional
            What came of it before, if it is performed again.

        Raises
        ------
        PromptError
            If it cannot be done.
        ResourceError
            If it cannot be journalled.
        """
        plane = getattr(action, "plane", None)
        if plane is not None:
            self.state.source.check_plane(plane)
        with self.state.watch.moment():
            change = action.plan(self.state)
            if recorded is not None and recorded.window:
                change = change.within(recorded.window[0])
            self._take(action, change)
        return change

    def repeat(self, event: Event) -> None:
        """Perform a recorded action again, whatever came of it then."""
        self.perform(event.action.again(self.state, event.edit), event)

    def restore(self, event: Event) -> None:
        """Perform a recorded action again, with the labels that came of it then."""
        if event.edit is None:
            self.repeat(event)
        else:
            self._take(event.action, event.action.after(self.state, event.edit))

    def _take(self, action: Action, change: Change) -> None:
        state, edit, before = self.state, change.edit, self.state.draft
        if self.recorder.journal is not None:
            self.recorder.record(to_event(action, change), durable=edit is not None)
        if edit is not None:
            try:
                state.objects.apply(edit)
            except BaseException:
                self.recorder.record(VOID, durable=True)
                raise
        if change.after is not before:
            state.draft = state.running(change.after)
        if action.in_history:
            state.history.push(change)
        else:
            action.settle(state)
        if edit is not None:
            for plane, window in touched(edit.patches):
                self.events.target_changed.emit(plane, window)
            if edit.objects:
                self.events.objects_changed.emit(edit.ids)
        if change.after is not before:
            self.events.draft_changed.emit()
            if state.chain.shows_other(before, state.draft):
                self.events.preview_changed.emit()
        if action.in_history:
            self.events.history_changed.emit()
        else:
            action.announce(self.events)

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to undo."""
        return bool(self.state.history.done)

    @property
    def can_redo(self) -> bool:
        """Whether there is an action to redo."""
        return bool(self.state.history.undone)

    def undo(self) -> str | None:
        """Revert the last action, of any kind and on any plane; return what it was, or None."""
        return self.perform(on_session.Undo()).description if self.can_undo else None

    def redo(self) -> str | None:
        """Do the action again that was undone last; return what it is, or None."""
        return self.perform(on_session.Redo()).description if self.can_redo else None

    # -- the object in progress ------------------------------------------------------------------

    def begin(self, plane: Sequence[int] = ()) -> None:
        """Begin an object on a plane, if none is in progress; the first prompt does so as well."""
        self.perform(on_draft.Begin(self.source.check_plane(plane)))

    def begin_batch(
        self,
        plane: Sequence[int] = (),
        points: npt.ArrayLike = (),
        boxes: npt.ArrayLike = (),
    ) -> tuple[int, ...]:
        """Begin a batch: an object for each point and each box, decoded and committed together.

        Every further positive prompt is one more object; a negative one belongs to the nearest.

        Parameters
        ----------
        plane : sequence of int
        points : array-like (n, 2)
            (row, column).
        boxes : array-like (m, 4)
            (row_min, col_min, row_max, col_max).

        Returns
        -------
        tuple of int
            Keys of the objects, points first.

        Raises
        ------
        PromptError
            If a prompt lies outside the image, or another object is in progress.
        """
        where = self.source.check_plane(plane)
        places = tuple(as_point(point) for point in as_rows(points, 2, "points"))
        frames = tuple(as_box(box) for box in as_rows(boxes, 4, "boxes"))
        after = self.perform(on_draft.BeginBatch(where, places, frames)).after
        return () if after is None else after.keys

    def add_point(
        self,
        plane: Sequence[int],
        point: npt.ArrayLike,
        positive: bool = True,
        draft: int | None = None,
    ) -> int | None:
        """Add a point to the object in progress.

        Parameters
        ----------
        plane : sequence of int
        point : (row, column)
        positive : bool
            Inside the object, or not.
        draft : int, optional
            Key of the object. By default, in a batch, a positive point is a new object, and a
            negative one belongs to the nearest.

        Returns
        -------
        int or None
            The key of the object that it belongs to.

        Raises
        ------
        PromptError
            If it lies outside the image, or the object in progress is on another plane.
        """
        where = self.source.check_plane(plane)
        action = on_draft.AddPoint(where, as_point(point), bool(positive), draft)
        after = self.perform(action).after
        return None if after is None else after.key_of(after.points[-1])

    def move_point(self, index: int, point: npt.ArrayLike) -> None:
        """Move a point of the object in progress.

        Parameters
        ----------
        index : int
            In `draft.points`.
        point : (row, column)

        Raises
        ------
        PromptError
            If there is no such point, or it would lie outside the image.
        """
        self.perform(on_draft.MovePoint(int(index), as_point(point)))

    def remove_point(self, index: int) -> None:
        """Remove a point of the object in progress, by its index in `draft.points`."""
        self.perform(on_draft.RemovePoint(int(index)))

    def set_box(
        self, plane: Sequence[int], box: npt.ArrayLike | None, draft: int | None = None
    ) -> None:
        """Give the object in progress a box, or remove it with None.

        Parameters
        ----------
        plane : sequence of int
        box : (row_min, col_min, row_max, col_max), or None
            What reaches over the image's edge is cut off.
        draft : int, optional
            Key of the object; by default, in a batch, a box is a new object.

        Raises
        ------
        PromptError
            If the box has no area inside the image.
        """
        frame = None if box is None else as_box(box)
        self.perform(on_draft.SetBox(self.source.check_plane(plane), frame, draft))

    def add_scribble(
        self,
        plane: Sequence[int],
        line: npt.ArrayLike,
        positive: bool = True,
        draft: int | None = None,
    ) -> None:
        """Add a scribble; the network is given points along it.

        Parameters
        ----------
        plane : sequence of int
        line : array-like (k, 2)
            (row, column) of its vertices; those outside the image are left out.
        positive : bool
            Inside the object, or not.
        draft : int, optional
            As for `add_point`.

        Raises
        ------
        PromptError
            If no vertex lies on the image.
        """
        vertices = tuple(as_point(point) for point in as_rows(line, 2, "a line"))
        where = self.source.check_plane(plane)
        self.perform(on_draft.AddScribble(where, vertices, bool(positive), draft))

    def set_mask(
        self,
        plane: Sequence[int],
        mask: np.ndarray | None,
        window: Window | None = None,
        draft: int | None = None,
    ) -> None:
        """Give the object in progress a region to refine, or remove it with None.

        Parameters
        ----------
        plane : sequence of int
        mask : bool array (height, width), or None
        window : Window, optional
            Where it lies; the whole plane by default.
        draft : int, optional
            As for `set_box`.

        Raises
        ------
        PromptError
            If the mask is empty, not boolean, or does not fit the window.
        """
        region = None if mask is None else self._region(mask, window)
        self.perform(on_draft.SetMask(self.source.check_plane(plane), region, draft))

    def paint_preview(
        self, mask: np.ndarray, window: Window | None = None, draft: int | None = None
    ) -> None:
        """Replace the mask of the object in progress by one that was drawn by hand.

        A commit writes it as it is; after another prompt it is the region to refine.

        Parameters
        ----------
        mask : bool array (height, width)
        window : Window, optional
            Where it lies; the whole plane by default.
        draft : int, optional
            Which object; needed in a batch only.

        Raises
        ------
        PromptError
            If nothing is in progress, or the mask is empty or does not fit.
        """
        self.perform(on_draft.PaintPreview(self._region(mask, window), draft))

    def choose(self, candidate: int | None, draft: int | None = None) -> None:
        """Choose a candidate; None takes the best again.

        Parameters
        ----------
        candidate : int or None
            Index in the preview's scores.
        draft : int, optional
            Which object, the first by default.

        Raises
        ------
        PromptError
            If nothing is in progress, or there is no such candidate.
        """
        self.perform(on_draft.Choose(None if candidate is None else int(candidate), draft))

    def cycle(self, step: int = 1, draft: int | None = None) -> None:
        """Choose the next candidate, or the one before (-1); empty masks are left out.

        Parameters
        ----------
        step : int
        draft : int, optional
            Which object, the first by default.

        Raises
        ------
        PromptError
            If there is no preview.
        """
        preview = self.preview
        if preview is None:
            raise PromptError("there is no mask yet to choose another one for")
        items = {item.key: item for item in preview.objects}
        key = preview.objects[0].key if draft is None else draft
        if key not in items:
            raise PromptError(f"there is no object {key} in progress; there are {list(items)}")
        chosen, masks = items[key].chosen, items[key].decoded.masks
        onward = ((chosen + further) % len(masks) for further in range(len(masks)))
        shown = [i for i in onward if i == chosen or not masks[i].empty]
        self.choose(shown[int(step) % len(shown)], key)

    def cancel(self) -> None:
        """Drop the object in progress, if there is one; this can be undone."""
        if self.draft is not None:
            self.perform(on_draft.Cancel())

    def edit(self, label: int, plane: Sequence[int] | None = None) -> Draft:
        """Edit a committed object's prompts; the next commit replaces the object.

        The pixels of an object without prompts (drawn by hand, or older than the session) become
        its region to refine.

        Parameters
        ----------
        label : int
        plane : sequence of int, optional
            By default the object's.

        Raises
        ------
        PromptError
            If it is not there, or another object is in progress.
        """
        objects = self.state.objects
        self.state.require_no_draft()
        objects.require_unlocked(int(label))
        where = objects.plane_of(int(label), plane, "edited")
        plan = objects.plan()
        plan.require(int(label), where)
        decodable = objects.on_plane(int(label), where).prompts.decodable
        mask = None if decodable else plan.mask(int(label), where)
        change = self.perform(on_draft.EditObject(int(label), where, mask))
        return change.after  # type: ignore[return-value]

    # -- masks -----------------------------------------------------------------------------------

    def request(self) -> DecodeRequest | None:
        """Return a snapshot of what has to be decoded; None if nothing has."""
        return self.state.chain.request(self.state.draft)

    def hover_request(self, plane: Sequence[int], point: npt.ArrayLike) -> DecodeRequest:
        """Return a request for the mask under a point, which changes nothing.

        Raises
        ------
        PromptError
            If the point lies outside the image.
        """
        where, place = self.source.check_plane(plane), as_point(point)
        require_inside(place, self.source.shape)
        return self.state.chain.hover_request(where, place)

    decode = staticmethod(decode)

    def accept(self, result: DecodeResult | None) -> bool:
        """Show what was decoded; return False if it is stale, or was only a look at a point.

        A result is stale if prompts, model or settings have changed since its request.
        """
        if result is None or not self.state.chain.accepts(self.state.draft, result):
            return False
        if self.recorder.journal is not None:
            objects = tuple(
                (each.key, each.asked, each.scores, each.best) for each in result.objects
            )
            seconds = round(result.seconds, 6)
            note = on_session.Decoded(result.revision, result.fed_by, objects, seconds)
            self.recorder.record(note.to_json())
        self.state.chain.keep(result)
        self.events.preview_changed.emit()
        return True

    def update(self) -> Preview | None:
        """Decode what has to be decoded, here and now, and return the preview."""
        request = self.request()
        if request is not None:
            self.accept(finish(self.decode(request)))
        return self.preview

    @property
    def preview(self) -> Preview | None:
        """Masks of what is in progress; None as long as they are not decoded."""
        return self.state.chain.preview(self.state.draft)

    # -- committed objects -----------------------------------------------------------------------

    def commit(self) -> tuple[int, ...]:
        """Write the object in progress to the labels.

        Returns
        -------
        tuple of int
            The new labels, in the order of the draft's objects. Objects of a batch that get no
            pixel are left out.

        Raises
        ------
        PromptError
            If nothing is in progress, its masks are not decoded yet, or it gets no pixel.
        ParameterError
            If the target's dtype is too small for a new label.
        """
        return self._written(on_objects.Commit(self.class_name))

    def delete(self, ids: int | Sequence[int], plane: Sequence[int] | None = None) -> None:
        """Delete objects, also such that are older than the session.

        Parameters
        ----------
        ids : int, or sequence of int
        plane : sequence of int, optional
            On this plane only.

        Raises
        ------
        PromptError
            If one is not there, or is being edited.
        """
        labels = np.atleast_1d(np.asarray(ids, np.int64)).tolist()
        self.perform(on_objects.Delete(tuple(labels), self._plane(plane)))

    def merge(self, ids: Sequence[int], plane: Sequence[int] | None = None) -> int:
        """Merge objects into the first; return its label. It gets the prompts of all.

        Parameters
        ----------
        ids : sequence of int
        plane : sequence of int, optional
            On this plane only.

        Raises
        ------
        PromptError
            If there are fewer than two, one is not there, or is being edited.
        """
        labels = tuple(int(label) for label in ids)
        self.perform(on_objects.Merge(labels, self._plane(plane)))
        return labels[0]

    def split_off(
        self,
        label: int,
        mask: np.ndarray,
        window: Window,
        plane: Sequence[int] | None = None,
    ) -> int:
        """Make the part of an object that lies in a region a new object; return its label.

        Parameters
        ----------
        label : int
        mask : bool array (height, width)
        window : Window
            Where the mask lies.
        plane : sequence of int, optional
            By default the object's.

        Raises
        ------
        PromptError
            If the region holds none of the object, or all of it.
        """
        where = self.state.objects.plane_of(int(label), plane, "split")
        region = self._region(mask, window)
        return self._written(on_objects.SplitOff(int(label), region, where))[-1]

    def cut(
        self, label: int, line: npt.ArrayLike, plane: Sequence[int] | None = None
    ) -> tuple[int, ...]:
        """Split an object along a line; return the labels of its pieces, the old one first.

        Parameters
        ----------
        label : int
        line : array-like (k, 2)
            (row, column) of its vertices.
        plane : sequence of int, optional
            By default the object's.

        Raises
        ------
        PromptError
            If the line does not run right across the object.
        """
        vertices = tuple(as_point(point) for point in as_rows(line, 2, "a line"))
        return self._written(on_series.Cut(int(label), vertices, self._plane(plane)))

    def classify(self, ids: Iterable[int], class_name: str) -> None:
        """Give objects a class; the empty one takes it away.

        Parameters
        ----------
        ids : iterable of int
        class_name : str

        Raises
        ------
        PromptError
            If one is not there, is locked, or is being edited.
        """
        self.perform(on_series.Classify(tuple(int(label) for label in ids), class_name))

    def take_up(
        self,
        plane: Sequence[int],
        suggestion: SuggestedMask,
        point: tuple[float, float] | None = None,
    ) -> None:
        """Begin an object with a suggested mask: a commit takes it, further prompts refine it.

        Parameters
        ----------
        plane : sequence of int
        suggestion : SuggestedMask
        point : (row, column), optional
            Where it was clicked: a point in the object, which helps to refine the mask.

        Raises
        ------
        PromptError
            If an object is in progress, or the mask or the point lies outside the image.
        """
        self.perform(on_series.TakeUp(self.source.check_plane(plane), suggestion, point))

    def take(
        self,
        plane: Sequence[int],
        suggestions: Iterable[SuggestedMask],
        *,
        fingerprint: str = "",
        seconds: float = 0.0,
    ) -> tuple[int, ...]:
        """Make objects of suggestions as they are, in one step.

        Parameters
        ----------
        plane : sequence of int
        suggestions : iterable of SuggestedMask
        fingerprint : str
            Of the model that made them.
        seconds : float
            Spent on all of them.

        Returns
        -------
        tuple of int
            The new labels. Suggestions without a free pixel are left out.

        Raises
        ------
        PromptError
            If an object is in progress, or no suggestion has a free pixel.
        """
        where = self.source.check_plane(plane)
        wanted = tuple(suggestions)
        if not wanted:
            raise PromptError("there is no suggestion to take")
        action = on_series.TakeSuggestions(where, wanted, self.class_name, fingerprint, seconds)
        return self._written(action)

    def relabel(self, label: int, new: int, plane: Sequence[int] | None = None) -> None:
        """Give an object another label.

        Parameters
        ----------
        label, new : int
        plane : sequence of int, optional
            On this plane only.

        Raises
        ------
        PromptError
            If the object is not there, or the other label is in use.
        ParameterError
            If the target's dtype is too small for it.
        """
        self.perform(on_objects.Relabel(int(label), int(new), self._plane(plane)))

    def paint(
        self,
        plane: Sequence[int],
        window: Window,
        before: npt.ArrayLike,
        after: npt.ArrayLike,
    ) -> None:
        """Add a brush stroke to the history, whether or not the labels hold it already.

        Parameters
        ----------
        plane : sequence of int
        window : Window
            Where it lies.
        before, after : int array (height, width)
            Labels of the window without and with it.

        Raises
        ------
        PromptError
            If it changes nothing.
        ParameterError
            If the arrays do not fit the window.
        """
        where, old, new = (
            self.source.check_plane(plane),
            np.asarray(before),
            np.asarray(after),
        )
        self.perform(on_objects.Paint.of(self.state, where, window, old, new))

    def _written(self, action: Action) -> tuple[int, ...]:
        edit = self.perform(action).edit
        return () if edit is None else edit.written

    def _plane(self, plane: Sequence[int] | None) -> tuple[int, ...] | None:
        return None if plane is None else self.source.check_plane(plane)

    def _region(self, mask: np.ndarray, window: Window | None) -> PlacedMask:
        return drawn_mask(mask, window or Window.full(self.source.shape))

    # -- the journal -----------------------------------------------------------------------------

    def header(self) -> dict[str, Any]:
        """Return what a journal begins with, as plain values."""
        objects = self.state.objects
        return {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "image": self.source.signature(),
            "model": model_record(self.predictor),
            "target": {
                "shape": [int(n) for n in self.target.shape],
                "dtype": str(self.target.dtype),
                "displayed": list(getattr(self.target, "displayed", ())) or None,
                "largest": objects.largest,
            },
            "settings": self.settings(),
        }

    def close(self) -> None:
        """Close the journal, and drop what was decoded; labels and objects stay."""
        self.recorder.close(on_session.Closed().to_json())
        self.state.chain.forget()
