"""Files of objects that another program found: boxes or masks, with their classes and scores.

CSV, COCO JSON, GeoJSON, and Shapes layers that napari saved as CSV.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import PromptError
from ..limits import RECORDS_BYTES
from ..reading import read_bytes
from .detection import Detection, check_box, shape_detection
from .detection_json import detections_from_json
from .sheets import Row, cell_number, meant, read_rows

_SETS = (
    ("row_min", "col_min", "row_max", "col_max"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x", "y", "width", "height"),
)
_COLUMNS = ("object", *(name for names in _SETS for name in names), "class", "score")
_SHAPES = ("index", "shape-type", "vertex-index", "axis-0", "axis-1")


def read_detections(
    path: str | Path, shape: tuple[int, int], image_name: str = ""
) -> list[Detection]:
    """Read boxes or outlines of objects.

    Parameters
    ----------
    path : str or Path
        ``.csv`` with a row per box, or a Shapes layer saved from napari; ``.json`` as COCO's data
        sets or results; ``.geojson`` (also as ``.json``) of polygons.
    shape : (int, int)
        Rows and columns of the image.
    image_name : str
        File name of the image, to choose it in a COCO file with several.

    Returns
    -------
    list of Detection
        Axis-parallel rectangles are boxes, other polygons masks.

    Raises
    ------
    PromptError
        If the file is malformed, or of an image of another size; the message names the line,
        annotation or feature.
    """
    path = Path(path).expanduser()
    suffix = path.suffix.lower()
    if suffix == ".csv":
        found = _from_csv(path, shape)
    elif suffix in (".json", ".geojson"):
        data = read_bytes(path, RECORDS_BYTES, what="file of objects", error=PromptError)
        found = detections_from_json(data, path.name, shape, image_name)
    else:
        raise PromptError(
            f"{path.name}: objects are read from .csv, .json (COCO) and .geojson files, and from "
            "label images"
        )
    if not found:
        raise PromptError(f"{path.name} holds no objects")
    repeated = first_repeated(each.id for each in found)
    if repeated is not None:
        raise PromptError(f"{path.name}: two objects have the id {repeated}")
    return found


def first_repeated(ids: Iterable[int]) -> int | None:
    """Return the first id that is there twice; None if there is none."""
    seen: set[int] = set()
    return next((i for i in ids if i in seen or seen.add(i)), None)  # type: ignore[func-returns-value]


def _from_csv(path: Path, shape: tuple[int, int]) -> list[Detection]:
    columns, rows = read_rows(path)
    if not rows:
        return []
    if "axis-0" in columns:
        return _from_shapes(columns, rows, path.name, shape)
    names = next((names for names in _SETS if set(names) <= set(columns)), None)
    others = [name for name in columns if name not in _COLUMNS]
    if names is None:
        hint = next((meant(name, _COLUMNS) for name in others if meant(name, _COLUMNS)), "")
        choices = " or ".join(",".join(names) for names in _SETS)
        raise PromptError(
            f"{path.name} needs the columns {choices}; it has {','.join(columns)}{hint}"
        )
    if others:
        warnings.warn(
            f"columns of {path.name} that are not used: {', '.join(others)} "
            "(object, class and score are)",
            stacklevel=2,
        )
    found = []
    for count, (line, row) in enumerate(rows, start=1):
        where = f"{path.name}, line {line}"
        number = cell_number(row, "object", where) if "object" in columns else float(count)
        if number != int(number):
            raise PromptError(f"{where}: object is a whole number, not {row['object']!r}")
        values = [cell_number(row, name, where) for name in names]
        if names is _SETS[2]:
            values = [*values[:2], values[0] + values[2], values[1] + values[3]]
        if names is not _SETS[0]:  # x is the column
            values = [values[1], values[0], values[3], values[2]]
        score = cell_number(row, "score", where) if row.get("score") else math.nan
        box = check_box(values, where)
        name = row.get("class", "")
        found.append(Detection(int(number), box, class_name=name, score=score))
    return found


def _from_shapes(
    columns: list[str], rows: list[tuple[int, Row]], name: str, shape: tuple[int, int]
) -> list[Detection]:
    missing = [column for column in _SHAPES if column not in columns]
    if missing or "axis-2" in columns:
        what = "more than two axes" if not missing else f"no column {missing[0]}"
        raise PromptError(f"{name} has {what}: save a 2-D Shapes layer from napari as CSV")
    corners: dict[str, list[list[float]]] = {}
    kinds: dict[str, str] = {}
    for line, row in rows:
        where = f"{name}, line {line}"
        at = [cell_number(row, "axis-0", where), cell_number(row, "axis-1", where)]
        corners.setdefault(row["index"], []).append(at)
        kinds[row["index"]] = row["shape-type"]
    return [
        shape_detection(number, np.array(corners[index]), kind, shape, f"{name}, shape {index}")
        for number, (index, kind) in enumerate(kinds.items(), start=1)
    ]
