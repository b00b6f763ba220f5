"""Read prompts from options and files into a list of objects.

An object is a dict with any of `points` (k, 2), `labels` (k,), `box` (4,), all in
(row, col) pixels; `id` is the label it gets in the result.

CSV files have a header and a row per point or box::

    object,kind,row,col,label,row_min,col_min,row_max,col_max
    1,point,120,80,1,,,,
    1,point,130,95,0,,,,
    2,box,,,,10,10,60,70

`label` is 1 for foreground (the default) and 0 for background; without an `object`
column every row is an object of its own, and without `kind` a row is what its
filled columns say: a point, a box, or both. Points and Shapes saved from napari as CSV
are understood too: each point, or each shape's bounding box, is an object.

JSON files hold a list of objects: `[{"points": [[120, 80]], "labels": [1]},
{"id": 7, "box": [10, 10, 60, 70]}]`.

Unknown columns or keys, rows with more or fewer cells than the header, and text in place of
numbers are errors that name the line or the object.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import PromptError
from ..formats.sheets import Row, cell_number, meant, read_rows
from ..limits import RECORDS_BYTES
from ..reading import read_bytes
from . import values

PromptObject = dict[str, Any]
_PLACE = ("row", "col")
_CORNERS = ("row_min", "col_min", "row_max", "col_max")
_COLUMNS = ("object", "kind", *_PLACE, "label", *_CORNERS)
_KEYS = ("id", "points", "labels", "box")
_LARGEST = 2**32 - 1


def from_options(
    points: Sequence[str], negatives: Sequence[str], boxes: Sequence[str], each_point: bool
) -> list[PromptObject]:
    """Objects described by `--point`, `--negative` and `--box`.

    All points together describe one object, or one each with `each_point`. Every box
    is an object; a single box and points describe the same object.

    Raises
    ------
    PromptError
        If a value is malformed, or it is ambiguous which prompts belong to an object.
    """
    foreground = [values.point(text) for text in points]
    background = [values.point(text, "--negative") for text in negatives]
    corners = [values.box(text) for text in boxes]
    if each_point:
        if background or corners:
            raise PromptError(
                "--each-point can only be combined with --point; describe objects with several "
                "prompts in a --prompts file"
            )
        if not foreground:
            raise PromptError("--each-point needs at least one --point")
        return _numbered([{"points": [at], "labels": [1]} for at in foreground])
    clicks: PromptObject = {}
    if foreground or background:
        if not foreground and not corners:
            raise PromptError("--negative needs a --point or --box")
        clicks = {
            "points": foreground + background,
            "labels": [1] * len(foreground) + [0] * len(background),
        }
    if clicks and len(corners) > 1:
        raise PromptError(
            "with points and several boxes, it is unclear which belong together; "
            "use a --prompts file"
        )
    if len(corners) == 1:
        return _numbered([{**clicks, "box": corners[0]}])
    return _numbered([{"box": corner} for corner in corners] or ([clicks] if clicks else []))


def read_prompts(path: Path) -> list[PromptObject]:
    """Objects from a CSV or JSON file (see the module's text for both forms).

    Raises
    ------
    PromptError
        If the file is malformed; the message names the row or object.
    FileNotFoundError
        If there is no such file.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        objects = _from_json(path)
    elif suffix == ".csv":
        objects = _from_csv(path)
    else:
        raise PromptError(f"--prompts takes a .csv or .json file, not {path.name}")
    if not objects:
        raise PromptError(f"{path.name} holds no prompts")
    return objects


def _numbered(objects: Iterable[PromptObject]) -> list[PromptObject]:
    return [{"id": number, **each} for number, each in enumerate(objects, start=1)]


# -- JSON ----------------------------------------------------------------------------------------


def _from_json(path: Path) -> list[PromptObject]:
    try:
        content = json.loads(
            read_bytes(path, RECORDS_BYTES, what="prompt file", error=PromptError),
            object_pairs_hook=_once,
            parse_constant=_not_a_number,
        )
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise PromptError(
            f"{path.name} must hold a list of objects like "
            '[{"points": [[row, col]], "labels": [1]}]'
        )
    objects: list[PromptObject] = []
    for number, each in enumerate(content, start=1):
        where = f"{path.name}, object {number}"
        for key in each:
            if key not in _KEYS:
                raise PromptError(f"{where}: unknown key {key!r}{meant(key, _KEYS)}")
        # null means the same as a missing key
        given = {key: value for key, value in each.items() if value is not None}
        result: PromptObject = {"id": given.get("id", number)}
        points, labels = given.get("points", []), given.get("labels")
        if not isinstance(points, list):
            raise PromptError(f"{where}: points is a list of [row, col], not {_short(points)}")
        if labels is None:
            labels = [1] * len(points)
        if not isinstance(labels, list) or len(labels) != len(points):
            raise PromptError(f"{where}: labels must be 1 or 0, one for each point")
        if not all(type(label) is int and label in (0, 1) for label in labels):
            raise PromptError(f"{where}: labels must be 1 or 0, not {_short(labels)}")
        if points:
            result |= {"points": [_list(at, _PLACE, where) for at in points], "labels": labels}
        if "box" in given:
            result["box"] = _corners(_list(given["box"], _CORNERS, where), where)
        if len(result) == 1:
            raise PromptError(f"{where} has neither points nor a box")
        objects.append(result)
    numbers = [each["id"] for each in objects]
    for number, label in enumerate(numbers, start=1):
        if type(label) is not int or not 1 <= label <= _LARGEST:
            raise PromptError(
                f"{path.name}, object {number}: id is a label, a whole number from 1 to "
                f"{_LARGEST}, not {_short(label)}"
            )
    if len(set(numbers)) != len(numbers):
        raise PromptError(f"{path.name}: two objects have the same id")
    return objects


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _not_a_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _list(value: Any, names: Sequence[str], where: str) -> list[float]:
    """The numbers of a list of that length."""
    fits = isinstance(value, list) and len(value) == len(names)
    if not fits or not all(type(each) in (int, float) for each in value):
        raise PromptError(f"{where}: {_short(value)} is not [{', '.join(names)}]")
    try:
        numbers = [float(each) for each in value]
    except OverflowError:
        numbers = [math.inf]
    if not all(map(math.isfinite, numbers)):
        raise PromptError(f"{where}: a number of {_short(value)} is too large")
    return numbers


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# -- CSV -----------------------------------------------------------------------------------------


def _from_csv(path: Path) -> list[PromptObject]:
    columns, rows = read_rows(path)
    if not rows:
        return []
    if "axis-0" in columns:
        return _from_napari(columns, rows, path)
    for column in columns:
        if column not in _COLUMNS:
            raise PromptError(
                f"{path.name}: unknown column {column!r}{meant(column, _COLUMNS)}; the columns "
                f"are {','.join(_COLUMNS)}"
            )
    if not set(_PLACE) <= set(columns) and not set(_CORNERS) <= set(columns):
        raise PromptError(
            f"{path.name} needs columns row,col for points or {','.join(_CORNERS)} for boxes"
        )
    objects: dict[int, PromptObject] = {}
    for count, (line, row) in enumerate(rows, start=1):
        where = f"{path.name}, line {line}"
        number = float(count) if "object" not in columns else cell_number(row, "object", where)
        if number != int(number) or not 1 <= number <= _LARGEST:
            raise PromptError(
                f"{where}: object is a label, a whole number from 1 to {_LARGEST}, "
                f"not {row['object']!r}"
            )
        each = objects.setdefault(int(number), {"id": int(number)})
        kind = row.get("kind", "")
        filled = [name for name in _COLUMNS[2:] if row.get(name)]
        if kind not in ("", "point", "box"):
            raise PromptError(f"{where}: kind is point or box, not {kind!r}")
        wrong = {"point": _CORNERS, "box": _PLACE}.get(kind, ())
        for name in filled:
            if name in wrong:
                raise PromptError(f"{where}: a {kind} has no {name}, but the cell is filled")
        if not filled:
            raise PromptError(f"{where} has neither a point nor a box")
        if kind == "point" or (not kind and set(filled) & set(_PLACE)):
            label = cell_number(row, "label", where) if row.get("label") else 1
            if label not in (0, 1):
                raise PromptError(
                    f"{where}: label is 1 (foreground) or 0 (background), not {row['label']!r}"
                )
            each.setdefault("points", []).append([cell_number(row, name, where) for name in _PLACE])
            each.setdefault("labels", []).append(int(label))
        elif row.get("label") and cell_number(row, "label", where) != 1:
            raise PromptError(f"{where}: a box is foreground; its label is 1 or left empty")
        if kind == "box" or (not kind and set(filled) & set(_CORNERS)):
            if "box" in each:
                raise PromptError(f"{where}: object {int(number)} has a box already")
            each["box"] = _corners([cell_number(row, name, where) for name in _CORNERS], where)
        if len(each) == 1:
            raise PromptError(f"{where} has neither a point nor a box")
    return list(objects.values())


def _from_napari(columns: list[str], rows: list[tuple[int, Row]], path: Path) -> list[PromptObject]:
    """Points, or the boxes around shapes; further columns are the layer's own properties."""
    taken = [name for name in columns if name in _COLUMNS]
    if taken:
        raise PromptError(
            f"{path.name} has columns of a napari layer and {taken[0]!r}, which would say nothing: "
            f"give points with the columns {','.join(_COLUMNS[:5])}"
        )
    if "axis-2" in columns:
        raise PromptError(f"{path.name} has more than two axes: prompts are 2-D (row, col)")
    if not {"index", "axis-1"} <= set(columns):
        raise PromptError(f"{path.name} lacks the column index or axis-1 of a napari layer")
    vertices: dict[str, list[list[float]]] = {}
    shapes = "vertex-index" in columns
    for line, row in rows:
        where = f"{path.name}, line {line}"
        at = [cell_number(row, "axis-0", where), cell_number(row, "axis-1", where)]
        if not shapes and row["index"] in vertices:
            raise PromptError(f"{where}: index {row['index']} is there twice")
        vertices.setdefault(row["index"], []).append(at)
    if not shapes:
        return _numbered({"points": at, "labels": [1]} for at in vertices.values())
    boxes = []
    for index, shape in vertices.items():
        down, across = zip(*shape, strict=True)
        where = f"{path.name}, shape {index}"
        boxes.append({"box": _corners([min(down), min(across), max(down), max(across)], where)})
    return _numbered(boxes)


def _corners(corners: list[float], where: str) -> list[float]:
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        raise PromptError(f"{where}: the box's second corner must be below and right of the first")
    return corners
