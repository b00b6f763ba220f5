"""The layers of a project's image in a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import Window
from ...formats import ImageData
from ..viewer.targets import PAINTABLE_SIDE
from .opening import ImageAhead

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

_COLOURS = ("green", "magenta", "cyan", "yellow", "red", "blue", "gray")
_SMALLEST = 1024
_LEAST_SEEN = 96.0


class ProjectLayers:
    """Shows one image of a project at a time: its channels, and its labels.

    The layers get the pixels of the next image where they can, as napari needs some time to make
    and to remove a layer.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.images: tuple[Image, ...] = ()
        self.labels: Labels | None = None
        self._kind: tuple[Any, ...] = ()
        self._shape: tuple[int, int] | None = None

    @property
    def all(self) -> tuple[Layer, ...]:
        """The layers, those that were removed from the viewer by hand included."""
        return (*self.images, *(() if self.labels is None else (self.labels,)))

    def show(self, ahead: ImageAhead, array: np.ndarray) -> tuple[tuple[Image, ...], Labels]:
        """Show an image instead of the one before; return the layers of its channels and labels.

        The camera stays where it is for an image of the same size.

        Parameters
        ----------
        ahead : ImageAhead
        array : int array (rows, columns)
            Its labels.
        """
        data = ahead.data
        labels = _pyramid(array)
        kind = (len(ahead.contrast), data.rgb, len(data.levels) > 1, len(labels) > 1)
        there = bool(self.all) and all(layer in self._viewer.layers for layer in self.all)
        if not there or kind != self._kind:
            self.remove()
            self._make(data, ahead.contrast, labels)
        self._fill(ahead, labels)
        self._kind = kind
        if ahead.source.shape != self._shape:
            self._viewer.fit_to_view()
        self._shape = ahead.source.shape
        self._viewer.layers.selection.active = self.images[0]
        if self.labels is None:
            raise RuntimeError("the labels were not made")
        return self.images, self.labels

    def _make(
        self, data: ImageData, contrast: tuple[tuple[float, float], ...], labels: list[np.ndarray]
    ) -> None:
        several = len(data.levels) > 1
        made = []
        for channel, pixels in enumerate(_channels(data)):
            colours = {}
            if len(contrast) > 1:
                colours = {
                    "colormap": _COLOURS[channel % len(_COLOURS)],
                    "blending": "additive",
                }
            limits = {} if data.rgb else {"contrast_limits": contrast[channel]}
            layer = self._viewer.add_image(
                pixels if several else pixels[0], multiscale=several, rgb=data.rgb, **limits,
                **colours,
            )  # fmt: skip
            made.append(layer)
        self.images = tuple(made)
        pyramid = len(labels) > 1
        self.labels = self._viewer.add_labels(labels if pyramid else labels[0], multiscale=pyramid)

    def _fill(self, ahead: ImageAhead, labels: list[np.ndarray]) -> None:
        data, name = ahead.data, ahead.image.key
        several = len(data.levels) > 1
        for channel, (layer, pixels) in enumerate(zip(self.images, _channels(data), strict=True)):
            layer.data = pixels if several else pixels[0]
            layer.name = name if channel == 0 else f"{name} channel {channel}"
            _place(layer, data)
            if not data.rgb:
                layer.contrast_limits = ahead.contrast[channel]
        layer = self.labels
        if layer is not None:
            layer.editable = False  # which also drops the strokes that napari could undo
            layer.data = labels if len(labels) > 1 else labels[0]
            layer.editable = len(labels) == 1
            layer.name = f"{name} objects"
            _place(layer, data)

    def remove(self) -> None:
        """Remove what is shown."""
        gone = self.all
        self.images, self.labels = (), None
        for layer in gone:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)


def _place(layer: Layer, data: ImageData) -> None:
    """Give a layer the pixel size of an image. napari redraws a layer whenever that is set."""
    units = tuple(data.units[data.axes.index(axis)] or "pixel" for axis in "YX")
    if tuple(map(str, layer.units)) != units:
        layer.units = units
    if tuple(layer.scale) != data.pixel_size:
        layer.scale = data.pixel_size


def _channels(data: ImageData) -> list[list[Any]]:
    """The levels of each channel."""
    levels = list(data.levels) if len(data.levels) > 1 else [data.array]
    if data.channel_axis is None:
        return [levels]
    before = (slice(None),) * data.channel_axis
    return [
        [level[(*before, channel)] for level in levels]
        for channel in range(data.shape[data.channel_axis])
    ]


def _pyramid(labels: np.ndarray) -> list[np.ndarray]:
    """Labels, with reduced levels if the plane is too large for napari's brush."""
    levels = [labels]
    while max(labels.shape) > PAINTABLE_SIDE and max(levels[-1].shape) > _SMALLEST:
        levels.append(levels[-1][::2, ::2].copy())
    return levels


def show_window(viewer: ViewerModel, image: Image, window: Window, around: float = 4.0) -> None:
    """Move the camera to part of an image, with some of what lies around it and little outside.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    image : Image
    window : Window
        In pixels of the image.
    around : float
        How much is seen: a multiple of the window's sides.
    """
    sides = np.maximum(np.array(window.shape) * around, _LEAST_SEEN)
    last = image.extent.data[1, -2:]
    half = np.minimum(sides, last) / 2
    corner = np.array((window.row, window.col))
    middle = np.clip(corner + (np.array(window.shape) - 1) / 2, half, last - half)
    world = image.data_to_world((*(0,) * (image.ndim - 2), *middle))
    camera = viewer.scene.camera
    camera.center = (0.0, *(float(world[axis]) for axis in viewer.dims.displayed))
    sides = sides * np.abs(np.asarray(image.scale)[-2:])
    camera.zoom = float(min(np.array(viewer.canvas.size) / np.maximum(sides, 1e-9)))
