"""The four files of a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import picture

if TYPE_CHECKING:
    from .output import Result


def write_files(result: Result, paths: dict[str, Path]) -> None:
    """Write each kind of file to its path."""
    from ..formats import measure, save_overlay, write_labels, write_sa1b, write_table

    image = result.image
    scale = None if image.unit is None else image.scale
    write_labels(paths["labels"], result.labels, scale=scale, unit=image.unit)
    write_sa1b(paths["masks"], result.records)
    table = measure(
        result.labels,
        image=image.pixels,
        channel_axis=image.intensity_axis,
        scale=scale,
        unit=image.unit,
        scores={
            score: {each.id: getattr(each, score) for each in result.records.records}
            for score in ("predicted_iou", "stability_score")
        },
    )
    write_table(paths["table"], table)
    save_overlay(paths["overlay"], picture.draw(image.display(), result.labels, result.prompts))
