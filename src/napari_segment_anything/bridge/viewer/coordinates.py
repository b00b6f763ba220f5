"""Data coordinates of one layer, world coordinates, data coordinates of another layer.

These functions apply a layer's complete transform (scale, rotate, shear, translate, affine) and its
units. `layer.world_to_data` ignores the units, so that for a layer in micrometres and one in
nanometres it gives positions that differ by a factor of a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import ImageError

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


@dataclass(frozen=True, slots=True, eq=False)
class LayerTransform:
    """Where a layer's data lies in the viewer's world.

    Parameters
    ----------
    matrix : float64 array (n, n)
        Linear part, from data axes to the last n world axes.
    offset : float64 array (n,)
        World position of the data's origin, in the viewer's units.
    """

    matrix: np.ndarray
    offset: np.ndarray

    def to_world(self, data: npt.ArrayLike) -> np.ndarray:
        """Map data coordinates (..., n) to the last n world coordinates (..., n)."""
        world: np.ndarray = np.asarray(data, np.float64) @ self.matrix.T + self.offset
        return world

    def to_data(self, world: npt.ArrayLike) -> np.ndarray:
        """Map the last n world coordinates (..., n) to data coordinates (..., n)."""
        away = np.asarray(world, np.float64) - self.offset
        data: np.ndarray = np.linalg.solve(self.matrix, away[..., None])[..., 0]
        return data


def unit_ratios(layer: Layer, world_units: Sequence[Any] | None) -> np.ndarray:
    """Return how many of the viewer's units one unit of the layer is, along each axis.

    Parameters
    ----------
    layer : Layer
        A napari layer.
    world_units : sequence of pint.Unit, or None
        `viewer.dims.units`; None (the layers' units cannot be converted into each other) gives
        ones, which is what napari itself then draws.

    Returns
    -------
    float64 array (layer.ndim,)
    """
    units = layer.units
    ratios = np.ones(layer.ndim)
    if world_units is None or len(world_units) < len(units):
        return ratios
    for axis, (unit, world) in enumerate(zip(units, world_units[-len(units) :], strict=True)):
        if str(unit) != str(world):
            ratios[axis] = float((1.0 * unit).to(str(world)).magnitude)
    return ratios


def mixes_units(viewer: ViewerModel) -> bool:
    """Whether the layers' units differ, so that napari's own drawing tools may miss."""
    seen: dict[int, str] = {}
    for layer in viewer.layers:
        for axis, unit in enumerate(reversed(layer.units)):
            if seen.setdefault(axis, str(unit)) != str(unit):
                return True
    return False


def transform_of(viewer: ViewerModel, layer: Layer) -> LayerTransform:
    """Return a layer's transform from data to the viewer's world, units included."""
    linear, translate = _physical(layer)
    affine = layer.affine
    ratios = unit_ratios(layer, viewer.dims.units)
    outer = np.asarray(affine.linear_matrix, np.float64)
    matrix = ratios[:, None] * (outer @ linear)
    offset = ratios * (outer @ translate + np.asarray(affine.translate, np.float64))
    return LayerTransform(matrix, offset)


def _physical(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return linear part and translation of scale, shear, rotate and translate together."""
    from napari.utils.transforms import Affine

    inner = Affine(
        scale=layer.scale,
        translate=layer.translate,
        rotate=layer.rotate,
        shear=layer.shear,
        ndim=layer.ndim,
    )
    return np.asarray(inner.linear_matrix, np.float64), np.asarray(inner.translate, np.float64)


def world_to_data(viewer: ViewerModel, layer: Layer, position: npt.ArrayLike) -> np.ndarray:
    """Map world positions, such as a mouse event's, to data coordinates of a layer.

    Parameters
    ----------
    position : array-like (..., m)
        In all of the viewer's axes. Axes are matched from the right.

    Returns
    -------
    float64 array (..., layer.ndim)
        Of a layer with more axes than the viewer position has, the first are 0.
    """
    world = _fit(np.asarray(position, np.float64), layer.ndim, np.zeros(layer.ndim))
    return transform_of(viewer, layer).to_data(world)


def data_to_world(viewer: ViewerModel, layer: Layer, position: npt.ArrayLike) -> np.ndarray:
    """Map data coordinates of a layer to positions in all of the viewer's axes.

    Axes of the viewer that the layer does not have are at the positions of the viewer's sliders.

    Parameters
    ----------
    position : array-like (..., layer.ndim)

    Returns
    -------
    float64 array (..., viewer.dims.ndim)
    """
    world = transform_of(viewer, layer).to_world(position)
    return _fit(world, viewer.dims.ndim, np.asarray(viewer.dims.point, np.float64))


def between(
    viewer: ViewerModel, source: Layer, target: Layer, position: npt.ArrayLike
) -> np.ndarray:
    """Map data coordinates of one layer to data coordinates of another.

    Parameters
    ----------
    position : array-like (..., source.ndim)
        Where the source has fewer axes than the target, the viewer's sliders give the rest.

    Returns
    -------
    float64 array (..., target.ndim)
    """
    if source is target:
        return np.array(position, np.float64)
    return world_to_data(viewer, target, data_to_world(viewer, source, position))


def _fit(position: np.ndarray, ndim: int, filling: np.ndarray) -> np.ndarray:
    """Keep the last `ndim` coordinates; missing first ones come from `filling`."""
    have = position.shape[-1]
    if have >= ndim:
        return position[..., have - ndim :]
    front = np.broadcast_to(filling[: ndim - have], (*position.shape[:-1], ndim - have))
    return np.concatenate([front, position], axis=-1)


def displayed_axes(viewer: ViewerModel, layer: Layer) -> tuple[int, int]:
    """Return the two data axes of a layer that the viewer shows, in the order of the data.

    Rows are the earlier axis, also where the axes are shown transposed.

    Raises
    ------
    ImageError
        If the viewer shows three dimensions, or an axis that the layer does not have.
    """
    if viewer.dims.ndisplay != 2:
        raise ImageError("prompts are placed in a 2-D view; switch the viewer to 2-D")
    shift = viewer.dims.ndim - layer.ndim
    axes = sorted(int(axis) - shift for axis in viewer.dims.displayed)
    if axes[0] < 0:
        raise ImageError(
            f"the viewer shows an axis that the layer {layer.name!r} does not have; change the "
            "order of the dimensions so that its rows and columns are displayed"
        )
    return axes[0], axes[1]


def current_index(
    viewer: ViewerModel,
    layer: Layer,
    transform: LayerTransform | None = None,
    displayed: tuple[int, int] | None = None,
) -> tuple[float, ...]:
    """Return the data coordinates of the slice that is shown, one for each axis of a layer.

    NaN on displayed axes; on the others the position at which napari slices, before rounding.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    layer : Layer
    transform, displayed : LayerTransform, (int, int), optional
        Of the layer, where they are known.

    Raises
    ------
    ImageError
        If the viewer cuts the layer obliquely: no plane of the data is what one sees.
    """
    shown = displayed or displayed_axes(viewer, layer)
    hidden = [axis for axis in range(layer.ndim) if axis not in shown]
    index = np.full(layer.ndim, np.nan)
    if hidden:
        transform = transform or transform_of(viewer, layer)
        inverse: np.ndarray = np.linalg.inv(transform.matrix)
        size = np.abs(inverse).max()
        if np.abs(inverse[np.ix_(hidden, list(shown))]).max() > 1e-6 * size:
            raise ImageError(
                f"the viewer cuts the layer {layer.name!r} obliquely (its rotation, shear or "
                "affine tilts the displayed plane); show axes in which its planes lie flat"
            )
        point = np.asarray(viewer.dims.point, np.float64)[viewer.dims.ndim - layer.ndim :]
        away = point - transform.offset
        index[hidden] = inverse[np.ix_(hidden, hidden)] @ away[hidden]
    return tuple(float(value) for value in index)


def point_from_data(
    viewer: ViewerModel, layer: Layer, axis_values: Mapping[int, float]
) -> dict[int, float]:
    """Return slider positions (world axis -> value) that show given data coordinates.

    Parameters
    ----------
    axis_values : mapping of int to float
        Data axis (not displayed) -> data coordinate.
    """
    shift = viewer.dims.ndim - layer.ndim
    data = np.zeros(layer.ndim)
    for axis, value in axis_values.items():
        data[axis] = value
    world = transform_of(viewer, layer).to_world(data)
    return {axis + shift: float(world[axis]) for axis in axis_values}


def placement(
    layer: Layer,
    *,
    origin: Mapping[int, float] | None = None,
    thick: Mapping[int, float] | None = None,
    world_units: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Return the transform keywords that align another layer with the pixels of this one.

    Parameters
    ----------
    layer : Layer
        The image.
    origin : mapping of int to float, optional
        Data axis -> coordinate at which the other layer's data begins.
    thick : mapping of int to float, optional
        Data axis -> how many of the image's pixels one pixel of the other layer spans there; a
        channel axis of which the other layer has a single entry is seen on every channel.
    world_units : sequence of pint.Unit, optional
        Express the transform in these units instead of the layer's own. napari's drawing tools
        ignore units, and are right on a layer that has the viewer's.

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine, units, axis_labels.
    """
    from napari.utils.transforms import Affine

    stretch, begin = np.ones(layer.ndim), np.zeros(layer.ndim)
    for axis, value in (origin or {}).items():
        begin[axis] = value
    for axis, count in (thick or {}).items():
        stretch[axis] = count
        begin[axis] += (count - 1) / 2
    linear, translate = _physical(layer)
    scale = np.asarray(layer.scale, np.float64) * stretch
    translate = translate + linear @ begin
    ratios = unit_ratios(layer, world_units)
    shared = {"axis_labels": layer.axis_labels}
    if np.all(ratios == 1):
        return {
            "scale": scale,
            "translate": translate,
            "rotate": layer.rotate,
            "shear": layer.shear,
            "affine": layer.affine,
            "units": layer.units,
            **shared,
        }
    units = tuple(world_units)[-layer.ndim :] if world_units is not None else layer.units
    outer = layer.affine
    linear = np.asarray(outer.linear_matrix) @ (linear * stretch)
    translate = np.asarray(outer.linear_matrix) @ translate + np.asarray(outer.translate)
    return {
        "affine": Affine(linear_matrix=ratios[:, None] * linear, translate=ratios * translate),
        "units": units,
        **shared,
    }


def place_layer(layer: Layer, keywords: Mapping[str, Any]) -> None:
    """Give a layer the transform of some keywords; napari draws it again for each that differs.

    Parameters
    ----------
    layer : Layer
    keywords : mapping
        As `placement` returns them.
    """
    ndim = layer.ndim
    wanted = {
        "scale": np.ones(ndim),
        "translate": np.zeros(ndim),
        "rotate": np.eye(ndim),
        "shear": np.zeros(ndim * (ndim - 1) // 2),
        "affine": np.eye(ndim + 1),
        **keywords,
    }
    if tuple(layer.units) != tuple(wanted["units"]):
        layer.units = wanted["units"]
    for name in ("scale", "translate", "rotate", "shear", "affine"):
        now, then = (
            getattr(at, "affine_matrix", at) for at in (getattr(layer, name), wanted[name])
        )
        if not np.array_equal(now, then):
            setattr(layer, name, wanted[name])
