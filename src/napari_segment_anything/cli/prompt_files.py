"""Prompts from options and from files, as a list of objects.

An object is a dict with any of `points` (k, 2), `labels` (k,), `box` (4,), all in
(row, col) pixels; `id` is the label it gets in the result.

CSV files have a header and a row per point or box::

    object,kind,row,col,label,row_min,col_min,row_max,col_max
    1,point,120,80,1,,,,
    1,point,130,95,0,,,,
    2,box,,,,10,10,60,70

`label` is 1 for foreground (the default) and 0 for background; without an `object`
column every row is an object of its own, and without `kind` a row is what its
filled columns say. Points and Shapes saved from napari as CSV are understood too:
each point, or each shape's bounding box, is an object.

JSON files hold a list of objects: `[{"points": [[120, 80]], "labels": [1]},
{"id": 7, "box": [10, 10, 60, 70]}]`.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import PromptError
from . import values

PromptObject = dict[str, Any]
_CORNERS = ("row_min", "col_min", "row_max", "col_max")


def from_options(
    points: Sequence[str], negatives: Sequence[str], boxes: Sequence[str], each_point: bool
) -> list[PromptObject]:
    """Objects described by `--point`, `--negative` and `--box`.

    All points together describe one object, or one each with `each_point`. Every box
    is an object; a single box and points describe the same object.

    Raises
    ------
    PromptError
        A value that is not coordinates, or options whose objects cannot be told apart.
    """
    foreground = [values.point(text) for text in points]
    background = [values.point(text, "--negative") for text in negatives]
    corners = [values.box(text) for text in boxes]
    if each_point:
        if background or corners:
            raise PromptError(
                "--each-point takes only --point; objects with several prompts go into "
                "a --prompts file"
            )
        if not foreground:
            raise PromptError("--each-point needs at least one --point")
        return _numbered([{"points": [at], "labels": [1]} for at in foreground])
    clicks: PromptObject = {}
    if foreground or background:
        if not foreground and not corners:
            raise PromptError("--negative needs a --point or --box to subtract from")
        clicks = {
            "points": foreground + background,
            "labels": [1] * len(foreground) + [0] * len(background),
        }
    if clicks and len(corners) > 1:
        raise PromptError(
            "points with several boxes: say which belong together in a --prompts file"
        )
    if len(corners) == 1:
        return _numbered([{**clicks, "box": corners[0]}])
    return _numbered([{"box": corner} for corner in corners] or ([clicks] if clicks else []))


def read_prompts(path: Path) -> list[PromptObject]:
    """Objects from a CSV or JSON file (see the module's text for both forms).

    Raises
    ------
    PromptError
        The file has another form; the message names the row or object.
    FileNotFoundError
        There is no such file.
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


def _from_json(path: Path) -> list[PromptObject]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PromptError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise PromptError(
            f"{path.name} must hold a list of objects like "
            '[{"points": [[row, col]], "labels": [1]}]'
        )
    objects = []
    for number, each in enumerate(content, start=1):
        where = f"{path.name}, object {number}"
        unknown = set(each) - {"id", "points", "labels", "box"}
        if unknown:
            raise PromptError(f"{where}: unknown key {sorted(unknown)[0]!r}")
        result: PromptObject = {"id": each.get("id", number)}
        if each.get("points"):
            points = [_coordinates(at, 2, where) for at in each["points"]]
            labels = each.get("labels") or [1] * len(points)
            if len(labels) != len(points) or not set(labels) <= {0, 1}:
                raise PromptError(f"{where}: labels must be 1 or 0, one for each point")
            result.update(points=points, labels=labels)
        if each.get("box") is not None:
            result["box"] = _corners(_coordinates(each["box"], 4, where), where)
        if len(result) == 1:
            raise PromptError(f"{where} has neither points nor a box")
        objects.append(result)
    numbers = [each["id"] for each in objects]
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        raise PromptError(f"{path.name}: id is a label, a whole number from 1 on")
    if len(set(numbers)) != len(numbers):
        raise PromptError(f"{path.name}: two objects have the same id")
    return objects


def _from_csv(path: Path) -> list[PromptObject]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = [
            {(key or "").strip(): (value or "").strip() for key, value in row.items() if key}
            for row in csv.DictReader(stream)
        ]
    if not rows:
        return []
    if "axis-0" in rows[0]:
        return _from_napari(rows, path)
    if not {"row", "col"} <= set(rows[0]) and not set(_CORNERS) <= set(rows[0]):
        raise PromptError(
            f"{path.name} needs columns row,col for points or {','.join(_CORNERS)} for boxes"
        )
    objects: dict[int, PromptObject] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{path.name}, line {line}"
        kind = row.get("kind") or ("point" if row.get("row") else "box")
        number = _number(row, "object", where) if "object" in row else line - 1
        if number != int(number) or number < 1:
            raise PromptError(f"{where}: object is a label, a whole number from 1 on")
        each = objects.setdefault(int(number), {"id": int(number)})
        if kind == "point":
            label = _number(row, "label", where) if row.get("label") else 1
            if label not in (0, 1):
                raise PromptError(f"{where}: label is 1 (foreground) or 0 (background)")
            each.setdefault("points", []).append(
                [_number(row, "row", where), _number(row, "col", where)]
            )
            each.setdefault("labels", []).append(int(label))
        elif kind == "box":
            if "box" in each:
                raise PromptError(f"{where}: object {number} has a box already")
            each["box"] = _corners([_number(row, name, where) for name in _CORNERS], where)
        else:
            raise PromptError(f"{where}: kind is point or box, not {kind!r}")
    return list(objects.values())


def _from_napari(rows: list[dict[str, str]], path: Path) -> list[PromptObject]:
    if "axis-2" in rows[0]:
        raise PromptError(f"{path.name} has more than two axes: prompts are 2-D (row, col)")
    where = path.name
    vertices: dict[str, list[list[float]]] = {}
    for row in rows:
        at = [_number(row, "axis-0", where), _number(row, "axis-1", where)]
        vertices.setdefault(row.get("index", str(len(vertices))), []).append(at)
    if "vertex-index" not in rows[0]:
        return _numbered({"points": at, "labels": [1]} for at in vertices.values())
    boxes = []
    for shape in vertices.values():
        down, across = zip(*shape, strict=True)
        boxes.append({"box": _corners([min(down), min(across), max(down), max(across)], where)})
    return _numbered(boxes)


def _number(row: dict[str, str], name: str, where: str) -> float:
    text = row.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PromptError(f"{where}: {name} must be a number, not {text!r}")
    return value


def _coordinates(value: Any, count: int, where: str) -> list[float]:
    try:
        result = [float(each) for each in value]
    except (TypeError, ValueError):
        result = []
    if len(result) != count or not all(map(math.isfinite, result)):
        shape = "[row, col]" if count == 2 else "[row_min, col_min, row_max, col_max]"
        raise PromptError(f"{where}: {value!r} is not {shape}")
    return result


def _corners(corners: list[float], where: str) -> list[float]:
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        raise PromptError(f"{where}: the box's second corner must lie below and right of the first")
    return corners
