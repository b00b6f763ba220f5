"""Measure labels into a table, and read and write tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FormatError
from ..reading import require_file
from .atomic import replacing

_SHAPE_2D = (
    "label", "area", "bbox", "centroid", "perimeter", "equivalent_diameter_area",
    "axis_major_length", "axis_minor_length", "eccentricity", "orientation", "solidity",
)  # fmt: skip
_SHAPE_3D = ("label", "area", "bbox", "centroid", "equivalent_diameter_area", "extent")
_INTENSITY = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")
_AXES = {2: ("row", "col"), 3: ("plane", "row", "col")}
_LENGTHS = ("perimeter", "equivalent_diameter", "axis_major_length", "axis_minor_length")

Table = dict[str, NDArray[Any]]


def measure(
    labels: ArrayLike,
    *,
    image: ArrayLike | None = None,
    channel_axis: int | None = None,
    scale: Sequence[float] | None = None,
    unit: str | None = None,
    scores: Mapping[str, Mapping[int, float] | Sequence[float]] | None = None,
) -> Table:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : int array (rows, columns) or (planes, rows, columns)
        0 is background.
    image : array, optional
        Intensities on the same grid, perhaps with channels; adds mean, minimum, maximum and
        standard deviation, for each channel if there are several.
    channel_axis : int, optional
        Position of the channels in `image`.
    scale : sequence of float, optional
        Pixel size along each dimension of `labels`; lengths, areas and centroids are then in
        `unit`. Bounding boxes stay in pixels.
    unit : str, optional
        Name of the unit, for the column ``unit``; "pixel" without a scale.
    scores : mapping, optional
        Further columns, such as ``{"predicted_iou": {7: 0.93}, "stability_score": ...}``: a
        value per label id (NaN where missing), or one per object in ascending order of ids.

    Returns
    -------
    dict of str to array (n,)
        Columns with a row for each object, in ascending order of ids. Area is a volume in 3-D.

    Raises
    ------
    FormatError
        If shapes do not match.
    """
    from skimage.measure import regionprops_table

    array = np.asarray(labels)
    if array.ndim not in _AXES or array.dtype.kind not in "iub":
        raise FormatError(f"Labels are integers in 2-D or 3-D; got {array.dtype} {array.shape}.")
    if array.dtype.kind != "i":
        array = array.astype(np.int64)
    spacing = np.ones(array.ndim) if scale is None else np.asarray(scale, float)
    if spacing.shape != (array.ndim,) or not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise FormatError(f"scale needs {array.ndim} positive pixel sizes; got {scale!r}.")
    intensity = None if image is None else _intensity(image, channel_axis, array.shape)
    # The perimeter is only defined for square pixels.
    square = array.ndim == 2 and np.isclose(spacing[0], spacing[1])
    names = list(_SHAPE_2D if array.ndim == 2 else _SHAPE_3D)
    if array.ndim == 2 and not square:
        names.remove("perimeter")
    if intensity is not None:
        names += _INTENSITY
    raw = regionprops_table(
        array, intensity, properties=tuple(names), spacing=tuple(spacing), separator="-"
    )
    table = _renamed(raw, array.ndim)
    count = len(table["label"])
    table["unit"] = np.full(count, "pixel" if scale is None else (unit or "unknown"))
    for name, values in (scores or {}).items():
        table[name] = _column(name, values, table["label"])
    return table


def write_table(path: str | Path, table: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
    """Write columns as CSV.

    Parameters
    ----------
    path : str or Path
        The CSV file.
    table : mapping of str to sequence
        Columns of equal length. NaN is written as an empty field.

    Raises
    ------
    FormatError
        If columns differ in length or the file cannot be written.
    """
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise FormatError(f"The table's columns differ in length: {lengths}.")
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow([_text(value) for value in row])


def read_table(path: str | Path) -> Table:
    """Read a CSV file with a header: columns of integers, numbers or text.

    Raises
    ------
    FormatError
        If the file is missing, has no header, or a row has too few or too many fields.
    """
    path = Path(path)
    try:
        with require_file(path, "table").open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except FormatError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path.name} cannot be read as CSV: {error}.") from error
    if not rows:
        raise FormatError(f"{path.name} is empty; a table has a header line.")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise FormatError(
                f"{path.name}, row {number}: {len(row)} fields, but the header has {len(header)}."
            )
    return {name: _typed([row[i] for row in rows[1:]]) for i, name in enumerate(header)}


def _intensity(image: ArrayLike, channel_axis: int | None, shape: tuple[int, ...]) -> Any:
    array = np.asarray(image)
    if channel_axis is not None:
        array = np.moveaxis(array, channel_axis, -1)
    if array.shape[: len(shape)] != shape or array.ndim > len(shape) + 1:
        raise FormatError(
            f"The image has shape {array.shape}, the labels {shape}: they do not match. Give the "
            "channel axis if there is one."
        )
    return array


def _renamed(raw: Mapping[str, Any], ndim: int) -> Table:
    axes = _AXES[ndim]
    names = {f"centroid-{i}": f"centroid_{a}" for i, a in enumerate(axes)}
    names |= {f"bbox-{i}": f"bbox_{a}_min" for i, a in enumerate(axes)}
    names |= {f"bbox-{i + ndim}": f"bbox_{a}_max" for i, a in enumerate(axes)}
    names["equivalent_diameter_area"] = "equivalent_diameter"
    table: Table = {}
    for key, column in raw.items():
        table[names.get(key, key.replace("-", "_"))] = np.asarray(column)
    for axis in axes:  # inclusive, as boxes are elsewhere
        table[f"bbox_{axis}_max"] = table[f"bbox_{axis}_max"] - 1
    return table


def _column(name: str, values: Any, ids: NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(values, Mapping):
        return np.array([float(values.get(int(i), np.nan)) for i in ids], float)
    column = np.asarray(values, float)
    if column.shape != ids.shape:
        raise FormatError(f"Column '{name}' has {column.size} values for {ids.size} objects.")
    return column


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{float(value):.9g}"
    return str(value)


def _typed(column: list[str]) -> NDArray[Any]:
    try:
        return np.array([int(v) for v in column], np.int64)
    except ValueError:
        pass
    try:
        return np.array([float(v) if v.strip() else np.nan for v in column], float)
    except ValueError:
        return np.array(column, dtype=str)
