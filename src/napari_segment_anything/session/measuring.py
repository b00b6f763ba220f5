"""Measurements of committed objects: shape, intensity, and how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..engine import PlaneSource
from ..formats import measure
from .committed import ObjectPlace
from .target import LabelTarget

Row = dict[str, Any]


def measure_object(
    place: ObjectPlace,
    source: PlaneSource,
    target: LabelTarget,
    scale: Sequence[float] | None = None,
    unit: str | None = None,
) -> Row | None:
    """Measure an object on its plane, on any thread; None if it has no pixel there.

    Parameters
    ----------
    place : ObjectPlace
    source, target : PlaneSource, LabelTarget
        The session's.
    scale : (float, float), optional
        Pixel size along rows and columns; lengths, areas and the centroid are then in `unit`.
    unit : str, optional

    Returns
    -------
    dict
        label, plane (or plane_0, ... with several axes), area, bounding box (pixels), centroid,
        perimeter, diameters, eccentricity, orientation, solidity, intensity_mean, _min, _max, _std
        (of each channel: intensity_mean_0, ...), unit, predicted_iou, seconds, prompts.
    """
    item, window = place.item, place.window
    mask = target.read(item.plane, window) == place.label
    if not mask.any():
        return None
    pixels = source.read(item.plane, window)
    several = pixels.shape[2] > 1
    table = measure(
        mask,
        image=pixels if several else pixels[..., 0],
        channel_axis=2 if several else None,
        scale=scale,
        unit=unit,
    )
    row: Row = {name: column[0].item() for name, column in table.items()}
    row["label"] = place.label
    size = (1.0, 1.0) if scale is None else scale
    for axis, first, step in (("row", window.row, size[0]), ("col", window.col, size[1])):
        row[f"bbox_{axis}_min"] += first
        row[f"bbox_{axis}_max"] += first
        row[f"centroid_{axis}"] += first * step
    names = ["plane"] if len(item.plane) == 1 else [f"plane_{i}" for i in range(len(item.plane))]
    made: Row = {
        "predicted_iou": float("nan") if item.score is None else item.score,
        "seconds": item.seconds,
        "prompts": len(item.prompts),
    }
    return {"label": row.pop("label"), **dict(zip(names, item.plane, strict=True)), **row, **made}


def columns(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Turn rows into columns, in ascending order of labels; missing values are NaN."""
    ordered = sorted(rows, key=lambda row: int(row["label"]))
    names = dict.fromkeys(name for row in ordered for name in row)
    return {name: [row.get(name, float("nan")) for row in ordered] for name in names}
