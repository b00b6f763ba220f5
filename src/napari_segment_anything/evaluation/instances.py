"""Instance segmentation from a detector's boxes (SAM, section 7.4): mask AP by COCO's rules."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError, PromptError
from ..formats.rle import encode, encode_labels
from ..progress import finish
from ..refining import refine_steps
from .protocols import Subject, rounded
from .summary import SIZES, Record

LISTS = (".csv", ".json", ".geojson")
MOST = 2000
"""Detections of an image that count, the best first."""


def detections_of(place: Path, image: str, columns: Sequence[str] = ()) -> Path | None:
    """Find the file with a detector's boxes for an image.

    Parameters
    ----------
    place : Path
        A COCO file for all images, or a folder with a file of the image's name for each.
    image : str
        File name of the image.
    columns : sequence of str
        Further folders below `place` to look in, such as the image's set.

    Raises
    ------
    ParameterError
        If there is no such file or folder.
    """
    if place.is_file():
        return place
    if not place.is_dir():
        raise ParameterError(f"there are no detections at {place}")
    stem = Path(image).stem
    folders = [place, *(place / name for name in columns)]
    files = [folder / f"{stem}{ending}" for folder in folders for ending in LISTS]
    return next((file for file in files if file.is_file()), None)


def instances(subject: Subject, place: Path) -> dict[str, Any]:
    """Prompt with each box that a detector found, and record the masks with its scores.

    Parameters
    ----------
    subject : Subject
        The image.
    place : Path
        As for `detections_of`. An image without a file has no detections.
    """
    name = subject.plane.file.rpartition("/")[2]
    truth = encode_labels(subject.labels)
    record: dict[str, Any] = {
        "size": list(subject.shape),
        "truth": [mask.to_coco()["counts"] for mask in truth.values()],
        "masks": [],
        "scores": [],
    }
    file = detections_of(place, name, (subject.plane.set,))
    if file is None:
        return record
    predictor = subject.predictor
    steps = refine_steps(
        subject.views,
        str(file),
        predictor.model,
        predictor=predictor,
        prompt="box",
        image_name=name,
    )
    try:
        found = finish(steps)
    except PromptError as error:
        if "no object" in str(error):
            return record
        raise
    masks = [mask.crop(0, 0, *subject.shape) for mask in found.masks]
    record["masks"] = [encode(mask).to_coco()["counts"] for mask in masks]
    record["scores"] = rounded(np.nan_to_num(found.given.scores, nan=1.0))
    return record


def coco_figures(records: Sequence[Record]) -> dict[str, float]:
    """Mask AP of COCO, over the images of some records.

    Returns
    -------
    dict of str to float
        "mask_ap" over IoU .50 to .95, "mask_ap50", "mask_ap75", and "mask_ap_small",
        "mask_ap_medium", "mask_ap_large" by COCO's sizes; NaN where there is no such object. All
        objects count as one class.

    Raises
    ------
    ParameterError
        Without pycocotools.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ParameterError(
            "mask AP by COCO's rules needs pycocotools: pip install "
            "'segment-anything-napari[evaluate]'"
        ) from error
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = _data_set(records)
        known.createIndex()
        found = _results(records)
        if not found or not known.dataset["annotations"]:
            empty = np.nan if not known.dataset["annotations"] else 0.0
            return dict.fromkeys(_NAMES, empty)
        evaluation = COCOeval(known, known.loadRes(found), "segm")
        evaluation.params.maxDets = [1, 100, MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    # (IoU thresholds, recalls, classes, sizes, detections)
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, 0, :, -1]
    values = [precision[..., 0], precision[0, :, 0], precision[5, :, 0]]
    values += [precision[..., i + 1] for i in range(len(SIZES))]
    return {
        name: float(held[held > -1].mean()) if (held > -1).any() else np.nan
        for name, held in zip(_NAMES, values, strict=True)
    }


_NAMES = ("mask_ap", "mask_ap50", "mask_ap75", *(f"mask_ap_{size}" for size in SIZES))


def _data_set(records: Sequence[Record]) -> dict[str, Any]:
    from pycocotools import mask as coder

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records, start=1):
        height, width = record["size"]
        images.append({"id": number, "height": height, "width": width})
        for counts in record["truth"]:
            run = {"size": [height, width], "counts": counts}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": run,
                    "area": float(coder.area(run)),
                    "bbox": coder.toBbox(run).tolist(),
                }
            )
    category = {"id": 1, "name": "object"}
    return {"info": {}, "images": images, "annotations": annotations, "categories": [category]}


def _results(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": number,
            "category_id": 1,
            "score": score,
            "segmentation": {"size": record["size"], "counts": counts},
        }
        for number, record in enumerate(records, start=1)
        for counts, score in zip(record["masks"], record["scores"], strict=True)
    ]
