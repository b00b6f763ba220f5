"""The four files of a result."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .overlay import draw_overlay

if TYPE_CHECKING:
    from .output import Result

PROPERTIES = (
    "label", "area", "centroid", "bbox", "equivalent_diameter_area", "axis_major_length",
    "axis_minor_length", "orientation", "eccentricity", "solidity",
)  # fmt: skip


def write_files(result: Result, paths: dict[str, Path]) -> None:
    """Write each kind of file to its path."""
    from PIL import Image
    from tifffile import imwrite

    imwrite(paths["labels"], result.labels, compression="zlib", metadata={"axes": "YX"})
    with paths["masks"].open("w", encoding="utf-8") as stream:
        json.dump({"annotations": result.numbered_records()}, stream)
    with paths["table"].open("w", newline="", encoding="utf-8") as stream:
        columns = _table(result)
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    picture = draw_overlay(result.image.display(), result.labels, result.prompts)
    Image.fromarray(picture).save(paths["overlay"])


def _table(result: Result) -> dict[str, list[Any]]:
    from skimage.measure import regionprops_table

    columns = {
        name: values.tolist()
        for name, values in regionprops_table(result.labels, properties=PROPERTIES).items()
    }
    records = dict(zip(result.ids, result.records, strict=True))
    for score in ("predicted_iou", "stability_score"):
        columns[score] = [records[label].get(score) for label in columns["label"]]
    return columns
