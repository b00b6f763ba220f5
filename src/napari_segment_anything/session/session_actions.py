"""Other actions: undo, redo, settings, locks, and notes that a replay needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..errors import PromptError
from ..reading import decode_json
from .schema import ChangedSettings, Index, Label, Number, RecordedModel, Rectangle
from .settings import SessionSettings
from .state import Action, Change, SessionEvents, SessionState


@dataclass(frozen=True, slots=True)
class Undo(Action):
    """Revert the last change."""

    do: ClassVar[str] = "undo"
    in_history: ClassVar[bool] = False

    def plan(self, state: SessionState) -> Change:
        if not state.history.done:
            raise PromptError("there is nothing to undo")
        return state.history.done[-1].inverse()

    def settle(self, state: SessionState) -> None:
        state.history.step_back()

    def announce(self, events: SessionEvents) -> None:
        events.history_changed.emit()


@dataclass(frozen=True, slots=True)
class Redo(Action):
    """Make the change again that was reverted last."""

    do: ClassVar[str] = "redo"
    in_history: ClassVar[bool] = False

    def plan(self, state: SessionState) -> Change:
        if not state.history.undone:
            raise PromptError("there is nothing to redo")
        return state.history.undone[-1]

    def settle(self, state: SessionState) -> None:
        state.history.step_forward()

    def announce(self, events: SessionEvents) -> None:
        events.history_changed.emit()


@dataclass(frozen=True, slots=True)
class ChangeSettings(Action):
    """Change settings; masks that depend on them are dropped."""

    do: ClassVar[str] = "settings"
    in_history: ClassVar[bool] = False
    values: ChangedSettings

    def among(self, settings: SessionSettings) -> SessionSettings:
        """Return settings with the changed ones."""
        return replace(settings, **self.values)

    def settle(self, state: SessionState) -> None:
        state.chain.configure(self.among(state.chain.settings))

    def announce(self, events: SessionEvents) -> None:
        if set(self.values) - {"overwrite"}:
            events.preview_changed.emit()

    def to_json(self) -> dict[str, Any]:
        return {"do": self.do, **self.values}

    @classmethod
    def read(cls, line: bytes, where: str) -> ChangeSettings:
        return cls(decode_json(line, ChangedSettings, where))


@dataclass(frozen=True, slots=True)
class Lock(Action):
    """Lock objects, or unlock them."""

    do: ClassVar[str] = "lock"
    in_history: ClassVar[bool] = False
    ids: tuple[Label, ...]
    on: bool

    def settle(self, state: SessionState) -> None:
        locked = state.objects.locked
        (locked.update if self.on else locked.difference_update)(self.ids)

    def announce(self, events: SessionEvents) -> None:
        events.objects_changed.emit(self.ids)


@dataclass(frozen=True, slots=True)
class Reserve(Action):
    """Give no new object a label up to this one: another writer of the same labels uses it."""

    do: ClassVar[str] = "reserve"
    in_history: ClassVar[bool] = False
    label: Label

    def settle(self, state: SessionState) -> None:
        state.objects.reserve(self.label)


@dataclass(frozen=True, slots=True)
class ChangeModel(Action):
    """Note that masks are decoded with another model from here on."""

    do: ClassVar[str] = "model"
    in_history: ClassVar[bool] = False
    model: RecordedModel

    def announce(self, events: SessionEvents) -> None:
        events.preview_changed.emit()


@dataclass(frozen=True, slots=True)
class Recovered(Action):
    """Note that the session was recovered: earlier masks are not available for refinement."""

    do: ClassVar[str] = "recovered"
    in_history: ClassVar[bool] = False
    model: RecordedModel
    label: Annotated[int, Field(ge=-1, le=2**63 - 1)]

    def settle(self, state: SessionState) -> None:
        state.chain.forget()
        state.objects.reserve(self.label)


@dataclass(frozen=True, slots=True)
class Decoded(Action):
    """Note that masks were decoded and accepted, which later ones may refine.

    A replay decodes for itself; the figures are for people.

    Parameters
    ----------
    revision : int
        Of the draft.
    fed_by : int or None
        The revision whose masks were refined.
    objects : tuple of (key, window, scores, best candidate)
    seconds : float
        Computing time.
    """

    do: ClassVar[str] = "decode"
    in_history: ClassVar[bool] = False
    revision: Index
    fed_by: Index | None
    objects: tuple[tuple[Index, Rectangle, tuple[Number, ...], Index], ...]
    seconds: Number


@dataclass(frozen=True, slots=True)
class Closed(Action):
    """Note that the session was closed."""

    do: ClassVar[str] = "closed"
    in_history: ClassVar[bool] = False
