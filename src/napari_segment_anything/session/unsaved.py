"""Unsaved work: journals of sessions that ended without being closed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..engine import PlaneSource
from ..errors import FormatError, ImageError
from .journal import Journal, recorded_objects, unfinished_journals
from .recovery import check_image
from .session_actions import Closed


@dataclass(frozen=True, slots=True)
class UnsavedWork:
    """The work of a session that was not closed.

    Parameters
    ----------
    path : Path
        Its journal.
    objects : int
        How many objects there were at its end.
    ended : datetime
        When the last event was written, in local time.
    onto_labels : bool
        Whether there were labels before the session; its journal does not contain them.
    """

    path: Path
    objects: int
    ended: datetime
    onto_labels: bool


def unsaved_work(
    source: PlaneSource, directory: str | os.PathLike[str] | None = None
) -> list[UnsavedWork]:
    """Find journals with objects of an image, of sessions that were not closed.

    Journals that are in use or damaged, or of other images or planes, are left out. Reads the
    pixels that `PlaneSource.signature` needs. May run on any thread.

    Parameters
    ----------
    source : PlaneSource
        The image.
    directory : path, optional
        By default `journal_directory()`.

    Returns
    -------
    list of UnsavedWork
        The latest first.
    """
    found = []
    signature: Mapping[str, Any] | None = None
    for path in unfinished_journals(directory):
        if Journal.is_in_use(path):
            continue
        try:
            if signature is None:
                signature = source.signature()
            check_image(_header(path), source, signature)
            header, events = Journal.read(path)
            ended = datetime.fromtimestamp(path.stat().st_mtime)
        except (FormatError, ImageError, OSError, ValueError, KeyError):
            continue
        objects = len(recorded_objects(events))
        if objects:
            onto_labels = int(header["target"]["largest"]) > 0
            found.append(UnsavedWork(path, objects, ended, onto_labels))
    return found


def discard(path: str | os.PathLike[str]) -> None:
    """Mark a journal as closed, so that it is not offered again; it can still be recovered.

    Raises
    ------
    ResourceError
        If it cannot be written to.
    """
    journal = Journal(path)
    journal.resume()
    journal.write(Closed().to_json(), durable=True)
    journal.close()


def _header(path: Path) -> dict[str, Any]:
    """Read the first line only: most journals are of other images."""
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.readline())
    return header
