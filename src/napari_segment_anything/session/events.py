"""Events: actions and their outcome as a journal records them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NotRequired

from typing_extensions import TypedDict

from ..engine import Window
from ..errors import FormatError
from ..reading import decode_json
from . import draft_actions, object_actions, series_actions, session_actions
from .action import Action
from .history import Change, History
from .label_edits import LabelEdit, apply
from .objects import SessionObject
from .schema import Number, Rectangle, Text, to_json, window_json
from .session_actions import Redo, Undo
from .target import LabelTarget

ACTIONS: dict[str, type[Action]] = {
    kind.do: kind
    for module in (draft_actions, object_actions, series_actions, session_actions)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Action) and kind is not Action
}
"""Every action by the name that it has in journals."""

VOID = {"do": "void"}
"""Revokes the event before it, whose labels could not be written."""


@dataclass(frozen=True, slots=True)
class Event:
    """A recorded action and its outcome.

    Parameters
    ----------
    action : Action
    seconds : float
        Since the session began.
    edit : LabelEdit or None
        The change of labels; given if the action makes one.
    window : tuple of (Window or None), optional
        The window of the object in progress afterwards; empty if that was not recorded.
    """

    action: Action
    seconds: float = 0.0
    edit: LabelEdit | None = None
    window: tuple[Window | None, ...] = ()


class _Outcome(TypedDict):
    do: Text
    t: NotRequired[Number]
    window: NotRequired[Rectangle | None]
    edit: NotRequired[LabelEdit]


def to_event(action: Action, change: Change) -> dict[str, Any]:
    """Return the event of an action and its change as plain values, without the time."""
    event = action.to_json()
    if action.edits:
        event["edit"] = to_json(change.edit)
    elif action.in_history and change.after is not None:
        window = change.after.window
        event["window"] = None if window is None else window_json(window)
    return event


def read_event(line: bytes, where: str) -> Event | None:
    """Read a line of a journal; return None if it revokes the event before.

    Parameters
    ----------
    line : bytes
        JSON.
    where : str
        Begins the message of an error.

    Raises
    ------
    FormatError
        If it is not an event.
    """
    outcome: _Outcome = decode_json(line, _Outcome, where)
    name = outcome["do"]
    if name == VOID["do"]:
        return None
    kind = ACTIONS.get(name)
    if kind is None:
        raise FormatError(f"{where}: do {name} is unknown; a later version may know it")
    if kind.edits and "edit" not in outcome:
        raise FormatError(f"{where}: edit is missing")
    return Event(
        kind.read(line, where),
        outcome.get("t", 0.0),
        outcome.get("edit") if kind.edits else None,
        (outcome["window"],) if kind.in_history and "window" in outcome else (),
    )


def recorded_objects(
    events: Iterable[Event], target: LabelTarget | None = None
) -> dict[int, SessionObject]:
    """Return the committed objects that there are after recorded events, by label.

    Parameters
    ----------
    events : iterable of Event
    target : LabelTarget, optional
        Labels as they were before; the recorded ones are written to it.

    Raises
    ------
    FormatError
        If the events do not fit together, or the target.
    """
    objects: dict[int, SessionObject] = {}
    try:
        for edit in recorded_edits(events):
            if target is not None:
                apply(target, edit.patches)
            for label, _, after in edit.objects:
                if after is None:
                    objects.pop(label, None)
                else:
                    objects[label] = after
    except (IndexError, ValueError, TypeError) as error:
        raise FormatError(f"recorded labels do not fit together: {error}") from error
    return objects


def recorded_edits(events: Iterable[Event]) -> Iterator[LabelEdit]:
    """Yield every change of labels in order, those reverted and made again included.

    Raises
    ------
    FormatError
        If more is reverted than there is.
    """
    history = History()
    for event in events:
        change = Change("", None, None, event.edit)
        if isinstance(event.action, Undo | Redo):
            back = isinstance(event.action, Undo)
            changes = history.done if back else history.undone
            if not changes:
                raise FormatError(f"there is nothing to {event.action.do}")
            change = changes[-1].inverse() if back else changes[-1]
            (history.step_back if back else history.step_forward)()
        elif event.action.in_history:
            history.push(change)
        if change.edit is not None:
            yield change.edit
