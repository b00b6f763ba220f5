"""The layers of a project's image in a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import Window
from ...formats import ImageData
from ..viewer.layer_list import remove_layers
from .opening import ImageAhead

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

_COLOURS = ("green", "magenta", "cyan", "yellow", "red", "blue", "gray")
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

    def show(
        self, ahead: ImageAhead, labels: Sequence[np.ndarray]
    ) -> tuple[tuple[Image, ...], Labels]:
        """Show an image instead of the one before; return the layers of its channels and labels.

        The camera stays where it is for an image of the same size.

        Parameters
        ----------
        ahead : ImageAhead
        labels : sequence of int arrays (rows, columns)
            Its labels, perhaps with reduced levels.
        """
        kind = (len(ahead.contrast), ahead.data.rgb, len(ahead.levels) > 1, len(labels) > 1)
        there = bool(self.all) and all(layer in self._viewer.layers for layer in self.all)
        if not there or kind != self._kind:
            self.remove()
            self._make(ahead, labels)
        self._fill(ahead, labels)
        self._kind = kind
        if ahead.source.shape != self._shape:
            self._viewer.fit_to_view()
        self._shape = ahead.source.shape
        self._viewer.layers.selection.active = self.images[0]
        if self.labels is None:
            raise RuntimeError("the labels were not made")
        return self.images, self.labels

    def _make(self, ahead: ImageAhead, labels: Sequence[np.ndarray]) -> None:
        several, rgb, contrast = len(ahead.levels) > 1, ahead.data.rgb, ahead.contrast
        made = []
        for channel, pixels in enumerate(_channels(ahead)):
            colours = {}
            if len(contrast) > 1:
                colours = {
                    "colormap": _COLOURS[channel % len(_COLOURS)],
                    "blending": "additive",
                }
            limits = {} if rgb else {"contrast_limits": contrast[channel]}
            layer = self._viewer.add_image(
                _drawn(pixels), multiscale=several, rgb=rgb, **limits,
                **colours,
            )  # fmt: skip
            made.append(layer)
        self.images = tuple(made)
        self.labels = self._viewer.add_labels(_drawn(labels), multiscale=len(labels) > 1)

    def _fill(self, ahead: ImageAhead, labels: Sequence[np.ndarray]) -> None:
        data, name = ahead.data, ahead.image.key
        for channel, (layer, pixels) in enumerate(zip(self.images, _channels(ahead), strict=True)):
            layer.data = _drawn(pixels)
            layer.name = name if channel == 0 else f"{name} channel {channel}"
            _place(layer, data)
            if not data.rgb:
                layer.contrast_limits = ahead.contrast[channel]
        layer = self.labels
        if layer is not None:
            layer.editable = False  # which also drops the strokes that napari could undo
            layer.data = _drawn(labels)
            layer.editable = len(labels) == 1
            layer.name = f"{name} objects"
            _place(layer, data)

    def remove(self) -> None:
        """Remove what is shown."""
        gone = self.all
        self.images, self.labels = (), None
        remove_layers(self._viewer, gone)


def _place(layer: Layer, data: ImageData) -> None:
    """Give a layer the pixel size of an image. napari redraws a layer whenever that is set."""
    units = tuple(data.units[data.axes.index(axis)] or "pixel" for axis in "YX")
    if tuple(map(str, layer.units)) != units:
        layer.units = units
    if tuple(layer.scale) != data.pixel_size:
        layer.scale = data.pixel_size


def _channels(ahead: ImageAhead) -> list[list[Any]]:
    """The levels of each channel."""
    axis = ahead.data.channel_axis
    if axis is None:
        return [list(ahead.levels)]
    before = (slice(None),) * axis
    return [
        [level[(*before, channel)] for level in ahead.levels]
        for channel in range(ahead.data.shape[axis])
    ]


def _drawn(levels: Sequence[Any]) -> Any:
    return list(levels) if len(levels) > 1 else levels[0]


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
