"""The history: changes that can be undone, across planes and commits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..engine import Window
from .draft import Draft
from .label_edits import LabelEdit


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
