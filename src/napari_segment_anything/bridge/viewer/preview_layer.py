"""The layer that shows masks in progress; only the pixels that change are drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import Window
from ...errors import ImageError
from .coordinates import current_index, place_layer
from .images import ImageAxes, labels_placement
from .selection import keeping_selection

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer


WHOLE_PIXELS = 1 << 24
"""A plane of up to this size is covered whole, a larger one only where an object is decoded."""
_COLOURS = (
    (0.0, 0.9, 1.0),
    (1.0, 0.75, 0.1),
    (1.0, 0.4, 0.8),
    (0.6, 1.0, 0.3),
    (0.65, 0.55, 1.0),
    (1.0, 0.55, 0.35),
)
# opacity: a translucent fill, a solid outline
_FILL, _EDGE = 0.35, 1.0


class PreviewLayer:
    """A Labels layer over a plane, or over the window in which an object is decoded.

    It is created when first needed, and again after it was removed from the viewer.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    image : Image
        The layer whose pixels it lies on.
    axes : ImageAxes
        Of that image.
    metadata : dict
        Of the layer.
    whole : int
        Pixels of the largest plane that is covered whole, so that the layer never moves.
    above : callable
        Returns layers that a new layer is put below, since it would tint and hide them.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        axes: ImageAxes,
        metadata: dict[str, Any],
        whole: int = WHOLE_PIXELS,
        above: Callable[[], Sequence[Layer]] = lambda: (),
    ) -> None:
        self._viewer, self._image, self._metadata = viewer, image, metadata
        self._whole, self._above = whole, above
        self.axes = axes
        self.layer: Labels | None = None
        self.window: Window | None = None
        """What the layer covers of its plane."""
        self._plane: tuple[int, ...] = ()
        self._laid = axes  # those of the plane that it covers
        self._colours = 0
        self._brushed = False
        self._filled: Window | None = None  # holds all pixels that were drawn
        self._drawn: np.ndarray | None = None  # those pixels; None if no mask is shown

    @property
    def there(self) -> bool:
        """Whether the layer is in the viewer."""
        return self.layer is not None and self.layer in self._viewer.layers

    def show(
        self, plane: Sequence[int], window: Window, labels: np.ndarray, part: Window | None = None
    ) -> None:
        """Draw masks, with a brighter edge.

        Parameters
        ----------
        plane : sequence of int
        window : Window
            The layer covers no more than that of a large plane.
        labels : bool or int array (height, width)
            0 outside; one number for each object.
        part : Window, optional
            Where the labels lie in the plane, if not in all of `window`; the rest is 0.
        """
        count = int(labels.max(initial=0))
        layer = self._cover(plane, window, count)
        self._drawn = with_edges(labels)
        self._fill(layer, window if part is None else part, self._drawn)

    def hide(self) -> None:
        """Draw no mask."""
        if self.layer is not None and self.there:
            self._fill(self.layer, None)
        self._drawn = None

    def prepare(self, plane: Sequence[int], window: Window) -> None:
        """Create the layer ahead, as napari needs some time for it."""
        if not self.there:
            self._cover(plane, window, 0)

    def painted(self) -> np.ndarray | None:
        """Return the mask that the brush made of it: bool (h, w), or None if untouched."""
        if self.layer is None or self._drawn is None or self.window is None or not self.there:
            return None
        data, filled = np.asarray(self.layer.data), self._filled or self.window
        if data.size != self.window.height * self.window.width:
            return None
        pixels = data.reshape(self.window.shape)
        inside = np.array_equal(pixels[filled.slices_in(self.window)] > 0, self._drawn > 0)
        if inside and np.count_nonzero(pixels) == np.count_nonzero(self._drawn):
            return None
        mask: np.ndarray = pixels > 0
        return mask

    def place(self) -> None:
        """Follow the image when its transform, or the viewer's units, change."""
        if self.layer is not None and self.there:
            place_layer(self.layer, self._placement())

    def forget(self) -> None:
        """Forget the layer, which was removed or is going to be."""
        if self.layer is not None:
            with suppress(ValueError, RuntimeError):
                self.layer.events.paint.disconnect(self._on_paint)
        self.layer = None

    # -- pixels ----------------------------------------------------------------------------------

    def _cover(self, plane: Sequence[int], window: Window, count: int) -> Labels:
        """Return the layer over a window, with colours for a number of objects."""
        rows, cols = self.axes.rows_cols
        if rows * cols <= self._whole:
            window = Window(0, 0, rows, cols)
        if self.layer is None or not self.there:
            return self._add(plane, window, count)
        layer = self.layer
        if count > self._colours:
            self._colours = 2 * count
            layer.colormap = colormap(self._colours)
        shape, dtype = self._shape(window), dtype_for(count)
        same = layer.data.shape == shape and layer.data.dtype == dtype and self.axes == self._laid
        if same and (window, tuple(plane)) == (self.window, self._plane):
            return layer
        if self._brushed:  # its undo history would belong to other pixels
            return self._replace(plane, window, count)
        if same:
            self._fill(layer, None)
        else:
            layer.data, self._filled = np.zeros(shape, dtype), None
        self.window, self._plane, self._laid = window, tuple(plane), self.axes
        self.place()
        return layer

    def _shape(self, window: Window) -> tuple[int, ...]:
        """Return the shape of data that cover a window of one plane."""
        sides = dict(zip(self.axes.displayed, window.shape, strict=True))
        return tuple(sides.get(axis, 1) for axis in range(self._image.ndim))

    def _fill(self, layer: Labels, part: Window | None, values: Any = 0) -> None:
        """Write values into a part of the plane, 0 elsewhere, and draw what changed."""
        window = self.window
        changed = window if self._brushed else self._filled
        if part is not None:
            changed = part if changed is None else changed.union(part)
        self._filled = part
        if changed is None or window is None:
            return
        shown = self._laid.displayed
        pixels = layer.data[tuple(slice(None) if i in shown else 0 for i in range(layer.ndim))]
        rows, cols = changed.slices_in(window)
        pixels[rows, cols] = 0
        if part is not None:
            pixels[part.slices_in(window)] = values
        # the changed pixels alone are drawn, if napari shows the data as they are
        axes, dims = self._laid, self._viewer.dims
        order = tuple(axis - dims.ndim + layer.ndim for axis in dims.displayed)
        as_they_are = not layer.contour and tuple(sorted(order)) == shown
        if as_they_are and axes.planes:  # are the sliders on the layer's plane?
            try:
                index = current_index(self._viewer, layer)
                as_they_are = all(round(index[axis]) == 0 for axis in axes.planes)
            except ImageError:  # the viewer cuts it obliquely
                as_they_are = False
        if not as_they_are:
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        elif order == shown:
            layer.events.labels_update(data=pixels[rows, cols], offset=[rows.start, cols.start])
        else:
            layer.events.labels_update(data=pixels[rows, cols].T, offset=[cols.start, rows.start])

    # -- the layer -------------------------------------------------------------------------------

    def _add(self, plane: Sequence[int], window: Window, count: int) -> Labels:
        self.forget()
        self.window, self._plane, self._laid = window, tuple(plane), self.axes
        self._brushed, self._filled = False, None
        self._colours = max(count, 8)
        with keeping_selection(self._viewer):
            layer = self._viewer.add_labels(
                np.zeros(self._shape(window), dtype_for(count)),
                name="preview",
                metadata=self._metadata,
                opacity=1.0,
                colormap=colormap(self._colours),
                **self._placement(),
            )
        layers = self._viewer.layers
        lowest = min(map(layers.index, self._above()), default=len(layers))
        if layers.index(layer) > lowest:
            layers.move(layers.index(layer), lowest)
        layer.selected_label = 1
        layer.events.paint.connect(self._on_paint)
        self.layer = layer
        return layer

    def _replace(self, plane: Sequence[int], window: Window, count: int) -> Labels:
        """Return a new layer in the place of the present one."""
        old, layers = self.layer, self._viewer.layers
        index, active = layers.index(old), layers.selection.active
        kept = {name: getattr(old, name) for name in ("name", "visible", "opacity", "mode")}
        layers.remove(old)
        new = self._add(plane, window, count)
        layers.move(layers.index(new), index)
        for name, value in kept.items():
            setattr(new, name, value)
        if active is old:
            layers.selection.active = new
        return new

    def _placement(self) -> dict[str, Any]:
        units = self._viewer.dims.units
        return labels_placement(self._image, self._laid, self._plane, self.window, units)

    def _on_paint(self, event: Any) -> None:
        self._brushed = True


def dtype_for(count: int) -> np.dtype[Any]:
    """Return the type of what `with_edges` gives, for a number of objects."""
    return np.dtype(np.uint8 if count < 120 else np.uint16)


def with_edges(labels: np.ndarray) -> np.ndarray:
    """Return 2k - 1 inside object k and 2k on its outline."""
    dtype = dtype_for(int(labels.max(initial=0)))
    values = labels.astype(dtype)
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    inside = labels != 0
    return np.where(inside, 2 * values - 1 + (edge & inside), 0).astype(dtype)


def colormap(count: int) -> Any:
    """Return napari's colormap for what `with_edges` gives, for a number of objects."""
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number in range(count):
        colour = _COLOURS[number % len(_COLOURS)]
        colours[2 * number + 1] = (*colour, _FILL)
        colours[2 * number + 2] = (*colour, _EDGE)
    return DirectLabelColormap(color_dict=colours)
