"""Objects from COCO JSON and GeoJSON.

Both count from the upper left corner of the first pixel, which is (-0.5, -0.5) here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ..errors import FormatError, PromptError
from ..reading import decode_json
from .detection import Detection, check_box, polygon, rectangle
from .rle import from_coco


class _Image(TypedDict):
    id: NotRequired[int]
    height: int
    width: int
    file_name: NotRequired[str]


class _Category(TypedDict):
    id: int
    name: str


class _Annotation(TypedDict):
    image_id: NotRequired[int | str]
    id: NotRequired[int]
    category_id: NotRequired[int]
    bbox: NotRequired[tuple[float, float, float, float]]
    segmentation: NotRequired[list[list[float]] | dict[str, Any] | None]
    score: NotRequired[float]


class _DataSet(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: NotRequired[list[_Category]]


class _Record(TypedDict):
    image: _Image
    annotations: list[_Annotation]


class _Geometry(TypedDict):
    type: str
    coordinates: NotRequired[list[Any]]


class _Feature(TypedDict):
    geometry: _Geometry
    id: NotRequired[int | str | None]
    properties: NotRequired[dict[str, Any] | None]


class _Collection(TypedDict):
    features: list[_Feature]


def detections_from_json(
    data: bytes, name: str, shape: tuple[int, int], image_name: str
) -> list[Detection]:
    """Read COCO or GeoJSON; parameters and errors are those of `read_detections`.

    Parameters
    ----------
    data : bytes
    name : str
        Start of messages.
    shape : (int, int)
        Rows and columns of the image.
    image_name : str
        File name of the image.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{name} is not JSON: {error}") from None
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        raise PromptError(f"{name} is neither a COCO file nor GeoJSON")
    if "features" in first:
        return _features(decode_json(data, _Collection, name, PromptError)["features"], name, shape)
    if "geometry" in first:
        several = isinstance(content, list)
        found = decode_json(data, list[_Feature] if several else _Feature, name, PromptError)
        return _features(found if several else [found], name, shape)
    if isinstance(content, list):
        results = decode_json(data, list[_Annotation], name, PromptError)
        if len({each.get("image_id") for each in results}) > 1:
            raise PromptError(
                f"{name} holds results of several images; give those of one, or a COCO data set "
                "with its list of images"
            )
        return _annotations(results, {}, name, shape)
    if "annotations" not in first:
        raise PromptError(f"{name} is neither a COCO file ('annotations') nor GeoJSON ('features')")
    if "image" in first:  # as in SA-1B, without image_id
        record: _Record = decode_json(data, _Record, name, PromptError)
        image, own, names = record["image"], record["annotations"], {}
    else:
        held: _DataSet = decode_json(data, _DataSet, name, PromptError)
        image = _chosen(held["images"], name, image_name)
        own = [each for each in held["annotations"] if each.get("image_id") == image.get("id")]
        names = {each["id"]: each["name"] for each in held.get("categories", [])}
    if (image["height"], image["width"]) != shape:
        raise PromptError(
            f"{name} is of an image with {image['height']} rows and {image['width']} columns; this "
            f"one has {shape[0]} and {shape[1]}"
        )
    return _annotations(own, names, name, shape)


def _chosen(images: list[_Image], name: str, image_name: str) -> _Image:
    if len(images) == 1:
        return images[0]
    stem = PurePath(image_name).stem
    own = [i for i in images if stem and PurePath(i.get("file_name", "")).stem == stem]
    if len(own) != 1:
        listed = ", ".join(str(each.get("file_name", each.get("id"))) for each in images[:5])
        raise PromptError(
            f"{name} holds {len(images)} images ({listed}{' ...' if len(images) > 5 else ''}), and "
            f"not one of them is called {stem or 'as this one'}"
        )
    return own[0]


def _annotations(
    found: list[_Annotation], names: Mapping[int, str], name: str, shape: tuple[int, int]
) -> list[Detection]:
    made = []
    ids = [each.get("id", 0) for each in found]
    keep = all(ids) and len(set(ids)) == len(ids)
    for number, each in enumerate(found, start=1):
        where = f"{name}, annotation {number}"
        label = ids[number - 1] if keep else number
        box = None
        if "bbox" in each:
            x, y, width, height = each["bbox"]
            edges = (y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)
            box = check_box(edges, where)
        outline = _segmentation(each.get("segmentation"), shape, where)
        if not outline and box is None:
            raise PromptError(f"{where} has neither a bbox nor a segmentation")
        category = each.get("category_id")
        class_name = "" if category is None else names.get(category, str(category))
        score = each.get("score", math.nan)
        made.append(Detection(label, box, **outline, class_name=class_name, score=score))
    return made


def _segmentation(
    given: list[list[float]] | dict[str, Any] | None, shape: tuple[int, int], where: str
) -> dict[str, Any]:
    """Mask and corner, where there is a mask."""
    if not given:
        return {}
    if isinstance(given, list):
        return polygon([[_ring(ring, where)] for ring in given], shape, where)
    try:
        mask = from_coco(given)
    except FormatError as error:
        raise PromptError(f"{where}, segmentation: {error}") from error
    if mask.size != shape:
        raise PromptError(f"{where}: its mask is for an image of {mask.size}, not {shape}")
    if not mask.area:
        return {}
    row, col, bottom, right = mask.bounds
    return {"mask": mask.place((-row, -col), (bottom - row, right - col)), "corner": (row, col)}


def _features(features: list[_Feature], name: str, shape: tuple[int, int]) -> list[Detection]:
    found = []
    ids = [each.get("id") for each in features]
    keep = all(type(i) is int and i > 0 for i in ids) and len(set(ids)) == len(ids)
    for number, feature in enumerate(features, start=1):
        where = f"{name}, feature {number}"
        kind, places = feature["geometry"]["type"], feature["geometry"].get("coordinates", [])
        if kind not in ("Polygon", "MultiPolygon"):
            raise PromptError(f"{where} is a {kind}: objects are polygons (or MultiPolygon)")
        parts = [
            [_ring(ring, where) for ring in part]
            for part in ([places] if kind == "Polygon" else places)
        ]
        if not parts or not all(parts):
            raise PromptError(f"{where} has a polygon without corners")
        label = int(ids[number - 1]) if keep else number  # type: ignore[arg-type]
        class_name, score = _facts(feature.get("properties") or {})
        box = rectangle(parts[0][0]) if len(parts) == len(parts[0]) == 1 else None
        outline = {} if box is not None else polygon(parts, shape, where)
        found.append(Detection(label, box, **outline, class_name=class_name, score=score))
    return found


def _facts(properties: Mapping[str, Any]) -> tuple[str, float]:
    """Class and score of a feature: as QuPath writes them, or as plain properties."""
    held = properties.get("classification")
    named = held.get("name") if isinstance(held, dict) else held
    named = named or properties.get("class") or properties.get("name") or ""
    score = properties.get("score", math.nan)
    real = isinstance(score, (int, float)) and not isinstance(score, bool)
    return str(named), float(score) if real else math.nan


def _ring(values: Any, where: str) -> NDArray[np.float64]:
    """Corners (row, column) of a ring of x and y, counted from the first pixel's corner."""
    try:
        corners = np.asarray(values, float)
        corners = corners.reshape(-1, 2) if corners.ndim == 1 else corners[:, :2]
    except (TypeError, ValueError, IndexError):
        corners = np.zeros((0, 2))
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise PromptError(f"{where}: a polygon has three corners [x, y] or more, all finite")
    return corners[:, ::-1] - 0.5
