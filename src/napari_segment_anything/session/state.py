"""The state of a session, which actions read and change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from psygnal import Signal, SignalGroup

from ..engine import PlaneSource, Window
from ..errors import PromptError
from .committed import CommittedObjects
from .decoding_chain import DecodingChain
from .draft import Draft
from .history import History


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
