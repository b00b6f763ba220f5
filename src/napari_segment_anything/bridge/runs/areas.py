"""Which part of a viewer's image everything mode runs on; no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import PlaneSource, Window
from ...errors import ImageError, ParameterError
from ..viewer.binding import check_images
from ..viewer.coordinates import placement
from ..viewer.images import ImageAxes, axes_of, plane_of, source_of
from ..viewer.sources import prompts_of
from ..viewer.targets import LayerTarget, check_alignment

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Shapes

REGION_MARK = "napari-segment-anything region"


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """What is segmented: part of a plane of an image, settled when a run begins.

    Parameters
    ----------
    layers : tuple of Image
        The image; several are its channels.
    axes : ImageAxes
    source : PlaneSource
    plane : tuple of int
    window : Window
        In full-resolution pixels of the plane.
    target : LayerTarget or None
        Labels that the result goes to, beside what is in them; None for a layer of its own.
    """

    layers: tuple[Image, ...]
    axes: ImageAxes
    source: PlaneSource
    plane: tuple[int, ...]
    window: Window
    target: LayerTarget | None = None


def find_area(
    viewer: ViewerModel,
    layers: Sequence[Image],
    region: str,
    *,
    channel_axis: int | None = None,
    contrast_limits: Any = "auto",
    target: Labels | None = None,
) -> Area:
    """Settle what to segment, as the viewer shows it now.

    Parameters
    ----------
    region : {"plane", "view", "rectangle"}
        All of the plane, the part in view, or the rectangle drawn last on the region's layer.
    target : Labels, optional
        Where the result goes, if not to a layer of its own; its labels are kept.

    Raises
    ------
    ImageError
        If there is no such image, plane or part of it.
    ParameterError
        If the target cannot be written to, or there is no rectangle.
    """
    if not layers:
        raise ImageError("open an image first")
    check_images(viewer, layers)
    axes = axes_of(viewer, tuple(layers), channel_axis)
    plane = plane_of(viewer, layers[0], axes)
    source = source_of(tuple(layers), axes, contrast_limits=contrast_limits)
    window = _window(viewer, layers[0], axes, plane, region)
    place = None
    if target is not None:
        place = LayerTarget(target, axes)
        check_alignment(viewer, target, layers[0], axes)
    return Area(tuple(layers), axes, source, plane, window, place)


def _window(
    viewer: ViewerModel, image: Image, axes: ImageAxes, plane: tuple[int, ...], region: str
) -> Window:
    rows, cols = axes.rows_cols
    if region == "plane":
        return Window.full((rows, cols))
    if region == "view":
        return _visible(image, axes)
    shapes = region_layer(viewer)
    found = [] if shapes is None else prompts_of(viewer, shapes, image, axes, plane).boxes
    if not found:
        raise ParameterError("draw a rectangle on this plane first")
    low, high = np.array(found[-1][:2]), np.array(found[-1][2:])
    return _cut(low, high, (rows, cols))


def _visible(image: Image, axes: ImageAxes) -> Window:
    corners = np.asarray(image.corner_pixels, np.float64)[:, list(axes.displayed)]
    if image.multiscale:
        factors = np.asarray(image.downsample_factors)[image.data_level]
        corners = corners * factors[list(axes.displayed)]
    low, high = corners.min(0), corners.max(0)
    return _cut(low, high, axes.rows_cols)


def _cut(low: np.ndarray, high: np.ndarray, shape: tuple[int, int]) -> Window:
    first = np.clip(np.floor(low + 0.5), 0, None).astype(int)
    last = np.minimum(np.ceil(high - 0.5), np.array(shape) - 1).astype(int)
    if (last < first).any():
        raise ImageError("no part of the image is there; move the view, or draw another rectangle")
    return Window(first[0], first[1], last[0] - first[0] + 1, last[1] - first[1] + 1)


def region_layer(viewer: ViewerModel) -> Shapes | None:
    """Return the Shapes layer that regions are drawn on, or None."""
    from napari.layers import Shapes

    for layer in reversed(viewer.layers):
        if isinstance(layer, Shapes) and REGION_MARK in layer.metadata:
            return layer
    return None


def draw_region(viewer: ViewerModel, image: Image) -> Shapes:
    """Make the layer that regions are drawn on, if need be, and let the user draw."""
    layer = region_layer(viewer)
    if layer is None:
        layer = viewer.add_shapes(
            ndim=image.ndim,
            name="region",
            metadata={REGION_MARK: True},
            edge_color="#ffd34d",
            face_color=[0, 0, 0, 0],
            edge_width=max(1.0, max(image.extent.data[1] - image.extent.data[0]) / 250),
            **placement(image, world_units=viewer.dims.units),
        )
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer
