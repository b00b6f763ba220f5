"""Objects of an image: their prompts, and how each was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ..errors import FormatError
from ..limits import RECORDS_BYTES
from ..reading import convert, read_json
from ..session import MadeBy, ObjectPrompts, SessionObject
from ..session.schema import Number, Share, Text, to_json

_Id = Annotated[int, Field(ge=1, le=2**31 - 1)]


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object of an image.

    Parameters
    ----------
    id : int
        Its label.
    class_name : str
        Name of its class; "" without one.
    prompts : ObjectPrompts
        Empty for an object without prompts.
    score : float or None
        Predicted IoU of its mask.
    seconds : float
        Spent on it.
    made_by : {"person", "suggestion", "corrected", "imported"}
        By a person with prompts or a brush; a suggestion taken as it was, or corrected; or read
        from a file.
    model, fingerprint : str
        Name of the model that made the mask, and hash of its weights; "" without a model.
    version : str
        The project's version of the model, "v2"; "" for a model from elsewhere.
    time : str
        When it was made (ISO 8601, UTC).
    who : str
        Who made it.
    """

    id: _Id
    class_name: Text = ""
    prompts: ObjectPrompts = field(default_factory=ObjectPrompts)
    score: Number | None = None
    seconds: Share = 0.0
    made_by: MadeBy = "person"
    model: Text = ""
    fingerprint: Text = ""
    version: Text = ""
    time: Text = ""
    who: Text = ""

    @classmethod
    def of(cls, item: SessionObject, **values: Any) -> ObjectEntry:
        """Make an entry from a session's object.

        Parameters
        ----------
        item : SessionObject
            Committed.
        **values
            Other fields, such as `model`.
        """
        own = {
            "prompts": item.prompts,
            "score": item.score,
            "seconds": item.seconds,
            "fingerprint": item.fingerprint,
            "class_name": item.class_name,
            "made_by": item.made_by,
        }
        if item.id is None:
            raise FormatError("only committed objects have an id")
        return cls(item.id, **{**own, **values})

    def to_session(self, suggestion: int | None = None) -> SessionObject:
        """Return the object as a session has it.

        Parameters
        ----------
        suggestion : int, optional
            Number of the suggestion that it was made from.
        """
        return SessionObject(
            self.id,
            (),
            self.prompts,
            score=self.score,
            fingerprint=self.fingerprint,
            seconds=self.seconds,
            class_name=self.class_name,
            made_by=self.made_by,
            suggestion=suggestion,
        )


def entry_json(entry: ObjectEntry) -> dict[str, Any]:
    """Return an entry as plain values; fields with their defaults are left out."""
    values: dict[str, Any] = to_json(entry)
    return values


def entry_from(values: Mapping[str, Any], where: str) -> ObjectEntry:
    """Read what `entry_json` returned.

    Parameters
    ----------
    values : mapping
    where : str
        Begins the message of an error.

    Raises
    ------
    FormatError
        If a value is missing or invalid.
    """
    entry: ObjectEntry = convert(values, ObjectEntry, where)
    return entry


def objects_writer(entries: Sequence[ObjectEntry]) -> Callable[[Path], object]:
    """Return a function that writes objects as JSON, a line each."""
    lines = ",\n".join(
        json.dumps(entry_json(entry), ensure_ascii=False, allow_nan=False) for entry in entries
    )
    text = f'{{"version": 1, "objects": [\n{lines}\n]}}\n'
    return lambda path: path.write_text(text, "utf-8")


@dataclass(frozen=True, slots=True)
class _ObjectsFile:
    version: Literal[1]
    objects: tuple[ObjectEntry, ...]


def read_objects(path: Path) -> tuple[ObjectEntry, ...]:
    """Read ``objects.json``.

    Raises
    ------
    FormatError
        If it is damaged, or two objects have the same id.
    """
    file: _ObjectsFile = read_json(path, _ObjectsFile, what="file of objects", limit=RECORDS_BYTES)
    ids = [entry.id for entry in file.objects]
    if len(set(ids)) < len(ids):
        raise FormatError(f"{path}: two objects have the same id")
    return file.objects


def label_ids(labels: npt.ArrayLike) -> list[int]:
    """Return the ids of a label image, ascending, without the background."""
    array = np.asarray(labels)
    largest = int(array.max(initial=0))
    if array.dtype.kind in "iu" and largest < 4 * array.size:  # much faster than sorting
        present = np.flatnonzero(np.bincount(array.ravel(), minlength=1)).tolist()
    else:
        present = np.unique(array).tolist()
    return [int(label) for label in present if label]
