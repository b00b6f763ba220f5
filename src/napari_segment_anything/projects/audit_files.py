"""Files of an audit: what was drawn, and the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import FormatError
from ..formats.rle import from_coco
from ..limits import RECORDS_BYTES
from ..reading import read_json
from .audit_answers import FieldAnswer, MaskAnswer
from .audit_sample import AuditSample
from .files import read_lines

ANSWERS = "answers.jsonl"
_OLDER = "answers.json"
"""Holds all answers that were given before each was a line."""
_WHAT = "list of answers of an audit"


@dataclass(frozen=True, slots=True)
class MadeWith:
    """A model, and how many of the audited masks it made.

    Parameters
    ----------
    model, version, fingerprint : str
        As in `ObjectEntry`.
    masks : int
    """

    model: str
    version: str
    fingerprint: str
    masks: int


@dataclass(frozen=True, slots=True)
class DrawnAudit:
    """What ``sample.json`` holds.

    Parameters
    ----------
    version : int
        Of the file.
    project : str
        Name of the project.
    package : str
        Version of this package.
    time : str
        When the sample was drawn (ISO 8601, UTC).
    models : tuple of MadeWith
    threshold : float or None
        Score from which on open suggestions were audited; None if there were none.
    left_out : int
        Images without automatic masks, skipped or flagged.
    sample : AuditSample
    """

    version: Literal[1]
    project: str
    package: str
    time: str
    models: tuple[MadeWith, ...]
    threshold: float | None
    left_out: int
    sample: AuditSample


@dataclass(frozen=True, slots=True)
class Answers:
    """What a line of ``answers.jsonl`` holds: answers by their position in the sample."""

    version: Literal[1]
    masks: dict[int, MaskAnswer] = field(default_factory=dict)
    fields: dict[int, FieldAnswer] = field(default_factory=dict)


def read_drawn(path: Path) -> DrawnAudit:
    """Read ``sample.json``.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    drawn: DrawnAudit = read_json(path, DrawnAudit, what="sample of an audit", limit=RECORDS_BYTES)
    keys = {image.key for image in drawn.sample.images}
    for mask in drawn.sample.masks:
        from_coco(mask.mask)
        if mask.image not in keys or not 0 <= mask.stratum < len(drawn.sample.strata):
            raise FormatError(f"{path}: a mask is of no image or stratum of the audit")
    if any(each.image not in keys for each in drawn.sample.fields):
        raise FormatError(f"{path}: a field is of no image of the audit")
    return drawn


def read_answers(folder: Path, sample: AuditSample) -> Answers:
    """Read ``answers.jsonl``: the last answer about each mask and field.

    Another process may be writing it, or was killed: a last line that is incomplete is left out.

    Parameters
    ----------
    folder : Path
        Of the audit.
    sample : AuditSample
        What was drawn.

    Raises
    ------
    FormatError
        If it is damaged, or answers what was not drawn.
    """
    found, path, older = Answers(1), folder / ANSWERS, folder / _OLDER
    parts = [read_json(older, Answers, what=_WHAT, limit=RECORDS_BYTES)] if older.exists() else []
    damaged = f"{path} is damaged"
    parts += read_lines(path, Answers, what=_WHAT, damaged=damaged, limit=RECORDS_BYTES)
    for part in parts:
        found.masks.update(part.masks)
        found.fields.update(part.fields)
    for held, drawn in ((found.masks, sample.masks), (found.fields, sample.fields)):
        if not all(0 <= number < len(drawn) for number in held):
            raise FormatError(f"{path} answers what was not drawn")
    for each in found.masks.values():
        for mask in each.objects:
            from_coco(mask)
        count = 1 if each.verdict == "accepted" else len(each.objects)
        if each.classes is not None and len(each.classes) != count:
            raise FormatError(f"{path}: an answer has {count} objects, {len(each.classes)} classes")
    for place in found.fields.values():
        for mask in place.missed:
            from_coco(mask)
        if place.classes is not None and len(place.classes) != len(place.missed):
            raise FormatError(f"{path}: a field has not as many classes as missed objects")
    return found
