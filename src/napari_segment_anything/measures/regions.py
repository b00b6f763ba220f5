"""Measurements of the objects of a label image: position, shape and intensity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError

_SHAPE_2D = (
    "label", "area", "bbox", "centroid", "perimeter", "equivalent_diameter_area",
    "axis_major_length", "axis_minor_length", "eccentricity", "orientation", "solidity",
    "perimeter_crofton",
)  # fmt: skip
_SHAPE_3D = ("label", "area", "bbox", "centroid", "equivalent_diameter_area", "extent")
_OF_SQUARE_PIXELS = ("perimeter", "perimeter_crofton")
_INTENSITY = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")
_AXES = {2: ("row", "col"), 3: ("plane", "row", "col")}


def measure_labels(
    labels: ArrayLike,
    *,
    image: ArrayLike | None = None,
    channel_axis: int | None = None,
    scale: Sequence[float] | None = None,
    unit: str | None = None,
    scores: Mapping[str, Mapping[int, float] | Sequence[float]] | None = None,
) -> dict[str, NDArray[Any]]:
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
        Columns with a row for each object, in ascending order of ids: label, area (a volume in
        3-D), bounding box, centroid, unit, and those of `image` and `scores`. In 2-D also
        equivalent_diameter, axis_major_length, axis_minor_length, eccentricity, orientation and
        solidity, as scikit-image's `regionprops` defines them, and for square pixels perimeter
        and circularity; in 3-D extent. Circularity is 4 pi area / perimeter^2 with Crofton's
        estimate of the perimeter: about 1 for a disc of any size, less for other shapes.

    Raises
    ------
    ParameterError
        If shapes do not match.
    """
    from skimage.measure import regionprops_table

    array = np.asarray(labels)
    if array.ndim not in _AXES or array.dtype.kind not in "iub":
        raise ParameterError(f"Labels are integers in 2-D or 3-D; got {array.dtype} {array.shape}.")
    if array.dtype.kind != "i":
        array = array.astype(np.int64)
    spacing = np.ones(array.ndim) if scale is None else np.asarray(scale, float)
    if spacing.shape != (array.ndim,) or not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise ParameterError(f"scale needs {array.ndim} positive pixel sizes; got {scale!r}.")
    intensity = None if image is None else _intensity(image, channel_axis, array.shape)
    names = list(_SHAPE_2D if array.ndim == 2 else _SHAPE_3D)
    if array.ndim == 2 and not np.isclose(spacing[0], spacing[1]):
        names = [name for name in names if name not in _OF_SQUARE_PIXELS]
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


def _intensity(image: ArrayLike, channel_axis: int | None, shape: tuple[int, ...]) -> Any:
    array = np.asarray(image)
    if channel_axis is not None:
        array = np.moveaxis(array, channel_axis, -1)
    if array.shape[: len(shape)] != shape or array.ndim > len(shape) + 1:
        raise ParameterError(
            f"The image has shape {array.shape}, the labels {shape}: they do not match. Give the "
            "channel axis if there is one."
        )
    return array


def _renamed(raw: Mapping[str, Any], ndim: int) -> dict[str, NDArray[Any]]:
    axes = _AXES[ndim]
    names = {f"centroid-{i}": f"centroid_{a}" for i, a in enumerate(axes)}
    names |= {f"bbox-{i}": f"bbox_{a}_min" for i, a in enumerate(axes)}
    names |= {f"bbox-{i + ndim}": f"bbox_{a}_max" for i, a in enumerate(axes)}
    names["equivalent_diameter_area"] = "equivalent_diameter"
    table: dict[str, NDArray[Any]] = {}
    for key, column in raw.items():
        if key == "perimeter_crofton":
            table["circularity"] = 4 * np.pi * raw["area"] / column**2
        else:
            table[names.get(key, key.replace("-", "_"))] = np.asarray(column)
    for axis in axes:  # inclusive, as boxes are elsewhere
        table[f"bbox_{axis}_max"] = table[f"bbox_{axis}_max"] - 1
    return table


def _column(name: str, values: Any, ids: NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(values, Mapping):
        return np.array([float(values.get(int(i), np.nan)) for i in ids], float)
    column = np.asarray(values, float)
    if column.shape != ids.shape:
        raise ParameterError(f"Column '{name}' has {column.size} values for {ids.size} objects.")
    return column
