"""``images.csv``: every image of a project by its key."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..datasets.sources import FoundImage, plane_text, read_plane
from ..errors import FormatError
from ..limits import RECORDS_BYTES
from ..reading import plain_name, read_bytes

_OWN = ("key", "source", "path", "plane")
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One row.

    Parameters
    ----------
    key : str
        Its name in the project, and that of its folder.
    source : int
        Index of its `ImageSource`.
    path : str
        As in `FoundImage`.
    plane : dict of str to int
    columns : dict of str to str
    """

    key: str
    source: int
    path: str
    plane: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, str, str]:
        """What makes it the same image as another entry's."""
        return self.source, self.path, plane_text(self.plane)


def read_index(path: Path, sources: int) -> tuple[IndexEntry, ...]:
    """Read ``images.csv``.

    Parameters
    ----------
    path : Path
    sources : int
        Number of sources of the project.

    Raises
    ------
    FormatError
        If it is missing or damaged; the message names the row.
    """
    data = read_bytes(path, RECORDS_BYTES, what="table of images")
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as a table: {error}") from error
    header = rows[0] if rows else []
    if tuple(header[: len(_OWN)]) != _OWN:
        raise FormatError(f"{path} needs a header that begins with {','.join(_OWN)}")
    entries: list[IndexEntry] = []
    keys: set[str] = set()
    for number, row in enumerate(rows[1:], start=2):
        where = f"{path}, row {number}"
        if len(row) != len(header):
            raise FormatError(f"{where}: {len(row)} fields, but the header has {len(header)}")
        key = plain_name(row[0], f"an image ({where})", FormatError)
        if key.casefold() in keys:
            raise FormatError(f"{where}: there are two images called {key}")
        keys.add(key.casefold())
        if not re.fullmatch(r"[0-9]{1,6}", row[1]) or not 1 <= int(row[1]) <= sources:
            raise FormatError(f"{where}: source {row[1]!r} is not one of the {sources}")
        columns = {name: text for name, text in zip(header[4:], row[4:], strict=True) if text}
        entries.append(IndexEntry(key, int(row[1]) - 1, row[2], read_plane(row[3], where), columns))
    return tuple(entries)


def index_text(entries: Sequence[IndexEntry]) -> str:
    """Return entries as the text of ``images.csv``."""
    names = list(dict.fromkeys(name for entry in entries for name in entry.columns))
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([*_OWN, *names])
    for entry in entries:
        own = (entry.key, entry.source + 1, entry.path, plane_text(entry.plane))
        writer.writerow([*own, *(entry.columns.get(name, "") for name in names)])
    return out.getvalue()


def to_entries(
    found: Iterable[FoundImage], source: int, name: str, known: Sequence[IndexEntry]
) -> list[tuple[IndexEntry, FoundImage]]:
    """Give new images keys.

    Parameters
    ----------
    found : iterable of FoundImage
        Those that are known are left out.
    source : int
        Index of their source.
    name : str
        For an image without a path of its own.
    known : sequence of IndexEntry
        The project's.

    Returns
    -------
    list of (IndexEntry, FoundImage)
    """
    keys = {entry.key.casefold() for entry in known}
    places = {entry.place for entry in known}
    made = []
    for image in found:
        entry = IndexEntry("", source, image.path, dict(image.plane), dict(image.columns))
        if entry.place in places:
            continue
        places.add(entry.place)
        key = free_key(image.key or readable_key(image.path or name, image.plane), keys)
        keys.add(key.casefold())
        made.append((IndexEntry(key, source, entry.path, entry.plane, entry.columns), image))
    return made


def readable_key(path: str, plane: Mapping[str, int]) -> str:
    """Return a name for a folder, made of a path and a plane."""
    parts = re.split(r"[/\\:]+", path)
    last = re.sub(r"(\.ome)?\.[A-Za-z0-9]{1,7}$", "", parts[-1])
    text = "-".join(part for part in (*parts[:-1], last) if part not in ("", ".", ".."))
    text = re.sub(r'[*?"<>|\x00-\x1f\x7f]', "_", text).strip(" .")[-_LONGEST:].strip(" .")
    indices = "".join(f"-{axis.lower()}{index:03d}" for axis, index in plane.items())
    return (text or "image") + indices


def free_key(wanted: str, taken: set[str]) -> str:
    """Return a name that is not `taken` (in lower case): the wanted one, or with a number."""
    try:
        name = plain_name(wanted, "an image")
    except ValueError:
        name = f"image-{re.sub(r'[^A-Za-z0-9_-]', '_', wanted)[:_LONGEST]}"
    key, number = name, 2
    while key.casefold() in taken:
        key, number = f"{name}-{number}", number + 1
    return key
