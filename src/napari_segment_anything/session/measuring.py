"""Measurements of committed objects: shape, intensity, and how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

from ..engine import PlaneSource, Window
from ..measures import measure_labels
from .committed import ObjectPlace
from .target import LabelTarget

Row = dict[str, Any]


def measure_window(
    labels: ArrayLike,
    source: PlaneSource,
    plane: Sequence[int],
    window: Window,
    scale: Sequence[float] | None = None,
    unit: str | None = None,
) -> dict[str, NDArray[Any]]:
    """Measure the objects of a part of a plane; positions are those in the plane.

    Parameters
    ----------
    labels : int or bool array (height, width)
        Of the window.
    source : PlaneSource
    plane : sequence of int
    window : Window
    scale, unit
        As for `measure_labels`.
    """
    pixels = source.read(plane, window)
    several = pixels.shape[2] > 1
    table = measure_labels(
        labels,
        image=pixels if several else pixels[..., 0],
        channel_axis=2 if several else None,
        scale=scale,
        unit=unit,
    )
    size = (1.0, 1.0) if scale is None else scale
    for axis, first, step in (("row", window.row, size[0]), ("col", window.col, size[1])):
        table[f"bbox_{axis}_min"] += first
        table[f"bbox_{axis}_max"] += first
        table[f"centroid_{axis}"] += first * step
    return table


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
        label, plane (or plane_0, ... with several axes), the columns of `measure_labels`,
        predicted_iou, seconds, prompts.
    """
    item, window = place.item, place.window
    mask = target.read(item.plane, window) == place.label
    if not mask.any():
        return None
    table = measure_window(mask, source, item.plane, window, scale, unit)
    row: Row = {name: column[0].item() for name, column in table.items()}
    row["label"] = place.label
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
