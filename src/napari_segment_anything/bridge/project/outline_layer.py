"""A layer of outlines: what is suggested, or asked about, and no label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from ...engine import PlacedMask, Window
from ...projects.suggestions import Suggestions
from ...session.series_actions import line_pixels
from ..viewer.layer_list import keeping_selection, remove_layers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

_SIDE_PER_PIXEL = 700
Outline = tuple[NDArray[np.intp], NDArray[np.intp]]


class OutlineLayer:
    """Draws outlines in a few colours. The layer is made when it is first needed.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    name : str
    colours : mapping of str to colour
        What can be drawn, and in which colour.
    """

    def __init__(self, viewer: ViewerModel, name: str, colours: Mapping[str, str]) -> None:
        self._viewer, self._name, self._colours = viewer, name, dict(colours)
        self._values = {kind: value for value, kind in enumerate(self._colours, start=1)}
        self.layer: Labels | None = None

    def show(
        self, image: Image, shape: tuple[int, int], drawn: Iterable[tuple[str, Outline]]
    ) -> None:
        """Draw outlines instead of those before.

        Parameters
        ----------
        image : Image
            Its placement is used.
        shape : (int, int)
            Rows and columns of the plane.
        drawn : iterable of (str, Outline)
            What each is, a key of `colours`.
        """
        lines = list(drawn)
        if not lines and self.layer is None:
            return
        layer = self._ensure(image, shape)
        layer.data[...] = 0
        for kind, outline in lines:
            layer.data[outline] = self._values[kind]
        layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _ensure(self, image: Image, shape: tuple[int, int]) -> Labels:
        from napari.utils.colormaps import DirectLabelColormap

        layer = self.layer
        if layer is None or layer not in self._viewer.layers:
            colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
            colours.update((self._values[kind], colour) for kind, colour in self._colours.items())
            with keeping_selection(self._viewer):
                layer = self._viewer.add_labels(
                    np.zeros(shape, np.uint8),
                    name=self._name,
                    colormap=DirectLabelColormap(color_dict=colours),
                    opacity=1.0,
                    scale=image.scale,
                    units=image.units,
                )
                layer.editable = False
            self.layer = layer
        elif layer.data.shape != shape:
            layer.data = np.zeros(shape, np.uint8)
        if tuple(layer.scale) != tuple(image.scale):
            layer.scale = image.scale
        if layer.units != image.units:
            layer.units = image.units
        return layer

    def remove(self) -> None:
        """Remove the layer."""
        layer, self.layer = self.layer, None
        remove_layers(self._viewer, [layer])


def outline_of(mask: PlacedMask, shape: tuple[int, int]) -> Outline:
    """Return the pixels of a mask's outline: rows and columns of the plane.

    Lines are wider on larger planes, so that they are seen when the whole is shown.

    Parameters
    ----------
    mask : PlacedMask
    shape : (int, int)
        Rows and columns of the plane.
    """
    width = max(1, round(max(shape) / _SIDE_PER_PIXEL))
    inside = mask.mask
    rows, cols = np.nonzero(inside & ~binary_erosion(inside, iterations=width))
    return rows + mask.window.row, cols + mask.window.col


@lru_cache(maxsize=256)
def outline_along(corners: tuple[tuple[float, float], ...], shape: tuple[int, int]) -> Outline:
    """Return the pixels of a polygon's outline that lie in a plane.

    Parameters
    ----------
    corners : tuple of (row, column)
    shape : (int, int)
        Rows and columns of the plane.
    """
    places = np.clip(np.asarray(corners, np.float64), 0, np.array(shape) - 1)
    drawn = line_pixels(np.concatenate([places, places[:1]]), Window.full(shape))
    rows, cols = np.nonzero(drawn)
    return rows, cols


def outlines_of(suggestions: Suggestions) -> dict[int, Outline]:
    """Return the outline of each open suggestion."""
    return {
        item.id: outline_of(item.placed, suggestions.shape)
        for item in suggestions
        if item.status == "open"
    }
