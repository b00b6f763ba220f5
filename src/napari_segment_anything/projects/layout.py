"""The folder of an image: names of its files, and the small ones read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..reading import decode_json, read_bytes, read_json
from .status import ImageStatus

STATUS = "state.json"
LABELS = "labels.tif"
LARGE_LABELS = "labels.ome.zarr"
OBJECTS = "objects.json"
SUGGESTIONS = "suggestions.json"
POOL = "candidates.npz"
"""It can be deleted, and is then computed again."""
JOURNAL = "journal.jsonl"
LOCK = "lock"
HOLDER = "editing.json"


def holder(folder: Path) -> str:
    """Who holds the lock of an image's folder, for messages."""
    try:
        held = read_json(folder / HOLDER, dict[str, str], what="record of who works on an image")
    except FormatError:
        return "somebody"
    return " ".join(part for part in (held.get("who"), f"on {held.get('host', '?')}") if part)


def read_status(path: Path) -> ImageStatus:
    """Read ``state.json``.

    Raises
    ------
    FormatError
        If it is damaged, or of a later version.
    """
    data = read_bytes(path, what="state of an image")
    version = decode_json(data, dict[str, Any], str(path)).get("version")
    if version != 1:
        raise FormatError(f"{path} is of version {version}; this program reads 1")
    status: ImageStatus = decode_json(data, ImageStatus, str(path))
    return status
