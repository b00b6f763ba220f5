"""The state of a session, and actions: values that say what they change of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from psygnal import Signal, SignalGroup

from ..engine import PlaneSource, Window
from ..errors import PromptError
from ..reading import decode_json
from .committed import CommittedObjects
from .decoding import DecodingChain
from .label_edits import LabelEdit
from .objects import Draft
from .schema import to_json


class SessionEvents(SignalGroup):
    """Signals of a session, emitted after a change on the thread that made it."""

    draft_changed = Signal()
    """Prompts of the object in progress, or its chosen candidate."""
    preview_changed = Signal()
    """There are other masks to show, or none."""
    objects_changed = Signal(tuple)
    """Committed objects: emits their labels."""
    target_changed = Signal(tuple, Window)
    """Labels were written: emits the plane and the window."""
    history_changed = Signal()
    """What can be undone or redone."""


class Stopwatch:
    """Seconds since a session began; can be set while recorded events are repeated.

    Parameters
    ----------
    clock : callable
        Gives seconds; only differences matter.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._held: float | None = None

    def now(self) -> float:
        """Return the seconds, to the microsecond."""
        if self._held is not None:
            return self._held
        return round(max(0.0, self._clock() - self._began), 6)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Keep the time constant, so that one action has one time."""
        if self._held is not None:
            yield
            return
        self._held = self.now()
        try:
            yield
        finally:
            self._held = None

    def hold(self, seconds: float) -> None:
        """Stop at a time."""
        self._held = float(seconds)

    def go_on(self) -> None:
        """Continue from the time at which it was stopped."""
        if self._held is not None:
            self._began = self._clock() - self._held
            self._held = None


@dataclass(frozen=True, slots=True)
class Change:
    """What an action changes; its inverse is what undo does.

    Parameters
    ----------
    description : str
        For people: "add point".
    before, after : Draft or None
        The object in progress.
    edit : LabelEdit or None
        What happens to committed objects.
    """

    description: str
    before: Draft | None
    after: Draft | None
    edit: LabelEdit | None = None

    def inverse(self) -> Change:
        """Return the change that reverts this one."""
        edit = None if self.edit is None else self.edit.inverse()
        return Change(self.description, self.after, self.before, edit)

    def within(self, window: Window | None) -> Change:
        """Return the same change with the object in progress decoded in a given window."""
        after = None if self.after is None else replace(self.after, window=window)
        return replace(self, after=after)


class History:
    """Changes that were made, and undone ones that can be redone."""

    def __init__(self) -> None:
        self.done: list[Change] = []
        self.undone: list[Change] = []

    def push(self, change: Change) -> None:
        """Add a change; those that were undone before cannot be redone any more."""
        self.done.append(change)
        self.undone.clear()

    def step_back(self) -> None:
        """Move the last change to the undone ones."""
        self.undone.append(self.done.pop())

    def step_forward(self) -> None:
        """Move the change that was undone last back to the made ones."""
        self.done.append(self.undone.pop())


@dataclass(slots=True)
class SessionState:
    """The parts of a session.

    Parameters
    ----------
    source : PlaneSource
        The image.
    watch : Stopwatch
    chain : DecodingChain
    objects : CommittedObjects
    history : History
    draft : Draft or None
        The object in progress.
    """

    source: PlaneSource
    watch: Stopwatch
    chain: DecodingChain
    objects: CommittedObjects
    history: History = field(default_factory=History)
    draft: Draft | None = None

    def spent(self, draft: Draft) -> float:
        """Return the seconds spent on a draft up to now."""
        return round(draft.seconds + self.watch.now() - draft.started, 6)

    def running(self, draft: Draft | None) -> Draft | None:
        """Return a draft whose time continues from now."""
        if draft is None:
            return None
        spent = draft.seconds if self.draft is None else self.spent(self.draft)
        return replace(draft, seconds=max(spent, draft.seconds), started=self.watch.now())

    def require_no_draft(self) -> None:
        """Raise a `PromptError` if an object is in progress."""
        if self.draft is not None and not self.draft.empty:
            raise PromptError("there is an object in progress; commit or cancel it first")

    def require_draft(self, purpose: str) -> Draft:
        """Return the object in progress; raise a `PromptError` if there is none for a purpose."""
        if self.draft is None or self.draft.empty:
            raise PromptError(f"there is no object in progress {purpose}".rstrip())
        return self.draft


class Action:
    """Something to do in a session; a frozen dataclass of what it was asked to do.

    Its change is planned, both are journalled, and only then does the state change. A recorded
    action can be read and performed again.
    """

    __slots__ = ()

    do: ClassVar[str]
    """Its name in journals."""
    in_history: ClassVar[bool] = True
    """Whether it is a step of the history."""
    edits: ClassVar[bool] = False
    """Whether it changes labels; a journal then has the edit as well."""
    says: ClassVar[str] = ""
    """What it did, for people: a format of its fields; by default its name."""

    def plan(self, state: SessionState) -> Change:
        """Return what it changes; raise a `PromptError` if it cannot be done. Changes nothing."""
        return Change(self.describe(), state.draft, state.draft)

    def describe(self, edit: LabelEdit | None = None) -> str:
        """Return what it did, for people."""
        return self.says.format(self) or self.do.replace("_", " ")

    def again(self, state: SessionState, edit: LabelEdit | None) -> Action:
        """Return a recorded action as it is performed again; its edit may say what it was."""
        return self

    def after(self, state: SessionState, edit: LabelEdit) -> Change:
        """Return the change of a planned or recorded edit."""
        return Change(self.describe(edit), state.draft, state.draft, edit)

    def settle(self, state: SessionState) -> None:
        """Change the rest of the state, if the action is no step of the history."""

    def announce(self, events: SessionEvents) -> None:
        """Tell others of what `settle` changed."""

    def to_json(self) -> dict[str, Any]:
        """Return the action as a journal has it."""
        return {"do": self.do, **to_json(self)}

    @classmethod
    def read(cls, line: bytes, where: str) -> Self:
        """Read a line of a journal.

        Parameters
        ----------
        line : bytes
            JSON.
        where : str
            Begins the message of an error.

        Raises
        ------
        FormatError
            If it is not such an action.
        """
        action: Self = decode_json(line, cls, where)
        return action
