"""Read mask records from JSON: one image as in SA-1B, or a data set as in COCO."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..limits import RECORDS_BYTES
from ..reading import read_bytes
from .records import PROVENANCE, ImageRecords, MaskRecord
from .rle import RLE, encode, from_coco


def read_sa1b(path: str | Path) -> ImageRecords:
    """Read SA-1B JSON.

    Raises
    ------
    FormatError
        If the file is missing or damaged; the message names the annotation and key.
    """
    return from_sa1b(_load(path), Path(path).name)


def from_sa1b(data: Any, name: str = "The records") -> ImageRecords:
    """Read SA-1B's JSON object; `name` begins the error messages.

    Parameters
    ----------
    data : mapping
        The JSON object.
    name : str
        Start of messages.

    Raises
    ------
    FormatError
        If the object is damaged; the message names the annotation and key.
    """
    if not isinstance(data, Mapping):
        raise FormatError(f"{name}: expected an object with 'image' and 'annotations'.")
    image = _get(data, "image", Mapping, name)
    annotations = _get(data, "annotations", list, name)
    return _image_records(image, annotations, "image_id", name)


def read_coco(path: str | Path) -> list[ImageRecords]:
    """Read a COCO data set with run-length or polygon segmentations.

    Raises
    ------
    FormatError
        If the file is missing or damaged; the message names the annotation and key.
    """
    return _coco(_load(path), Path(path).name)


def read_records(path: str | Path) -> ImageRecords | list[ImageRecords]:
    """Read SA-1B's JSON of one image, or a COCO data set.

    Raises
    ------
    FormatError
        If the file is missing or damaged; the message names the annotation and key.
    """
    data, name = _load(path), Path(path).name
    if isinstance(data, Mapping) and "images" in data:
        return _coco(data, name)
    return from_sa1b(data, name)


def _coco(data: Any, name: str) -> list[ImageRecords]:
    if not isinstance(data, Mapping):
        raise FormatError(f"{name}: expected an object with 'images' and 'annotations'.")
    images = _get(data, "images", list, name)
    annotations: dict[int, list[Any]] = {}
    for i, image in enumerate(images):
        annotations[_integer(image, "id", f"{name}, image {i}")] = []
    for i, annotation in enumerate(_get(data, "annotations", list, name)):
        owner = _integer(annotation, "image_id", f"{name}, annotation {i}")
        if owner not in annotations:
            raise FormatError(f"{name}, annotation {i}: there is no image with id {owner}.")
        annotations[owner].append(annotation)
    categories = {
        _integer(category, "id", f"{name}, category {i}"): str(category.get("name", ""))
        for i, category in enumerate(data.get("categories") or ())
    }
    return [
        _image_records(image, annotations[image["id"]], "id", name, categories) for image in images
    ]


def _image_records(
    image: Any,
    annotations: list[Any],
    key: str,
    name: str,
    categories: Mapping[int, str] | None = None,
) -> ImageRecords:
    where = f"{name}, 'image'"
    height, width = _integer(image, "height", where), _integer(image, "width", where)
    if height < 1 or width < 1:
        raise FormatError(f"{where}: {width} x {height} is not a valid image size.")
    records = tuple(
        _record(annotation, (height, width), f"{name}, annotation {i}", categories or {})
        for i, annotation in enumerate(annotations)
    )
    return ImageRecords(
        width,
        height,
        records,
        str(image.get("file_name", "")),
        _integer(image, key, where, 0),
        _provenance(image, where),
    )


def _record(
    data: Any, size: tuple[int, int], where: str, categories: Mapping[int, str]
) -> MaskRecord:
    if not isinstance(data, Mapping):
        raise FormatError(f"{where}: expected an object; got {type(data).__name__}.")
    if "segmentation" not in data:
        raise FormatError(f"{where}: the key 'segmentation' is missing.")
    segmentation = data["segmentation"]
    try:
        if isinstance(segmentation, list):
            rle = _from_polygons(segmentation, size)
        else:
            rle = from_coco(segmentation)
    except FormatError as error:
        raise FormatError(f"{where}, 'segmentation': {error}") from error
    if rle.size != size:
        raise FormatError(
            f"{where}, 'segmentation': size {rle.size} (rows, columns) differs from the image's, "
            f"{size}."
        )
    area = data.get("area", rle.area)
    if not isinstance(area, int | float) or not math.isfinite(area) or area < 0:
        raise FormatError(f"{where}, 'area': expected a number of pixels; got {area!r}.")
    points = data.get("point_coords") or []
    if not isinstance(points, list):
        raise FormatError(f"{where}, 'point_coords': expected a list of [x, y].")
    category = _integer(data, "category_id", where, 1)
    return MaskRecord(
        segmentation=rle,
        bbox=_numbers(data.get("bbox", rle.bbox), 4, where, "bbox"),
        area=int(area),
        predicted_iou=_number(data, "predicted_iou", where),
        stability_score=_number(data, "stability_score", where),
        crop_box=_numbers(data.get("crop_box", [0, 0, size[1], size[0]]), 4, where, "crop_box"),
        point_coords=tuple(_numbers(p, 2, where, "point_coords") for p in points),
        id=_integer(data, "id", where, 0),
        category_id=category,
        category=categories.get(category, ""),
        score=_number(data, "score", where),
        provenance=_provenance(data, where),
    )


def _from_polygons(polygons: list[Any], size: tuple[int, int]) -> RLE:
    from skimage.draw import polygon

    mask = np.zeros(size, bool)
    for ring in polygons:
        try:
            points = np.asarray(ring, float).reshape(-1, 2)
        except (TypeError, ValueError) as error:
            raise FormatError("a polygon is a flat list [x0, y0, x1, y1, ...].") from error
        if len(points) < 3 or not np.isfinite(points).all():
            raise FormatError("a polygon needs three corners or more, all finite.")
        # COCO's origin is the corner of the first pixel, ours its centre.
        rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, size)
        mask[rows, columns] = True
    return encode(mask)


def _provenance(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    return dict(_get(data, PROVENANCE, Mapping, where)) if PROVENANCE in data else {}


def _load(path: str | Path) -> Any:
    path = Path(path)
    try:
        return json.loads(read_bytes(path, RECORDS_BYTES, what="file of masks"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path.name} is not valid JSON, or is truncated: {error}.") from error


def _get(data: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if key not in data:
        raise FormatError(f"{where}: the key '{key}' is missing.")
    if not isinstance(data[key], kind):
        what = "a list" if kind is list else "an object"
        raise FormatError(f"{where}, '{key}': expected {what}.")
    return data[key]


def _integer(data: Any, key: str, where: str, default: int | None = None) -> int:
    if not isinstance(data, Mapping):
        raise FormatError(f"{where}: expected an object; got {type(data).__name__}.")
    value = data.get(key, default)
    if value is None:
        raise FormatError(f"{where}: the key '{key}' is missing.")
    if isinstance(value, bool) or not isinstance(value, int):
        raise FormatError(f"{where}, '{key}': expected an integer; got {value!r}.")
    return value


def _number(data: Mapping[str, Any], key: str, where: str) -> float:
    value = data.get(key)
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormatError(f"{where}, '{key}': expected a number; got {value!r}.")
    return float(value)


def _numbers(value: Any, count: int, where: str, key: str) -> tuple[float, ...]:
    good = isinstance(value, list | tuple) and len(value) == count
    if not good or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
        raise FormatError(f"{where}, '{key}': expected {count} numbers; got {value!r}.")
    return tuple(float(v) for v in value)
