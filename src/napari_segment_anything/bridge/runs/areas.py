"""Which part of a viewer's image everything mode runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import PlaneSource, Window
from ...errors import ImageError, ParameterError
from ..viewer.coordinates import placement, world_to_data
from ..viewer.images import ImageAxes, axes_of, check_images, plane_of, source_of
from ..viewer.sources import prompts_of
from ..viewer.targets import LayerTarget

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Shapes

REGION_MARK = "napari-segment-anything region"


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Part of a plane of an image that is to be segmented; fixed when a run begins.

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
        Labels that the result is added to; None for a new layer.
    """

    layers: tuple[Image, ...]
    axes: ImageAxes
    source: PlaneSource
    plane: tuple[int, ...]
    window: Window
    target: LayerTarget | None = None

    @property
    def place(self) -> tuple[Any, ...]:
        """A value that is equal for areas of the same pixels."""
        return (self.layers, self.axes, self.plane, self.window)


def find_area(
    viewer: ViewerModel,
    layers: Sequence[Image],
    region: str | Window,
    *,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    target: Labels | None = None,
) -> Area:
    """Find what to segment, from what the viewer shows now.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    layers : sequence of Image
        The image; several are its channels.
    region : {"plane", "view", "rectangle"} or Window
        All of the plane, the part in view, the rectangle drawn last on the region's layer, or a
        part in full-resolution pixels.
    channel_axis, channels, contrast_limits
        As for `source_of`.
    target : Labels, optional
        Labels that the result is added to; those in it are kept. By default a new layer.

    Raises
    ------
    ImageError
        If the image, the plane or the part of it does not exist.
    ParameterError
        If the target cannot be written to, or the region is not a valid one.
    """
    if not layers:
        raise ImageError("open an image first")
    check_images(viewer, layers)
    images = tuple(layers)
    axes = axes_of(viewer, images, channel_axis)
    plane = plane_of(viewer, images[0], axes)
    source = source_of(images, axes, channels=channels, contrast_limits=contrast_limits)
    if isinstance(region, Window):
        window = region.clip(axes.rows_cols)
    elif region == "plane":
        window = Window.full(axes.rows_cols)
    elif region == "view":
        window = visible_window(viewer, images[0], axes)
    elif region == "rectangle":
        window = _drawn_window(viewer, images[0], axes, plane)
    else:
        raise ParameterError(f"region is 'plane', 'view', 'rectangle' or a Window, not {region!r}")
    place = None
    if target is not None:
        place = LayerTarget(viewer, images[0], axes, target)
    return Area(images, axes, source, plane, window, place)


def visible_window(viewer: ViewerModel, image: Image, axes: ImageAxes) -> Window:
    """Return the smallest window of the plane that holds everything the canvas shows of it.

    Raises
    ------
    ImageError
        If the canvas shows nothing of the image.
    """
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.size, np.float64) / (2 * camera.zoom)
    centre = np.asarray(camera.center, np.float64)[-2:]
    corners = np.repeat(np.asarray(viewer.dims.point, np.float64)[None], 4, axis=0)
    signs = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    corners[:, list(viewer.dims.displayed)] = centre + signs * half
    seen = world_to_data(viewer, image, corners)[:, list(axes.displayed)]
    return _between(seen.min(0), seen.max(0), axes.rows_cols)


def _drawn_window(
    viewer: ViewerModel, image: Image, axes: ImageAxes, plane: tuple[int, ...]
) -> Window:
    shapes = region_layer(viewer)
    found = [] if shapes is None else prompts_of(viewer, shapes, image, axes, plane).boxes
    if not found:
        raise ParameterError("draw a rectangle on this plane first")
    return _between(np.array(found[-1][:2]), np.array(found[-1][2:]), axes.rows_cols)


def _between(low: np.ndarray, high: np.ndarray, shape: tuple[int, int]) -> Window:
    first = np.clip(np.floor(low + 0.5), 0, None).astype(int)
    last = np.minimum(np.ceil(high - 0.5), np.array(shape) - 1).astype(int)
    if (last < first).any():
        raise ImageError(
            "no part of the image lies there; move the view, or draw another rectangle"
        )
    return Window(first[0], first[1], last[0] - first[0] + 1, last[1] - first[1] + 1)


def region_layer(viewer: ViewerModel) -> Shapes | None:
    """Return the Shapes layer that regions are drawn on, or None."""
    return marked_shapes(viewer, REGION_MARK)


def draw_region(viewer: ViewerModel, image: Image) -> Shapes:
    """Create the layer that regions are drawn on, if necessary, and activate its rectangle tool."""
    return draw_rectangles(viewer, image, REGION_MARK, "region", "#ffd34d")


def marked_shapes(viewer: ViewerModel, mark: str) -> Shapes | None:
    """Return the topmost Shapes layer with a mark in its metadata, or None."""
    from napari.layers import Shapes

    for layer in reversed(viewer.layers):
        if isinstance(layer, Shapes) and mark in layer.metadata:
            return layer
    return None


def draw_rectangles(viewer: ViewerModel, image: Image, mark: str, name: str, colour: str) -> Shapes:
    """Create a layer to draw rectangles on, if there is none, and activate its rectangle tool.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    image : Image
        What is drawn on.
    mark : str
        Key in the layer's metadata by which it is found again.
    name, colour : str
        Of a new layer.
    """
    layer = marked_shapes(viewer, mark)
    if layer is None:
        layer = viewer.add_shapes(
            ndim=image.ndim,
            name=name,
            metadata={mark: True},
            edge_color=colour,
            face_color=[0, 0, 0, 0],
            edge_width=max(1.0, max(image.extent.data[1] - image.extent.data[0]) / 250),
            **placement(image, world_units=viewer.dims.units),
        )
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer
