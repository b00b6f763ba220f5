"""Actions that can be taken back, one line of them across planes and commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .draft import Draft
from .objects import SessionObject
from .regions import Patch

ObjectChange = tuple[int, SessionObject | None, SessionObject | None]


@dataclass(frozen=True, slots=True)
class Edit:
    """What an action does to objects and labels.

    Parameters
    ----------
    objects : tuple of (id, before, after)
        None where there is none.
    patches : tuple of Patch
        In the order they are applied.
    next_id : (int, int)
        The next free label before and after.
    """

    objects: tuple[ObjectChange, ...] = ()
    patches: tuple[Patch, ...] = ()
    next_id: tuple[int, int] = (0, 0)

    @property
    def ids(self) -> tuple[int, ...]:
        """Objects that change."""
        return tuple(label for label, _, _ in self.objects)

    def inverse(self) -> Edit:
        """Return what takes it back."""
        return Edit(
            tuple((label, after, before) for label, before, after in reversed(self.objects)),
            tuple(patch.inverse() for patch in reversed(self.patches)),
            (self.next_id[1], self.next_id[0]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "objects": [
                [label, *(None if item is None else item.to_json() for item in states)]
                for label, *states in self.objects
            ],
            "patches": [patch.to_json() for patch in self.patches],
            "next_id": list(self.next_id),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Edit:
        """Read what `to_json` gave."""

        def item(plain: Any) -> SessionObject | None:
            return None if plain is None else SessionObject.from_json(plain)

        first, last = data["next_id"]
        return cls(
            tuple((int(label), item(old), item(new)) for label, old, new in data["objects"]),
            tuple(Patch.from_json(patch) for patch in data["patches"]),
            (int(first), int(last)),
        )


@dataclass(frozen=True, slots=True)
class Action:
    """One step of the history.

    Parameters
    ----------
    description : str
        For people: "add point".
    before, after : Draft or None
        What was in progress.
    edit : Edit or None
        What happened to committed objects.
    """

    description: str
    before: Draft | None
    after: Draft | None
    edit: Edit | None = None


class History:
    """Actions done, and actions undone that can be done again."""

    def __init__(self) -> None:
        self.done: list[Action] = []
        self.undone: list[Action] = []

    def push(self, action: Action) -> None:
        """Add what was just done; what was undone before cannot be redone any more."""
        self.done.append(action)
        self.undone.clear()
