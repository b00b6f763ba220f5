"""An annotation session: objects that own their prompts, and every step of making them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Window
from ..errors import ParameterError, PromptError
from . import draft as drafts
from . import editing
from .draft import Draft, lookup
from .label_edits import Work
from .objects import ObjectPrompts, SessionObject
from .predicting import Predicting
from .preview import Preview, PreviewObject
from .regions import mask_from, mask_json
from .timing import at_one_time


class Session(Predicting):
    """Objects with prompts on the planes of an image, and their labels.

    No window, no thread: mutations are cheap and belong to one thread; `decode` is pure and may
    run on any. Everything done can be undone, across planes and commits; with a journal,
    everything done is in a file too.

    Parameters
    ----------
    predictor : Predictor
        Shared or not; the session keeps the embeddings it used last besides.
    source : PlaneSource
        The image.
    target : LabelTarget
        Where labels go.
    journal : Journal or path, optional
        A file for every event, begun with the first one.
    window_size : int, optional
        Side in pixels of the window that is encoded around prompts. By default the model's
        frame side, or the whole image where it is no larger than two frames.
    overwrite : bool
        Whether a new object takes pixels from other labels. They are kept if not.
    multimask : "auto" or bool
        Which candidates there are; see `multimask`.
    min_mask_region_area : float, optional
        Holes and islands smaller than this are cleaned away; the model's own value by default.
    on_journal_lost : callable, optional
        Called with the `ResourceError` when the journal cannot be written; the session then goes on
        without one. By default the error is raised, and nothing is done.
    clock : callable
        Seconds, to measure what an object takes.

    Examples
    --------
    >>> session = Session(predictor, PlaneSource(image), ArrayTarget(labels))  # doctest: +SKIP
    >>> session.add_point((), (120, 80))                                       # doctest: +SKIP
    >>> session.update().score                                                 # doctest: +SKIP
    0.93
    >>> session.commit()                                                       # doctest: +SKIP
    (1,)
    """

    # -- committed objects -----------------------------------------------------------------------

    @at_one_time
    def commit(self) -> tuple[int, ...]:
        """Write what is in progress to the labels.

        Returns
        -------
        tuple of int
            The labels, in the order of the draft's objects. In a batch, objects that are left
            without a pixel are left out.

        Raises
        ------
        PromptError
            If nothing is in progress, its masks are not decoded yet, or no pixel is left.
        ParameterError
            If the target's dtype is too small for a new label.
        """
        draft, preview = self._draft, self.preview
        if draft is None or draft.empty:
            raise PromptError("there is no object in progress to commit")
        if preview is None:
            raise PromptError(
                "the mask is not there yet: call update() or wait for it"
                if any(item.decodable for item in draft.objects().values())
                else "there are negative prompts only; add a positive point, a box or a mask"
            )
        work = self._work()
        prompts = draft.objects()
        masks = [
            (item.mask, self._finished(draft, prompts[item.key], preview, item))
            for item in preview.objects
        ]
        ids = editing.commit(work, draft.plane, masks, draft.editing, self._overwrite, self._locked)
        what = f"commit object {ids[0]}" if len(ids) == 1 else f"commit {len(ids)} objects"
        edit = work.edit(self._next_id)
        self._perform("commit", {"ids": list(ids)}, what, None, edit)
        return ids

    def _finished(
        self, draft: Draft, prompts: ObjectPrompts, preview: Preview, item: PreviewObject
    ) -> SessionObject:
        painted = lookup(draft.painted, item.key)
        if painted is not None:
            prompts = replace(prompts, mask=painted)
        return SessionObject(
            None,
            draft.plane,
            prompts,
            draft.candidate(item.key),
            item.decoded.scores if painted is None else (),
            item.score,
            self._predictor.model.fingerprint,
            round(self._spent(draft) / len(preview.objects), 6),
        )

    def delete(self, ids: int | Sequence[int], plane: Sequence[int] | None = None) -> None:
        """Take objects away, also such that are older than the session.

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
        wanted = [ids] if isinstance(ids, (int, np.integer)) else list(ids)
        labels = [self._not_edited(label) for label in wanted]
        where, arguments = self._on(plane)
        work = self._work()
        editing.delete(work, labels, where)
        what = f"delete object {labels[0]}" if len(labels) == 1 else f"delete {len(labels)} objects"
        self._edited("delete", {"ids": labels, **arguments}, what, work)

    def merge(self, ids: Sequence[int], plane: Sequence[int] | None = None) -> int:
        """Make one object of several, with the first one's label and the prompts of all.

        Raises
        ------
        PromptError
            If there are fewer than two, one is not there, or is being edited.
        """
        labels = [self._not_edited(label) for label in ids]
        where, arguments = self._on(plane)
        work = self._work()
        first = editing.merge(work, labels, where)
        what = f"merge {len(labels)} objects"
        self._edited("merge", {"ids": labels, **arguments}, what, work)
        return first

    def split_off(
        self, label: int, mask: np.ndarray, window: Window, plane: Sequence[int] | None = None
    ) -> int:
        """Make a new object of the part of one that lies in a region; return its label.

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
        label = self._not_edited(label)
        if plane is None and label not in self._objects and self.source.ndim_planes:
            raise PromptError(f"say on which plane object {label} is to be split")
        own = self._objects[label].plane if label in self._objects else ()
        where = own if plane is None else self.source.check_plane(plane)
        region = self._drawn(mask, window)
        work = self._work()
        new = editing.split_off(work, label, region, where)
        arguments = {"label": label, "mask": mask_json(region), "plane": list(where)}
        self._edited("split_off", arguments, f"split object {label}", work)
        return new

    def relabel(self, label: int, new: int, plane: Sequence[int] | None = None) -> None:
        """Give an object another label.

        Raises
        ------
        PromptError
            If the object is not there, or the other label is in use.
        ParameterError
            If the target's dtype is too small for it.
        """
        label = self._not_edited(label)
        where, arguments = self._on(plane)
        work = self._work()
        editing.relabel(work, label, int(new), where)
        what = f"relabel object {label} to {int(new)}"
        self._edited("relabel", {"label": label, "new": int(new), **arguments}, what, work)

    def paint(
        self, plane: Sequence[int], window: Window, before: npt.ArrayLike, after: npt.ArrayLike
    ) -> None:
        """Take a brush stroke into the history, whether or not the labels hold it already.

        Parameters
        ----------
        plane : sequence of int
        window : Window
            Where.
        before, after : int array (height, width)
            Labels without and with it.

        Raises
        ------
        PromptError
            If it changes nothing.
        ParameterError
            If the arrays do not fit the window.
        """
        where = self.source.check_plane(plane)
        arrays = [np.asarray(array) for array in (before, after)]
        if any(array.shape != window.shape for array in arrays):
            raise ParameterError(f"what was painted has another shape than its window, {window}")
        old, new = (array.astype(self.target.dtype) for array in arrays)
        if any((cast != array).any() for cast, array in zip((old, new), arrays, strict=True)):
            raise ParameterError(f"a painted label does not fit labels of type {self.target.dtype}")
        if self._extents is None:  # a stroke that is there already is no part of what was before
            present = np.array(self.target.read(where, window))
            self.target.write(where, window, old)
            try:
                self._known_extents()
            finally:
                self.target.write(where, window, present)
        work = self._work()
        editing.paint(work, where, window, old, new)
        self._edited("paint", {}, "paint", work)

    def edit(self, label: int, plane: Sequence[int] | None = None) -> Draft:
        """Take a committed object's prompts up again; a commit replaces the object.

        An object without prompts (drawn by hand, or older than the session) is refined from
        its region.

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
        label = int(label)
        self._require_no_draft()
        self._require_unlocked(label)
        item = self._objects.get(label)
        if item is None and plane is None and self.source.ndim_planes:
            raise PromptError(f"say on which plane object {label} is to be edited")
        own = () if item is None else item.plane
        where = own if plane is None else self.source.check_plane(plane)
        work = self._work()
        editing.require(work, label, where)
        item = item if item is not None and item.plane == where else SessionObject(label, where)
        mask = None
        if not item.prompts.decodable:
            mask = editing.region_of(work, label, where)
            item = replace(item, prompts=replace(item.prompts, mask=mask))
        return self._take_up(item, None if mask is None else mask_json(mask))

    def _take_up_recorded(self, label: int, plane: Sequence[int], mask: Any) -> None:
        """Do again what `edit` did, without looking at the labels."""
        where = self.source.check_plane(plane)
        item = self._objects.get(label)
        item = item if item is not None and item.plane == where else SessionObject(label, where)
        if mask is not None:
            item = replace(item, prompts=replace(item.prompts, mask=mask_from(mask)))
        self._take_up(item, mask)

    @at_one_time
    def _take_up(self, item: SessionObject, mask: Any) -> Draft:
        window = self._planned_window(
            self._window(item.prompts, self._embedded(item.plane, item.prompts))
        )
        after = drafts.from_object(item, item.plane, self._next_revision())
        after = replace(
            after, window=window, seconds=item.seconds, started=self._watch.now(), next_key=1
        )
        arguments = {"id": item.id, "plane": list(item.plane), "mask": mask}
        self._perform("edit", arguments, f"edit object {item.id}", after)
        return after

    def object_at(self, plane: Sequence[int], point: npt.ArrayLike) -> int | None:
        """Return the label under a point; None where there is none or no image."""
        where = self.source.check_plane(plane)
        row, col = (int(np.floor(float(at) + 0.5)) for at in np.asarray(point, np.float64))
        rows, cols = self.source.shape
        if not (0 <= row < rows and 0 <= col < cols):
            return None
        return int(self.target.read(where, Window(row, col, 1, 1))[0, 0]) or None

    def _edited(self, kind: str, arguments: dict[str, Any], what: str, work: Work) -> None:
        self._perform(kind, arguments, what, self._draft, work.edit(self._next_id))

    def _not_edited(self, label: int) -> int:
        if self._draft is not None and self._draft.editing == label:
            raise PromptError(f"object {label} is being edited; commit or cancel it first")
        self._require_unlocked(int(label))
        return int(label)

    def _on(self, plane: Sequence[int] | None) -> tuple[tuple[int, ...] | None, dict[str, Any]]:
        if plane is None:
            return None, {"plane": None}
        where = self.source.check_plane(plane)
        return where, {"plane": list(where)}
