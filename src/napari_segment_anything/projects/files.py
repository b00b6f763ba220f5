"""Files of an image's folder: written together, and read while others may write."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import SegmentAnythingError
from ..formats._stores import store_errors
from ..formats.atomic import replacing, staging
from ..limits import CONFIGURATION_BYTES, Limit
from ..reading import decode_json, read_bytes

COMMIT = ".commit"
"""Folder with files that are written completely but not yet moved to their places."""
_TRIES = 3
T = TypeVar("T")
Writer = Callable[[Path], object]


def write_together(folder: Path, files: Mapping[str, Writer]) -> None:
    """Write several files so that a process killed at any time leaves all of them or none.

    They are written in a hidden folder, which one rename makes valid, and then moved. A move that
    was cut short is completed by `complete_commit`; `read_current` reads the new files before.

    Parameters
    ----------
    folder : Path
        It must exist, and be locked by the caller.
    files : mapping of str to callable
        For each name, a function that writes it to the path that it is given.

    Raises
    ------
    FormatError
        If one cannot be written (no space, no permission); all of them are as before.
    """
    with store_errors(folder):
        complete_commit(folder)
        with staging(folder) as place:
            written = place / COMMIT
            written.mkdir()
            for name, write in files.items():
                write(written / name)
                if (written / name).is_file():
                    _to_disk(written / name)
            for left in written.iterdir():  # of writers that stage files themselves
                if left.name not in files:
                    shutil.rmtree(left, ignore_errors=True)
            written.rename(folder / COMMIT)
        complete_commit(folder)


def complete_commit(folder: Path) -> None:
    """Move files of a commit, perhaps one that a killed process left, to their places."""
    commit = folder / COMMIT
    if not commit.is_dir():
        return
    for path in sorted(commit.iterdir()):
        target = folder / path.name
        if path.is_dir() and target.exists():
            shutil.rmtree(target)
        path.replace(target)
    commit.rmdir()


def current(folder: Path, name: str) -> Path:
    """The path of a file's latest version, which may lie in an uncompleted commit."""
    committed = folder / COMMIT / name
    return committed if committed.exists() else folder / name


def read_current(folder: Path, name: str, read: Callable[[Path], T]) -> T | None:
    """Read a file's latest version, while another process may replace it.

    Parameters
    ----------
    folder : Path
    name : str
    read : callable
        Reads it from the path that it is given.

    Returns
    -------
    object or None
        What `read` returns; None if there is no such file.
    """
    for left in reversed(range(_TRIES)):
        path = current(folder, name)
        if not path.exists() and not (folder / name).exists():
            return None
        try:
            return read(path)
        except (SegmentAnythingError, OSError):
            if path.exists() or not left:
                raise
    return None


def json_writer(value: Any) -> Writer:
    """Return a function that writes plain values as JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return lambda path: path.write_text(text, "utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a text file, completely or not at all.

    Raises
    ------
    FormatError
        If it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="")


def read_lines(
    path: Path, kind: Any, *, what: str, damaged: str, limit: Limit = CONFIGURATION_BYTES
) -> Iterator[Any]:
    """Read what lines of JSON hold, none if there is no file; an incomplete last one is left out.

    Parameters
    ----------
    path : Path
    kind : type
        What each line is converted to.
    what : str
        What the file is, for messages.
    damaged : str
        What to say of a line that is not of that kind.
    limit : int
        Bytes that are read at most.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    if path.exists():
        for line in read_bytes(path, limit, what=what).splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield decode_json(line, kind, damaged)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file that the caller has locked, and wait until it is on the disk.

    An incomplete last line, of a killed process, is cut off.

    Raises
    ------
    FormatError
        If it cannot be written.
    """
    with store_errors(path), path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
