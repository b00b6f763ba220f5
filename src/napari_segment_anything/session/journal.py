"""The journal: a file with every event of a session, so that no work is lost.

An event is an action and its outcome.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NotRequired

import filelock
import platformdirs
import torch
from typing_extensions import TypedDict

from ..engine import Predictor, Window
from ..engine.policy import policy
from ..errors import FormatError, ResourceError
from ..limits import JOURNAL_BYTES
from ..reading import decode_json, read_bytes
from . import draft_actions, object_actions, series_actions, session_actions
from .label_edits import LabelEdit, apply
from .objects import SessionObject
from .schema import Header, Number, Rectangle, Text, to_json, window_json
from .session_actions import Redo, Undo
from .state import Action, Change, History
from .target import LabelTarget

FORMAT = "napari-segment-anything journal"
VERSION = 2
"""1 (or none): without the decoding policy. 2: with it."""
_LAST = 256
_HEADER = 2**20
_CLOSED = b'{"do":"closed"'

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


class Journal:
    """An append-only file of JSON lines: a header, then one event per line.

    Each event is handed to the operating system before it takes effect, so a killed process loses
    at most the event that it was writing. Events that change labels are also forced to the disk,
    so a power failure loses little.

    Parameters
    ----------
    path : path
        The file. It is made by `begin`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._file: Any = None
        self._end = 0
        self._lock = _lock(self.path)

    def begin(self, header: Mapping[str, Any]) -> None:
        """Write the header.

        Raises
        ------
        ResourceError
            If there is such a file already, or it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"the journal {self.path} cannot be written: {error}") from error
        try:
            self._hold(self.path.open("xb"))
        except FileExistsError as error:
            raise ResourceError(
                f"{self.path} exists already; recover the session from it, or choose another file"
            ) from error
        except OSError as error:
            raise ResourceError(f"the journal {self.path} cannot be written: {error}") from error
        self._end = 0
        self.write({"format": FORMAT, "version": VERSION, **header}, durable=True)

    def resume(self) -> None:
        """Continue after the last complete line; an incomplete one is cut off.

        Raises
        ------
        ResourceError
            If it cannot be written.
        """
        try:
            whole = self.path.read_bytes().rfind(b"\n") + 1
            self._hold(self.path.open("r+b"))
            self._file.truncate(whole)
            self._file.seek(whole)
        except OSError as error:
            raise ResourceError(f"the journal {self.path} cannot be written: {error}") from error
        self._end = whole

    @property
    def is_open(self) -> bool:
        """Whether events can be written."""
        return self._file is not None

    def write(self, event: Mapping[str, Any], durable: bool = False) -> None:
        """Append an event.

        Parameters
        ----------
        event : mapping
            Plain values.
        durable : bool
            Wait until it is on the disk, not only handed to the operating system.

        Raises
        ------
        ResourceError
            If it cannot be written; the file is then as it was before.
        """
        if self._file is None:
            raise ResourceError(f"the journal {self.path} is closed")
        line = json.dumps(event, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._rewind()
            raise ResourceError(f"the journal {self.path} cannot be written: {error}") from error
        self._end += len(line)

    def _hold(self, file: Any) -> None:
        with contextlib.suppress(filelock.Timeout, OSError, NotImplementedError):
            if not self._lock.is_locked:  # only tells others that it is in use
                self._lock.acquire(timeout=0)
        self._file = file
        # not at exit: Qt windows, which close their sessions, are destroyed even later
        weakref.finalize(self, file.close).atexit = False

    def _rewind(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        try:
            self._hold(self.path.open("r+b"))
            self._file.truncate(self._end)
            self._file.seek(self._end)
        except OSError:
            self._file = None

    def close(self) -> None:
        """Close the file; no more events can be written."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock.is_locked:
            self._lock.release()
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()

    @staticmethod
    def is_in_use(path: str | os.PathLike[str]) -> bool:
        """Whether a running session uses a journal, in this process or another."""
        lock = _lock(Path(path))
        if not Path(lock.lock_file).exists():
            return False
        try:
            with lock.acquire(timeout=0):
                return False
        except filelock.Timeout:
            return True
        except (OSError, NotImplementedError):  # a file system without locks
            return False

    @staticmethod
    def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[Event]]:
        """Read a journal.

        Returns
        -------
        header : dict
        events : list of Event
            In order, without an incomplete last line and without events that failed.

        Raises
        ------
        FormatError
            If it is not a journal, is of a later version, or is damaged; the message names the
            line.
        """
        path = Path(path).expanduser()
        data = read_bytes(path, JOURNAL_BYTES, what="journal")
        lines = data.split(b"\n")[:-1]  # what follows the last line end is incomplete
        header: dict[str, Any] = {}
        events: list[Event] = []
        for number, line in enumerate(lines, start=1):
            where = f"line {number} of the journal {path}"
            if number == 1:
                header = _read_header(line, path, where)
                continue
            event = read_event(line, where)
            if event is not None:
                events.append(event)
            elif not events:
                raise FormatError(f"{where} takes back an event that is not there")
            else:
                events.pop()
        if not header:
            raise FormatError(f"{path} is not a journal of a session")
        return header, events


def _read_header(line: bytes, path: Path, where: str) -> dict[str, Any]:
    plain = decode_json(line, dict[str, Any], where)
    if plain.get("format") != FORMAT:
        raise FormatError(f"{path} is not a journal of a session")
    version = plain.get("version", 1)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise FormatError(
            f"{path} is a journal of version {version}, this program reads versions up to "
            f"{VERSION}; use a newer one"
        )
    header: dict[str, Any] = decode_json(line, Header, where)
    return {**plain, **header}


def _lock(path: Path) -> filelock.BaseFileLock:
    return filelock.FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)


def journal_directory() -> Path:
    """Return the default folder of journals.

    The environment variable NAPARI_SEGMENT_ANYTHING_JOURNALS overrides it.
    """
    chosen = os.environ.get("NAPARI_SEGMENT_ANYTHING_JOURNALS")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("napari-segment-anything", appauthor=False) / "journals"


def new_journal_path(name: str = "", directory: str | os.PathLike[str] | None = None) -> Path:
    """Return a path for a new journal, such as ``2026-01-31_14-03-22_cells.jsonl``.

    Parameters
    ----------
    name : str
        The image's name.
    directory : path, optional
        By default `journal_directory()`. It is not created.
    """
    folder = journal_directory() if directory is None else Path(directory)
    words = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:40]
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    stem = f"{stamp}_{words}" if words else stamp
    path, number = folder / f"{stem}.jsonl", 2
    while os.path.exists(path):  # False for a folder that may not be looked into
        path, number = folder / f"{stem}_{number}.jsonl", number + 1
    return path


def unfinished_journals(directory: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return journals of sessions that were not closed, the latest first.

    These sessions were killed, or are still running.

    Parameters
    ----------
    directory : path, optional
        By default `journal_directory()`.
    """
    folder = journal_directory() if directory is None else Path(directory)
    if not folder.is_dir():
        return []
    found = []
    for path in folder.glob("*.jsonl"):
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                head = json.loads(file.readline(_HEADER))
                file.seek(max(0, path.stat().st_size - _LAST))
                last = file.read().split(b"\n")[-2:]
        except (OSError, ValueError, RecursionError):
            continue
        closed = last[-1] == b"" and last[0].startswith(_CLOSED)
        if isinstance(head, dict) and head.get("format") == FORMAT and not closed:
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


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


class Recorder:
    """Writes events to a journal, if there is one.

    Parameters
    ----------
    journal : Journal or path, optional
        Begun with the first event.
    now : callable
        The time of an event: seconds since the session began.
    header : callable
        What a new journal begins with.
    on_lost : callable, optional
        Called with the `ResourceError` when the journal cannot be written. The journal is then
        given up, since one with a missing event is useless. By default the error is raised.
    """

    def __init__(
        self,
        journal: Journal | str | os.PathLike[str] | None,
        now: Callable[[], float],
        header: Callable[[], Mapping[str, Any]],
        on_lost: Callable[[ResourceError], object] | None = None,
    ) -> None:
        self.journal = (
            journal if journal is None or isinstance(journal, Journal) else Journal(journal)
        )
        self._now, self._header, self._on_lost = now, header, on_lost

    def record(self, event: Mapping[str, Any], durable: bool = False) -> None:
        """Write an event; wait until it is on the disk if it is to be durable.

        Raises
        ------
        ResourceError
            If it cannot be written.
        """
        if self.journal is None:
            return
        try:
            if not self.journal.is_open:
                self.journal.begin(self._header())
            self.journal.write({**event, "t": self._now()}, durable)
        except ResourceError as error:
            self._lose(error)

    def resume(self, journal: Journal) -> None:
        """Continue a journal that was written before."""
        self.journal = journal
        try:
            journal.resume()
        except ResourceError as error:
            self._lose(error)

    def close(self, event: Mapping[str, Any]) -> None:
        """Write a last event, if there were others, and close the journal."""
        if self.journal is not None and self.journal.is_open:
            self.record(event, durable=True)
        if self.journal is not None:
            self.journal.close()

    def _lose(self, error: ResourceError) -> None:
        if self._on_lost is None:
            raise error
        if self.journal is not None:
            self.journal.close()
        self.journal = None
        self._on_lost(error)


def model_record(predictor: Predictor) -> Any:
    """Return what masks depend on besides the image, prompts and settings, as plain values."""
    model = predictor.model
    rounded = predictor.cache is not None and predictor.cache.directory is not None
    return {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "embeddings": "half" if rounded else "full",
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "policy": policy(model),
    }
