"""Small changes of an image that a viewer has not written yet: noted at once, applied after a kill.

A viewer writes an image's files on another thread. Until they are written, what a person decided is
in ``pending.jsonl``, one line each; objects and their labels are in the session's journal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from ..errors import FormatError
from .files import append_line, read_lines
from .status import Polygon, State
from .suggestions import Status, Suggestions

PENDING = "pending.jsonl"
STATUS_FIELDS = ("state", "note", "complete_regions")


class PendingChange(TypedDict, total=False):
    """One line: fields of the image's status, or decisions about suggestions by their ids."""

    state: State
    note: str
    complete_regions: tuple[Polygon, ...]
    decided: dict[int, Status]


def note_pending(folder: Path, change: Mapping[str, Any]) -> None:
    """Append a change; it is on the disk before this returns.

    Parameters
    ----------
    folder : Path
        Of the image, which the caller has locked.
    change : mapping
        A `PendingChange`.
    """
    line = json.dumps(change, separators=(",", ":"), allow_nan=False)
    with suppress(OSError, FormatError):  # nor can the change itself be written, which is reported
        folder.mkdir(parents=True, exist_ok=True)
        append_line(folder / PENDING, line)


def clear_pending(folder: Path) -> None:
    """Forget the changes, once they are written."""
    (folder / PENDING).unlink(missing_ok=True)


def pending_changes(folder: Path) -> Iterator[PendingChange]:
    """Read the changes in order; a last line that is incomplete is left out.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    path = folder / PENDING
    damaged = f"{path} is damaged; delete it to go on"
    yield from read_lines(path, PendingChange, what="list of changes", damaged=damaged)


def decided(suggestions: Suggestions, changes: Mapping[int, Status]) -> Suggestions:
    """Apply decisions about suggestions, but for those that became objects."""
    for item in suggestions:
        status = changes.get(item.id, item.status)
        if status != item.status and not item.object_id:
            suggestions = suggestions.decide([item.id], status)
    return suggestions
