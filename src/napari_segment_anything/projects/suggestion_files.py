"""``suggestions.json``: written in the form of SA-1B, and read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from ..errors import FormatError
from ..formats.records import ImageRecords, MaskRecord, to_sa1b
from ..formats.rle import from_coco
from ..limits import RECORDS_BYTES
from ..reading import read_json
from .suggestions import Source, Status, Suggestion, Suggestions

VERSION = 1


class _Code(TypedDict):
    size: tuple[int, int]
    counts: str


_Id = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Score = Annotated[float, Field(ge=0, le=1)]


class _Entry(TypedDict, total=False):
    id: _Id
    segmentation: _Code
    predicted_iou: float
    stability_score: float
    point_coords: list[tuple[float, float]]
    score: _Score
    status: Status
    source: Source
    version: str
    fingerprint: str
    object: Annotated[int, Field(ge=0, le=2**31 - 1)]
    doubts: dict[str, _Score]


class _Image(TypedDict):
    width: int
    height: int


class _Header(TypedDict):
    version: int
    settings: dict[str, Any]


class _File(TypedDict):
    image: _Image
    annotations: list[_Entry]
    suggestions: _Header


def suggestions_writer(suggestions: Suggestions) -> Callable[[Path], object]:
    """Return a function that writes suggestions as JSON: the form of SA-1B, with further keys."""
    records = tuple(
        MaskRecord.from_mask(
            item.mask,
            id=item.id,
            predicted_iou=item.predicted_iou,
            stability_score=item.stability,
            point_coords=(item.point[::-1],),
        )
        for item in suggestions.items
    )
    rows, columns = suggestions.shape
    data = to_sa1b(ImageRecords(columns, rows, records))
    for entry, item in zip(data["annotations"], suggestions.items, strict=True):
        entry.update(
            score=item.score, status=item.status, source=item.source, version=item.version,
            fingerprint=item.fingerprint, object=item.object_id,
            doubts={name: round(min(max(v, 0.0), 1.0), 4) for name, v in item.doubts.items()},
        )  # fmt: skip
    data["suggestions"] = {"version": VERSION, "settings": dict(suggestions.settings)}
    text = json.dumps(data, allow_nan=False)
    return lambda path: path.write_text(text, "utf-8")


def read_suggestions(path: Path) -> Suggestions:
    """Read ``suggestions.json``.

    Raises
    ------
    FormatError
        If the file is missing, damaged, or of a later version.
    """
    data: _File = read_json(path, _File, what="file of suggestions", limit=RECORDS_BYTES)
    header = data["suggestions"]
    if header["version"] != VERSION:
        raise FormatError(f"{path} is of version {header['version']}; this program reads {VERSION}")
    shape = (data["image"]["height"], data["image"]["width"])
    items: list[Suggestion] = []
    for place, entry in enumerate(data["annotations"]):
        where = f"{path}, annotation {place}"
        missing = {"id", "segmentation", "score", "status", "source"} - set(entry)
        if missing:
            raise FormatError(f"{where}: {min(missing)} is missing")
        try:
            mask = from_coco(entry["segmentation"])
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from error
        if mask.size != shape or entry["id"] <= (items[-1].id if items else 0):
            raise FormatError(
                f"{where}: its mask has another size than the image, or its id repeats"
            )
        col, row = (entry.get("point_coords") or [(0.0, 0.0)])[0]
        items.append(
            Suggestion(
                entry["id"],
                mask,
                entry["score"],
                entry.get("predicted_iou", math.nan),
                entry.get("stability_score", math.nan),
                (row, col),
                entry["status"],
                entry["source"],
                entry.get("version", ""),
                entry.get("fingerprint", ""),
                entry.get("object", 0),
                entry.get("doubts", {}),
            )
        )
    return Suggestions(shape, tuple(items), header["settings"])
