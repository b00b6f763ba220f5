"""What can be done in a session: every action is a value that says what it changes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from ..reading import decode_json
from .history import Change
from .label_edits import LabelEdit
from .schema import to_json
from .state import SessionEvents, SessionState


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
