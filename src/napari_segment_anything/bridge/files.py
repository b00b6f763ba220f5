"""Files that napari opens and saves through the plugin: masks as SA-1B JSON, journals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels

from ..errors import FormatError
from ..formats import ImageRecords, MaskRecord, read_sa1b, write_labels, write_sa1b, write_table
from ..limits import ARRAY_BYTES
from ..session.measuring import measure_window
from .runs.everything import DrawnObjects
from .viewer.images import pixel_size

# what the features say of masks before overlaps are resolved, and in pixels
_MEASURED = {"area", "visible_area", "row_min", "col_min", "row_max", "col_max"}

LayerTuple = tuple[Any, dict[str, Any], str]


def write_found_table(path: Path, drawn: DrawnObjects) -> None:
    """Write a row for each object that everything mode found: its measures, and how it was found.

    Parameters
    ----------
    path : Path
        The CSV file.
    drawn : DrawnObjects

    Raises
    ------
    FormatError
        If it cannot be written.
    """
    area, columns = drawn.area, dict(drawn.features)
    index = columns.pop("index")
    own = np.where(np.isin(drawn.labels, index), drawn.labels, 0)
    size = pixel_size(area.layers[0], area.axes)
    table = measure_window(own, area.source, area.plane, area.window, *size)
    rows = np.argsort(index)
    made = {name: column[rows] for name, column in columns.items() if name not in _MEASURED}
    write_table(path, {**table, **made})


def write_found(path: Path, drawn: DrawnObjects) -> None:
    """Write the full masks that everything mode found, in coordinates of the segmented area.

    Parameters
    ----------
    path : Path
    drawn : DrawnObjects
    """
    table = drawn.table
    records = []
    for number, (mask, index) in enumerate(zip(table.masks, table.kept, strict=True), start=1):
        records.append(
            MaskRecord.from_mask(
                mask,
                id=number,
                predicted_iou=float(table.candidates.predicted_iou[index]),
                stability_score=float(table.candidates.stability_score[index]),
            )
        )
    height, width = table.shape
    write_sa1b(path, ImageRecords(width, height, tuple(records), drawn.area.layers[0].name))


def records_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """Return a reader of SA-1B JSON, or None for a JSON file of another kind."""
    if not isinstance(path, str):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            head = json.load(file)
    except (OSError, ValueError):
        return None
    if not (isinstance(head, dict) and {"image", "annotations"} <= set(head)):
        return None
    return _read_records


def _read_records(path: str) -> list[LayerTuple]:
    image = read_sa1b(path)
    labels = np.zeros((image.height, image.width), np.uint32)
    order = sorted(range(len(image.records)), key=lambda i: -image.records[i].area)
    for index in order:  # smaller ones in front
        labels[image.records[index].segmentation.decode()] = index + 1
    features = {
        "index": np.arange(1, len(image.records) + 1),
        "predicted_iou": [record.predicted_iou for record in image.records],
        "stability_score": [record.stability_score for record in image.records],
        "area": [record.area for record in image.records],
    }
    return [(labels, {"name": Path(path).stem, "features": features}, "labels")]


def write_records(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a 2-D label image as SA-1B JSON; napari's "Save as".

    Parameters
    ----------
    path : str
    data : int array or sequence of int arrays
        Labels, or the levels of a multiscale layer.
    meta : dict
        The layer's attributes, as napari gives them to writers.

    Raises
    ------
    FormatError
        If it is not a plane.
    """
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    planes = [axis for axis, size in enumerate(labels.shape) if size > 1]
    if labels.ndim > 2 and len(planes) <= 2:
        labels = (
            labels.reshape(labels.shape[-2:])
            if labels.shape[:-2] == (1,) * (labels.ndim - 2)
            else labels.squeeze()
        )
    if labels.ndim != 2:
        raise FormatError(
            f"SA-1B JSON holds one plane; these labels have the shape {labels.shape}. Save a "
            "stack as TIFF"
        )
    records = [
        MaskRecord.from_mask(labels == number, id=int(number))
        for number in np.unique(labels)
        if number
    ]
    name = str(meta.get("name", ""))
    write_sa1b(path, ImageRecords(labels.shape[1], labels.shape[0], tuple(records), name))
    return [path]


def write_label_store(path: str, layer: Labels) -> None:
    """Write a Labels layer as OME-Zarr, with its pixel size.

    Its axes are the last of T, Z, Y and X; with more than four, leading axes of length 1 are
    dropped.

    Parameters
    ----------
    path : str
        The store.
    layer : Labels

    Raises
    ------
    FormatError
        If the labels have too many axes, or cannot be written.
    """
    data = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    first = 0
    while data.ndim > 4 and data.shape[0] == 1:
        data, first = data[0], first + 1
    scale = [float(abs(step)) for step in layer.scale[first:]]
    units = {str(unit) for unit in layer.units[-2:]}
    unit = units.pop() if len(units) == 1 else "pixel"
    write_labels(path, data, scale=scale, unit=None if unit == "pixel" else unit)


def journal_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """Return a reader of session journals, or None for JSON lines of another kind."""
    from ..session import Journal

    if not isinstance(path, str):
        return None
    try:
        Journal.read(path)
    except (OSError, FormatError):
        return None
    return _read_journal


def _read_journal(path: str) -> list[LayerTuple]:
    """Rebuild the labels of a journal."""
    from ..session import ArrayTarget, Journal, recorded_objects

    header, events = Journal.read(path)
    recorded = header["target"]
    shape, dtype = tuple(recorded["shape"]), np.dtype(recorded["dtype"])
    ARRAY_BYTES.check(math.prod(shape) * dtype.itemsize, "the journal's labels are too large")
    labels = np.zeros(shape, dtype)
    objects = recorded_objects(events, ArrayTarget(labels, displayed=recorded.get("displayed")))
    features = {
        "index": list(objects),
        "predicted_iou": [item.score for item in objects.values()],
        "seconds": [item.seconds for item in objects.values()],
    }
    return [(labels, {"name": f"{Path(path).stem}", "features": features}, "labels")]
