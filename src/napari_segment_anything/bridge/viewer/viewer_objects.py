"""Committed objects and the history of a viewer's session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from ...engine import Window
from ...errors import ParameterError, PromptError, SegmentAnythingError
from ...session import Session
from .hiding import HiddenLabels
from .measures import ObjectMeasures
from .viewer_base import View
from .viewer_prompts import Plane, ViewerPrompts

if TYPE_CHECKING:
    from ...session import SessionObject

T = TypeVar("T")


class ViewerObjects(ViewerPrompts):
    """Objects, and what can be undone; see `ViewerSession`."""

    _stepping = False
    _trail: list[View]
    _returned: list[View]

    measures: ObjectMeasures
    """The table of measures of committed objects: area, shape, intensities, score, seconds."""
    _guarded = False
    _hidden: set[int]
    _hiding: HiddenLabels

    # -- hidden and locked objects -----------------------------------------------------------------

    @property
    def locked(self) -> frozenset[int]:
        """Objects that are finished: nothing changes them or takes their pixels."""
        return frozenset().union(*(view.session.locked for view in self.views))

    def lock(self, ids: Iterable[int], on: bool = True) -> None:
        """Lock objects, or unlock them; see `Session.lock`.

        While any is locked, napari's brush preserves labels; so says the layer's check box.
        """
        for label in ids:
            self._owner(int(label)).session.lock([int(label)], on)

    def _protect(self) -> None:
        """Keep napari's brush from locked objects, by its own means."""
        guarded, target = bool(self.locked), self.target
        if target is not None and guarded != self._guarded:
            target.preserve_labels = self._guarded = guarded

    @property
    def hidden(self) -> frozenset[int]:
        """Objects that are not shown; they are in the labels nevertheless."""
        return frozenset(self._hidden & set(self.objects))

    def hide(self, ids: Iterable[int], on: bool = True) -> None:
        """Hide objects, or show them again.

        Raises
        ------
        ParameterError
            If there are too many labels for each to have a colour of its own.
        """
        before = set(self._hidden)
        wanted = {int(label) for label in ids}
        self._hidden = before | wanted if on else before - wanted
        try:
            self._colour()
        except ParameterError:
            self._hidden = before
            raise
        self.objects_changed.emit(tuple(sorted(wanted)))

    def _colour(self) -> None:
        """Give labels their colours, hidden ones none."""
        hidden = self.hidden
        largest = max(view.session.next_id for view in self.views) - 1 if hidden else 0
        self._hiding.show(self.target, hidden, largest)

    # -- committed objects -----------------------------------------------------------------------

    def commit(self) -> tuple[int, ...]:
        """Write the object in progress (or the batch) to the target; return the new labels.

        What the brush did to the preview counts. What is not decoded yet is decoded first, here
        and now; `commit_when_decoded` does not wait.

        Raises
        ------
        PromptError
            If nothing is in progress, or every pixel belongs to other labels already.
        ParameterError
            If the target does not exist any more, or its type has no more labels.
        """
        view = self.view
        self.take_painted()
        view.session.update()
        self._free_ids(view)
        ids = view.session.commit()
        self._runner.cancel()
        self._set_busy(False)
        self._show()
        return tuple(ids)

    def commit_when_decoded(self) -> None:
        """Commit what is in progress as soon as its mask is there; emits `committed`.

        Clicks and other actions that come meanwhile wait for that, and are done in order.
        Errors are reported, not raised.
        """
        self._asked.ask(self._commit_asked, self._is_decoded)

    def _commit_asked(self) -> None:
        if self.draft is None:
            return
        with self.reporting():
            try:
                ids = self.commit()
            except SegmentAnythingError as error:
                if not self.waiting:
                    raise
                self.cancel()  # or what waits would be added to it
                raise PromptError(f"{error}; the object was dropped (undo: back)") from error
            self.committed.emit(ids)

    def cancel_last(self) -> None:
        """Drop what was asked for last: clicks that wait, else the object in progress.

        Commits that wait for its mask are dropped with it.
        """
        if not self._asked.drop_prompts():
            self._asked.drop("prompt", "edit")
            self.cancel()

    def take_painted(self) -> None:
        """Make what the brush did to the preview the object's mask."""
        view, preview = self._current, self.preview
        mask = None if self._working is None else self._working.painted()
        if view is None or preview is None or mask is None or self._working is None:
            return
        window = self._working.window
        if window is None or len(preview.objects) != 1:
            return
        view.session.paint_preview(mask, window)

    def _owner(self, label: int) -> View:
        """The session that knows an object: of the planes it was made on."""
        for view in self._views.values():
            if label in view.session.objects:
                return view
        return self.view

    def _change_objects(self, view: View, change: Callable[[Session], T]) -> T:
        result = change(view.session)
        self._show()
        return result

    def delete(self, ids: int | Sequence[int]) -> None:
        """Delete objects, also such as are older than the session."""
        wanted = [ids] if isinstance(ids, (int, np.integer)) else list(ids)
        owners = [(self._owner(int(label)), int(label)) for label in wanted]
        for view in dict.fromkeys(view for view, _ in owners):
            view.session.delete([label for owner, label in owners if owner is view])
        self._show()

    def merge(self, ids: Sequence[int]) -> int:
        """Make several objects one; return its label, the first of them."""
        wanted = [int(label) for label in ids]
        if len({id(self._owner(label)) for label in wanted}) > 1:
            raise PromptError("these objects were made on planes along different axes")
        view = self._owner(wanted[0]) if wanted else self.view
        return self._change_objects(view, lambda session: session.merge(wanted))

    def split_off(self, label: int, region: npt.ArrayLike, window: Window | None = None) -> int:
        """Make the part of an object inside a bool region of the plane shown a new object."""
        where = Window.full(self.view.axes.rows_cols) if window is None else window
        mask, plane = np.asarray(region, bool), self.plane
        self._free_ids(self.view)
        return self._change_objects(
            self.view, lambda session: session.split_off(int(label), mask, where, plane)
        )

    def relabel(self, label: int, new: int) -> None:
        """Give an object another label."""
        view = self._owner(int(label))
        self._change_objects(view, lambda session: session.relabel(int(label), int(new)))

    def edit(self, label: int) -> None:
        """Take an object up again: its prompts come back, a commit replaces it.

        The viewer goes to its plane. An object without prompts is refined from its region.
        """
        item = self.objects.get(int(label))
        if item is not None:
            view = self._owner(int(label))
            if view is not self.view:
                raise PromptError(
                    f"object {label} was made on planes along other axes; show these first"
                )
            self.show_plane(item.plane)
        plane = self.plane
        self._edit(lambda session: session.edit(int(label), plane))

    @property
    def objects(self) -> dict[int, SessionObject]:
        """Committed objects by label, with their prompts, scores and planes."""
        found: dict[int, SessionObject] = {}
        for view in self._views.values():
            found.update(view.session.objects)
        return found

    def object_at(self, point: npt.ArrayLike, plane: Sequence[int] | None = None) -> int | None:
        """Return the label at a point of the target, or None."""
        where, at = self._place(point, plane)
        found = self.view.session.object_at(where, at)
        return None if found is None else int(found)

    @property
    def object_at_cursor(self) -> int | None:
        """The label under the mouse, or None."""
        plane, at = self.locate(self.viewer.cursor.position)
        found = self.view.session.object_at(plane, at)
        return None if found is None else int(found)

    # -- history ---------------------------------------------------------------------------------

    def _connect_session(self, view: View) -> None:
        events = view.session.events
        events.target_changed.connect(partial(self.measures.note, view))
        events.history_changed.connect(lambda: self._on_history(view))
        events.objects_changed.connect(self._on_objects)

    def _on_objects(self, ids: tuple[int, ...]) -> None:
        if self._hidden:
            with self.reporting():
                self._colour()
        self.objects_changed.emit(tuple(ids))

    def _on_history(self, view: View) -> None:
        if not self._stepping:
            self._trail.append(view)
            self._returned.clear()
        self.history_changed.emit()
        self.measures.update()

    def _free_ids(self, view: View) -> None:
        """Keep sessions that write to the same labels from giving one label twice."""
        if len(self._views) > 1:
            largest = max(self.objects, default=0)
            view.session.reserve(largest)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return any(view.session.can_undo for view in self._views.values())

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to take again."""
        return any(view.session.can_redo for view in self._views.values())

    def undo(self) -> str | None:
        """Take the last step back, on whatever plane it was; return what it was.

        The viewer goes to that plane.
        """
        return self._step(self._trail, self._returned, undo=True)

    def redo(self) -> str | None:
        """Take a step again that was taken back."""
        return self._step(self._returned, self._trail, undo=False)

    def _step(self, taken: list[View], given: list[View], undo: bool) -> str | None:
        views = list(self._views.values())
        able = [v for v in views if (v.session.can_undo if undo else v.session.can_redo)]
        while taken and taken[-1] not in able:
            taken.pop()
        if not able:
            return None
        view = taken.pop() if taken else able[-1]
        places: list[Plane] = []
        self._stepping = True
        remember = view.session.events.target_changed.connect(
            lambda plane, window: places.append(tuple(plane))
        )
        try:
            what = view.session.undo() if undo else view.session.redo()
        finally:
            self._stepping = False
            view.session.events.target_changed.disconnect(remember)
        given.append(view)
        draft = view.session.draft
        plane = draft.plane if draft is not None else (places[-1] if places else None)
        self._go_to(view, plane)
        self._show()
        self._redecode()
        return what

    def _go_to(self, view: View, plane: Plane | None) -> None:
        """Show the planes of a view, and one of them."""
        if view is not self._current:
            shift = self.viewer.dims.ndim - len(view.axes.shape)
            shown = [axis + shift for axis in view.axes.displayed]
            rest = [axis for axis in self.viewer.dims.order if axis not in shown]
            self.viewer.dims.order = (*rest, *shown)
        if plane is not None and self.view is view:
            self.show_plane(plane)
