"""Mask records as JSON: one image as in SA-1B, or a data set as in COCO."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from .atomic import replacing
from .rle import RLE, encode

PROVENANCE = "napari_segment_anything"
"""Key of facts that only this package knows."""


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
    category : str
        Its name, where it was read from a COCO data set.
    score : float
        Of the detector that found it, COCO's score; NaN if there is none.
    provenance : mapping of str to object
        How the mask was made: plain values, kept under a key of this package.
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
    category: str = ""
    score: float = math.nan
    provenance: Mapping[str, Any] = field(default_factory=dict)

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
    provenance : mapping of str to object
        How the masks were made, as in `MaskRecord`.
    """

    width: int
    height: int
    records: tuple[MaskRecord, ...]
    file_name: str = ""
    image_id: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)


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
            **_own(image.provenance),
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
        and predicted_iou also as COCO's "score" where there is no other. Ids are kept if no two
        records have the same.

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
    images = list(images)
    ids = [record.id for image in images for record in image.records]
    keep = all(ids) and len(set(ids)) == len(ids)
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
                **_own(image.provenance),
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
                id=record.id if keep else len(out["annotations"]) + 1,
                image_id=image_id,
                category_id=record.category_id,
                iscrowd=0,
            )
            if math.isnan(record.score) and "predicted_iou" in entry:
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
        **_own(record.provenance),
    }
    # JSON has no NaN; missing scores are omitted.
    for key in ("predicted_iou", "stability_score", "score"):
        value = float(getattr(record, key))
        if math.isfinite(value):
            entry[key] = value
    return entry


def _own(provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {PROVENANCE: dict(provenance)} if provenance else {}


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
