"""One line of undo steps over planes of all orientations."""

from __future__ import annotations

from ...session.schema import Plane
from .draft_canvas import DraftCanvas
from .plane_sessions import PlaneSession


class UndoTrail:
    """Remembers in which session each step was done.

    Parameters
    ----------
    canvas : DraftCanvas
    """

    def __init__(self, canvas: DraftCanvas) -> None:
        self._canvas, self._planes = canvas, canvas.planes
        self._done: list[PlaneSession] = []
        self._undone: list[PlaneSession] = []
        self._stepping = False

    def note(self, on: PlaneSession) -> None:
        """Note that the history of a session changed."""
        if not self._stepping:
            self._done.append(on)
            self._undone.clear()

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return any(one.session.can_undo for one in self._planes.all)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo."""
        return any(one.session.can_redo for one in self._planes.all)

    def undo(self) -> str | None:
        """Undo the last step, on any plane; return its description.

        The viewer goes to that plane.
        """
        return self._step(self._done, self._undone, undo=True)

    def redo(self) -> str | None:
        """Redo the step that was undone last; return its description."""
        return self._step(self._undone, self._done, undo=False)

    def _step(self, taken: list[PlaneSession], given: list[PlaneSession], undo: bool) -> str | None:
        there = self._planes.all
        able = [one for one in there if (one.session.can_undo if undo else one.session.can_redo)]
        while taken and taken[-1] not in able:
            taken.pop()
        if not able:
            return None
        on = taken.pop() if taken else able[-1]
        places: list[Plane] = []
        changed = on.session.events.target_changed
        self._stepping = True
        remember = changed.connect(lambda plane, window: places.append(tuple(plane)))
        try:
            what = on.session.undo() if undo else on.session.redo()
        finally:
            self._stepping = False
            changed.disconnect(remember)
        given.append(on)
        draft = on.session.draft
        plane = draft.plane if draft is not None else (places[-1] if places else None)
        self._planes.go_to(on, plane)
        self._canvas.show()
        self._canvas.redecode()
        return what
