"""Image layers: which one is in use, its axes, its planes as a source. Nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...engine import PlaneSource, Window
from ...errors import ImageError
from .coordinates import current_index, displayed_axes, placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

PixelSize: TypeAlias = "tuple[tuple[float, float] | None, str | None]"


@dataclass(frozen=True, slots=True)
class ImageAxes:
    """The meaning of the axes of an image layer's data.

    Parameters
    ----------
    shape : tuple of int
        Of the full resolution, without the colour axis of an RGB layer: the layer's own axes.
    displayed : (int, int)
        Axes that are the rows and columns of a plane.
    channel : int or None
        Axis that holds channels. It belongs to no plane: every plane has all channels.
    """

    shape: tuple[int, ...]
    displayed: tuple[int, int]
    channel: int | None = None
    planes: tuple[int, ...] = field(init=False)
    """Axes that tell planes apart."""
    plane_shape: tuple[int, ...] = field(init=False)
    """Number of planes along each of `planes`."""
    rows_cols: tuple[int, int] = field(init=False)
    """Rows and columns of a plane."""

    def __post_init__(self) -> None:
        used = (*self.displayed, self.channel)
        planes = tuple(axis for axis in range(len(self.shape)) if axis not in used)
        rows, cols = self.displayed
        object.__setattr__(self, "planes", planes)
        object.__setattr__(self, "plane_shape", tuple(self.shape[axis] for axis in planes))
        object.__setattr__(self, "rows_cols", (self.shape[rows], self.shape[cols]))

    def position(self, plane: Sequence[int], point: Any) -> np.ndarray:
        """Return layer coordinates (..., ndim) of (row, column) points (..., 2) of a plane."""
        points = np.asarray(point, np.float64)
        full = np.zeros((*points.shape[:-1], len(self.shape)))
        for axis, index in zip(self.planes, plane, strict=True):
            full[..., axis] = index
        full[..., self.displayed[0]] = points[..., 0]
        full[..., self.displayed[1]] = points[..., 1]
        return full

    def plane(self, position: Any) -> tuple[int, ...]:
        """Return the plane that layer coordinates (ndim,) lie on.

        Raises
        ------
        ImageError
            If the image has no such plane.
        """
        plane = []
        for axis, count in zip(self.planes, self.plane_shape, strict=True):
            index = int(np.round(position[axis]))
            if not 0 <= index < count:
                raise ImageError(
                    f"position {index} of axis {axis} is outside the image, which has "
                    f"{count} there; move the slider"
                )
            plane.append(index)
        return tuple(plane)


def pixel_size(image: Image | None, axes: ImageAxes) -> PixelSize:
    """Return the size of an image's pixels along rows and columns, and its unit.

    Both are None without an image, in pixels, and with different units along rows and columns.
    """
    row, col = axes.displayed
    if image is None or str(image.units[row]) == "pixel" or image.units[row] != image.units[col]:
        return None, None
    return (float(abs(image.scale[row])), float(abs(image.scale[col]))), str(image.units[row])


def axes_of(
    viewer: ViewerModel, layer: Image | Sequence[Image], channel_axis: int | None = None
) -> ImageAxes:
    """Determine the axes of an image as the viewer shows it now.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        Its order of dimensions says which two axes are rows and columns.
    layer : Image, or sequence of Image
        Layers that are the channels of one image have the same axes.
    channel_axis : int, optional
        Axis of the layer that holds channels, negative from the end.

    Raises
    ------
    ImageError
        If it is not an image, or its channel axis is displayed.
    """
    first = layers_of_image(layer)[0]
    shape = layer_shape(first)
    channel = _channel(first, shape, channel_axis)
    displayed = displayed_axes(viewer, first)
    if channel in displayed:
        shift = viewer.dims.ndim - first.ndim
        rest = [axis for axis in range(len(shape)) if axis != channel]
        order = (*range(shift), *(axis + shift for axis in (channel, *rest) if axis is not None))
        raise ImageError(
            f"axis {channel} of {first.name!r} holds channels, and the viewer displays it as rows "
            f"or columns; set viewer.dims.order = {order}"
        )
    return ImageAxes(shape, displayed, channel)


def layers_of_image(layer: Image | Sequence[Image]) -> tuple[Image, ...]:
    """Return the layers of an image as a tuple, after checking them.

    Raises
    ------
    ImageError
        If one is not an Image layer, or the channels differ in shape.
    """
    from napari.layers import Image

    layers = (layer,) if isinstance(layer, Image) else layer
    if not isinstance(layers, Sequence) or not layers:
        raise ImageError(f"choose an Image layer, not {type(layer).__name__}")
    for item in layers:
        if not isinstance(item, Image):
            raise ImageError(f"choose an Image layer; {item} is a {type(item).__name__}")
    if len(layers) > 1:
        if any(item.rgb for item in layers):
            raise ImageError("an RGB layer cannot be one channel among others")
        shapes = {level_shapes(item) for item in layers}
        if len(shapes) > 1:
            raise ImageError("layers used as channels of one image need the same shape")
    return tuple(layers)


def level_shapes(layer: Any) -> tuple[tuple[int, ...], ...]:
    """Return the shape of every level of a layer's data."""
    levels = layer.data if layer.multiscale else (layer.data,)
    return tuple(tuple(int(n) for n in level.shape) for level in levels)


def layer_shape(layer: Any) -> tuple[int, ...]:
    """Return the full-resolution shape of an image or labels layer, without an RGB axis."""
    shape = level_shapes(layer)[0]
    return shape[: layer.ndim]


def _channel(layer: Image, shape: tuple[int, ...], channel_axis: int | None) -> int | None:
    if channel_axis is None:
        return None
    if layer.rgb:
        raise ImageError(f"{layer.name!r} is an RGB layer: its channels are known")
    if len(shape) < 3 or not -len(shape) <= channel_axis < len(shape):
        raise ImageError(
            f"channel_axis {channel_axis} does not fit {layer.name!r} of shape {shape}: an image "
            "has rows and columns besides"
        )
    return channel_axis % len(shape)


def source_of(
    layer: Image | Sequence[Image],
    axes: ImageAxes,
    *,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
) -> PlaneSource:
    """Return an image layer as a source of planes.

    Parameters
    ----------
    layer : Image, or sequence of Image
        A sequence is the channels of one image, in order, as napari splits them.
    axes : ImageAxes
        From `axes_of`.
    channels : sequence of int, optional
        The channels to use.
    contrast_limits : "auto", "layer", "percentile", or numbers
        "layer" takes the limits at which the layer is shown now; else as for `Predictor.embed`.

    Raises
    ------
    ImageError
        If the layers cannot be one image.
    """
    layers = layers_of_image(layer)
    first = layers[0]
    levels: list[Any]
    if len(layers) > 1:
        if axes.channel is not None:
            raise ImageError("either several layers are the channels, or an axis is; not both")
        counts = {len(level_shapes(item)) for item in layers}
        stacks = [item.data if item.multiscale else (item.data,) for item in layers]
        levels = [Channels([stack[level] for stack in stacks]) for level in range(counts.pop())]
        displayed = (axes.displayed[0] + 1, axes.displayed[1] + 1)
        channel: int | None = 0
    else:
        levels = list(first.data) if first.multiscale else [first.data]
        displayed, channel = axes.displayed, axes.channel
    limits = contrast_limits
    if isinstance(limits, str) and limits == "layer":
        used = layers if channels is None else [layers[i] for i in channels if i < len(layers)]
        if len(layers) > 1:
            limits = tuple(tuple(float(v) for v in item.contrast_limits) for item in used)
        elif first.rgb:
            limits = "auto"
        else:
            limits = tuple(float(value) for value in first.contrast_limits)
    path = first.source.path
    return PlaneSource(
        levels if len(levels) > 1 else levels[0],
        displayed=displayed,
        channel_axis=channel,
        rgb=bool(first.rgb),
        channels=None if channels is None else tuple(channels),
        contrast_limits=limits,
        name=first.name,
        path=path,
    )


def plane_of(viewer: ViewerModel, layer: Image, axes: ImageAxes) -> tuple[int, ...]:
    """Return the plane of the image that the viewer shows.

    Raises
    ------
    ImageError
        If it shows none: sliders beyond the image, an oblique cut, or other axes than `axes`.
    """
    if displayed_axes(viewer, layer) != axes.displayed:
        raise ImageError("the viewer shows other axes of the image than before")
    return axes.plane(current_index(viewer, layer))


def labels_placement(
    image: Image,
    axes: ImageAxes,
    plane: Sequence[int] | None = None,
    window: Window | None = None,
    world_units: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Return the transform keywords for labels on an image, with one entry for all channels.

    Parameters
    ----------
    image : Image
    axes : ImageAxes
    plane : sequence of int, optional
        The plane that the labels are of, where they are of one alone.
    window : Window, optional
        Where they lie in the plane, where they do not fill it.
    world_units : sequence of pint.Unit, optional
        As for `placement`.

    Returns
    -------
    dict
        As `placement`.
    """
    origin: dict[int, float] = {}
    if plane is not None:
        origin.update(zip(axes.planes, map(float, plane), strict=True))
    if window is not None:
        rows, cols = axes.displayed
        origin |= {rows: float(window.row), cols: float(window.col)}
    thick = {} if axes.channel is None else {axes.channel: float(axes.shape[axes.channel])}
    return placement(image, origin=origin, thick=thick, world_units=world_units)


class Channels:
    """Arrays of one shape, one a channel, as one array with the channels on its first axis.

    Only what is indexed is read.

    Parameters
    ----------
    arrays : sequence of array-likes
        Of one shape.
    """

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = tuple(arrays)
        self.shape = (len(self._arrays), *(int(n) for n in self._arrays[0].shape))
        self.dtype = np.result_type(*(np.dtype(array.dtype) for array in self._arrays))
        self.ndim = len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        if index and index[0] is Ellipsis and len(index) > self.ndim:
            index = index[1:]
        if not index or index[0] is Ellipsis:
            index = (slice(None), *index)
        chosen = self._arrays[index[0]]
        if isinstance(chosen, tuple):
            parts = [np.asarray(array[index[1:]]) for array in chosen]
            return np.stack(parts).astype(self.dtype, copy=False)
        return np.asarray(chosen[index[1:]]).astype(self.dtype, copy=False)


class SessionLayers:
    """The image of a session, and the Labels layer that its objects go to.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    new_pixels : callable
        Called when the image's data were replaced.
    """

    def __init__(self, viewer: ViewerModel, new_pixels: Callable[[], object]) -> None:
        self.viewer = viewer
        self.images: tuple[Image, ...] = ()
        """The image layer, or the layers that are its channels; empty before the first prompt."""
        self.target: Labels | None = None
        """None until it is created."""
        self._new_pixels = new_pixels

    @property
    def image(self) -> Image | None:
        """The (first) image layer in use."""
        return self.images[0] if self.images else None

    def choose(self, images: tuple[Image, ...]) -> None:
        """Use an image, and listen to its data."""
        for layer in self.images:
            layer.events.data.disconnect(self._on_data)
        self.images = images
        for layer in images:
            layer.events.data.connect(self._on_data)

    def _on_data(self, event: Any = None) -> None:
        self._new_pixels()

    def present(self) -> tuple[Image, ...]:
        """Return the image in use, or the default one.

        Raises
        ------
        ImageError
            If there is none, or it was removed from the viewer.
        """
        if not self.images:
            return (default_image(self.viewer),)
        for layer in self.images:
            if layer not in self.viewer.layers:
                raise _removed(layer)
        return self.images


def default_image(viewer: ViewerModel) -> Image:
    """Return the default Image layer: the active one, otherwise the topmost visible one.

    Raises
    ------
    ImageError
        If the viewer has none.
    """
    from napari.layers import Image

    active = viewer.layers.selection.active
    if isinstance(active, Image):
        return active
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    seen = [layer for layer in images if layer.visible] or images
    if not seen:
        raise ImageError("the viewer has no Image layer; open an image first")
    return seen[-1]


def readable_images(viewer: ViewerModel) -> list[Image]:
    """Return the Image layers that can be segmented, the topmost last."""
    from napari.layers import Image

    return [layer for layer in viewer.layers if isinstance(layer, Image) and layer.ndim >= 2]


def check_images(viewer: ViewerModel, layers: Sequence[Image]) -> None:
    """Check that an image's layers are still in the viewer.

    Raises
    ------
    ImageError
        If one was removed.
    """
    for layer in layers_of_image(layers):
        if layer not in viewer.layers:
            raise _removed(layer)


def _removed(layer: Image) -> ImageError:
    return ImageError(f"the image {layer.name!r} was removed from the viewer; choose another one")
