"""Mask records as JSON: one image as in SA-1B, or a data set as in COCO."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..limits import RECORDS_BYTES
from ..reading import read_bytes
from .atomic import replacing
from .rle import RLE, encode, from_coco


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """One mask with its scores and prompts; the keys are those of SA-1B.

    Parameters
    ----------
    segmentation : RLE
        The mask, in the full image.
    bbox : tuple of float
        (x, y, width, height) in pixels.
    area : int
        Pixels of the mask.
    predicted_iou, stability_score : float
        The model's scores; NaN if there is none.
    crop_box : tuple of float
        (x, y, width, height) of the crop the mask came from.
    point_coords : tuple of tuple of float
        The points (x, y) that prompted it.
    id : int
        Number of the mask; 0 to assign one when writing.
    category_id : int
        COCO category; 1 for SA-1B, which has none.
    """

    segmentation: RLE
    bbox: tuple[float, ...]
    area: int
    predicted_iou: float = math.nan
    stability_score: float = math.nan
    crop_box: tuple[float, ...] = ()
    point_coords: tuple[tuple[float, ...], ...] = ()
    id: int = 0
    category_id: int = 1

    @classmethod
    def from_mask(cls, mask: RLE | Any, **values: Any) -> MaskRecord:
        """Make a record from an `RLE` or a boolean mask, with box, area and crop."""
        rle = mask if isinstance(mask, RLE) else encode(mask)
        height, width = rle.size
        values.setdefault("crop_box", (0.0, 0.0, float(width), float(height)))
        return cls(segmentation=rle, bbox=tuple(rle.bbox), area=rle.area, **values)


@dataclass(frozen=True, slots=True)
class ImageRecords:
    """The masks of one image.

    Parameters
    ----------
    width, height : int
        Size of the image in pixels.
    records : tuple of MaskRecord
        Its masks.
    file_name : str
        The image's file.
    image_id : int
        Number of the image.
    """

    width: int
    height: int
    records: tuple[MaskRecord, ...]
    file_name: str = ""
    image_id: int = 0


def to_sa1b(image: ImageRecords, *, compressed: bool = True) -> dict[str, Any]:
    """Return an image's records as SA-1B's JSON object.

    Parameters
    ----------
    image : ImageRecords
    compressed : bool
        Whether run lengths are strings instead of lists.

    Raises
    ------
    FormatError
        If a mask has another size than the image.
    """
    return {
        "image": {
            "image_id": image.image_id,
            "width": image.width,
            "height": image.height,
            "file_name": image.file_name,
        },
        "annotations": [
            _annotation(record, number, image, compressed)
            for number, record in enumerate(image.records, start=1)
        ],
    }


def write_sa1b(path: str | Path, image: ImageRecords, *, compressed: bool = True) -> None:
    """Write SA-1B JSON.

    Parameters
    ----------
    path : str or Path
        The JSON file.
    image : ImageRecords
    compressed : bool
        As in `to_sa1b`.

    Raises
    ------
    FormatError
        If a mask has another size than the image, or the file cannot be written.
    """
    _dump(path, to_sa1b(image, compressed=compressed))


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


def to_coco(images: Iterable[ImageRecords], *, categories: Sequence[str] = ("object",)) -> Any:
    """Return the records of many images as a COCO data set.

    Parameters
    ----------
    images : iterable of ImageRecords
        Images with id 0, or with the id of an earlier image, get the next free id.
    categories : sequence of str
        Names of categories 1, 2, ...

    Returns
    -------
    dict
        With "images", "annotations" and "categories". Scores are kept under their SA-1B names,
        and predicted_iou also as COCO's "score".

    Raises
    ------
    FormatError
        If a category is unknown, or a mask has another size than its image.
    """
    out: dict[str, Any] = {
        "info": {"description": "Masks from segment-anything-napari"},
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": n} for i, n in enumerate(categories, start=1)],
    }
    used: set[int] = set()
    for image in images:
        image_id = image.image_id
        if image_id == 0 or image_id in used:
            image_id = max(used, default=0) + 1
        used.add(image_id)
        out["images"].append(
            {
                "id": image_id,
                "width": image.width,
                "height": image.height,
                "file_name": image.file_name,
            }
        )
        for number, record in enumerate(image.records, start=1):
            if not 1 <= record.category_id <= len(categories):
                raise FormatError(
                    f"Annotation {number} of {image.file_name!r} has category "
                    f"{record.category_id}, but {len(categories)} are named."
                )
            entry = _annotation(record, number, image, True)
            entry.update(
                id=len(out["annotations"]) + 1,
                image_id=image_id,
                category_id=record.category_id,
                iscrowd=0,
            )
            if "predicted_iou" in entry:
                entry["score"] = entry["predicted_iou"]
            out["annotations"].append(entry)
    return out


def write_coco(
    path: str | Path, images: Iterable[ImageRecords], *, categories: Sequence[str] = ("object",)
) -> None:
    """Write a COCO data set as JSON.

    Parameters
    ----------
    path : str or Path
        The JSON file.
    images, categories
        As for `to_coco`.

    Raises
    ------
    FormatError
        As `to_coco`, and if the file cannot be written.
    """
    _dump(path, to_coco(images, categories=categories))


def read_coco(path: str | Path) -> list[ImageRecords]:
    """Read a COCO data set with run-length or polygon segmentations.

    Raises
    ------
    FormatError
        If the file is missing or damaged; the message names the annotation and key.
    """
    name = Path(path).name
    data = _load(path)
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
    return [_image_records(image, annotations[image["id"]], "id", name) for image in images]


def _image_records(image: Any, annotations: list[Any], key: str, name: str) -> ImageRecords:
    where = f"{name}, 'image'"
    height, width = _integer(image, "height", where), _integer(image, "width", where)
    if height < 1 or width < 1:
        raise FormatError(f"{where}: {width} x {height} is not a valid image size.")
    records = tuple(
        _record(annotation, (height, width), f"{name}, annotation {i}")
        for i, annotation in enumerate(annotations)
    )
    return ImageRecords(
        width, height, records, str(image.get("file_name", "")), _integer(image, key, where, 0)
    )


def _record(data: Any, size: tuple[int, int], where: str) -> MaskRecord:
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
    return MaskRecord(
        segmentation=rle,
        bbox=_numbers(data.get("bbox", rle.bbox), 4, where, "bbox"),
        area=int(area),
        predicted_iou=_number(data, "predicted_iou", where),
        stability_score=_number(data, "stability_score", where),
        crop_box=_numbers(data.get("crop_box", [0, 0, size[1], size[0]]), 4, where, "crop_box"),
        point_coords=tuple(_numbers(p, 2, where, "point_coords") for p in points),
        id=_integer(data, "id", where, 0),
        category_id=_integer(data, "category_id", where, 1),
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


def _annotation(
    record: MaskRecord, number: int, image: ImageRecords, compressed: bool
) -> dict[str, Any]:
    if record.segmentation.size != (image.height, image.width):
        raise FormatError(
            f"Annotation {number} of {image.file_name!r} has a mask of size "
            f"{record.segmentation.size}, but the image is {(image.height, image.width)}."
        )
    entry: dict[str, Any] = {
        "id": record.id or number,
        "segmentation": record.segmentation.to_coco(compressed=compressed),
        "bbox": list(record.bbox),
        "area": record.area,
        "crop_box": list(record.crop_box) or [0, 0, image.width, image.height],
        "point_coords": [list(p) for p in record.point_coords],
    }
    # JSON has no NaN; missing scores are omitted.
    for key in ("predicted_iou", "stability_score"):
        value = float(getattr(record, key))
        if math.isfinite(value):
            entry[key] = value
    return entry


def _dump(path: str | Path, data: Any) -> None:
    try:
        text = json.dumps(data, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path} cannot be written as JSON: {error}.") from error
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


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
