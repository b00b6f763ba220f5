"""The layers of a project's image in a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..viewer.targets import PAINTABLE_SIDE
from .opening import OpenedImage

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

_COLOURS = ("green", "magenta", "cyan", "yellow", "red", "blue", "gray")
_SMALLEST = 1024


class ProjectLayers:
    """Shows one image of a project at a time: its channels, and its labels.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.images: tuple[Image, ...] = ()
        self.labels: Labels | None = None
        self._shape: tuple[int, int] | None = None

    @property
    def all(self) -> tuple[Layer, ...]:
        """The layers, those that were removed from the viewer by hand included."""
        return (*self.images, *(() if self.labels is None else (self.labels,)))

    def replace(self, opened: OpenedImage) -> tuple[Layer, ...]:
        """Show another image; return the layers of the one before, which are still to be removed.

        The camera stays where it is for an image of the same size.
        """
        gone, before = self.all, self._shape
        data, name = opened.ahead.data, opened.image.key
        scale = {"scale": data.pixel_size, "units": _units(data)}
        levels = list(data.levels) if len(data.levels) > 1 else [data.array]
        if data.channel_axis is None:
            first = {} if data.rgb else {"contrast_limits": opened.ahead.contrast[0]}
            self.images = (self._add(levels, name, rgb=data.rgb, **first, **scale),)
        else:
            axis = data.channel_axis
            count = data.shape[axis]
            self.images = tuple(
                self._add(
                    [np.take(level, channel, axis) for level in levels],
                    name if channel == 0 else f"{name} channel {channel}",
                    contrast_limits=limits,
                    colormap=_COLOURS[channel % len(_COLOURS)] if count > 1 else "gray",
                    blending="additive",
                    **scale,
                )
                for channel, limits in enumerate(opened.ahead.contrast)
            )
        pyramid = [opened.labels]
        while max(opened.labels.shape) > PAINTABLE_SIDE and max(pyramid[-1].shape) > _SMALLEST:
            pyramid.append(pyramid[-1][::2, ::2].copy())
        several = len(pyramid) > 1
        self.labels = self._viewer.add_labels(
            pyramid if several else pyramid[0], multiscale=several, name=f"{name} objects", **scale
        )
        self.labels.editable = not several
        self._viewer.layers.selection.active = self.images[0]
        self._shape = opened.ahead.source.shape
        if before != self._shape:
            self._viewer.fit_to_view()
        return gone

    def _add(self, levels: list[Any], name: str, **options: Any) -> Image:
        several = len(levels) > 1
        return self._viewer.add_image(
            levels if several else levels[0], multiscale=several, name=name, **options
        )

    def remove(self) -> None:
        """Remove what is shown."""
        gone = self.all
        self.images, self.labels = (), None
        for layer in gone:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)


def _units(data: Any) -> tuple[str, ...]:
    """The unit of rows and of columns, as napari takes them."""
    found = (data.units[data.axes.index(axis)] for axis in "YX")
    return tuple(unit or "pixel" for unit in found)
