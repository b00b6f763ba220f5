"""The layers of the object in progress: its points, its boxes and lines, its masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from ...engine import Window
from ...errors import ImageError
from .coordinates import current_index, place_layer
from .images import ImageAxes, labels_placement
from .layer_list import keeping_selection, remove_layers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer, Points, Shapes

    from ...session import Draft

POSITIVE, NEGATIVE = (0.2, 1.0, 0.3, 1.0), (1.0, 0.2, 0.2, 1.0)
_MARK = "napari-segment-anything"

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


class WorkingLayers:
    """Points, Shapes and Labels layers that show the object in progress.

    They are created when first needed, and again after they were deleted. They are known by
    identity, so that they can be renamed. They have the image's transform, in the viewer's units.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    image : Image
        The layer whose pixels they lie on.
    axes : ImageAxes
        Of that image.
    whole : int
        As for `PreviewLayer`.
    """

    points_edited = Signal(object)
    """The Points layer was edited by hand: emits the layer."""
    shapes_edited = Signal(object)
    """The Shapes layer was edited by hand: emits the layer."""

    def __init__(
        self, viewer: ViewerModel, image: Image, axes: ImageAxes, whole: int = WHOLE_PIXELS
    ) -> None:
        self.viewer = viewer
        self.image = image
        self.prompts: Points | None = None
        self.boxes: Shapes | None = None
        self.masks = PreviewLayer(
            viewer,
            image,
            axes,
            {_MARK: "preview"},
            whole,
            lambda: self._present(self.boxes, self.prompts),
        )
        """The layer of the masks."""
        self._listens: list[tuple[Any, Callable[..., Any]]] = []
        for name in ("scale", "translate", "rotate", "shear", "affine", "units"):
            self._listen(getattr(image.events, name), self._place)
        self._listen(viewer.dims.events.units, self._place)
        self._drawn: list[tuple[np.ndarray, str, Any]] = []
        self._listen(viewer.dims.events.ndisplay, self._redraw, "last")

    def _listen(self, emitter: Any, function: Callable[..., Any], position: str = "first") -> None:
        emitter.connect(function, position=position)
        self._listens.append((emitter, function))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Those that are in the viewer now."""
        return tuple(self._present(self.masks.layer, self.boxes, self.prompts))

    def _present(self, *layers: Layer | None) -> list[Layer]:
        return [layer for layer in layers if layer is not None and layer in self.viewer.layers]

    # -- prompts ---------------------------------------------------------------------------------

    def show(self, draft: Draft | None, stroke: np.ndarray | None = None) -> None:
        """Draw a draft's prompts; a layer with nothing to draw is not created.

        Parameters
        ----------
        draft : Draft or None
        stroke : float array (k, ndim), optional
            A line that is being drawn, in the image layer's coordinates.
        """
        axes = self.masks.axes
        drawn: list[tuple[np.ndarray, str, Any]] = []
        points, wanted = np.zeros((0, len(axes.shape))), np.zeros(0, bool)
        if draft is not None:
            plane = draft.plane
            if draft.points:
                points = axes.position(plane, [point.position for point in draft.points])
                wanted = np.array([point.positive for point in draft.points], bool)
            for _, box in draft.boxes:
                drawn.append((axes.position(plane, corners(box)), "rectangle", POSITIVE))
            for _, each in draft.scribbles:
                colour = POSITIVE if each.positive else NEGATIVE
                drawn.append((axes.position(plane, _dashed(each.line)), "path", colour))
        if stroke is not None:
            drawn.append((stroke, "path", POSITIVE))
        with self.points_edited.blocked(), self.shapes_edited.blocked():
            if len(points) or self._present(self.prompts):
                self._show_points(points, wanted)
            if drawn or self._present(self.boxes):
                self._show_shapes(drawn)

    def _show_points(self, data: np.ndarray, wanted: np.ndarray) -> None:
        layer = self.ensure_prompts()
        if np.array_equal(layer.data, data) and np.array_equal(positives(layer), wanted):
            return
        if layer.selected_data:
            layer.selected_data = set()
        # With its events, napari draws the layer three times, works out the ranges of all layers
        # twice, and paints the list of layers. While it is visible, its slice and its thumbnail
        # are made again for every property that gets longer with its data.
        was_visible = layer.visible
        with layer.events.blocker_all():
            if was_visible:
                layer.visible = False
            layer.data = data
            if was_visible:
                layer.visible = True
        layer.refresh(thumbnail=False, highlight=False, extent=False)
        layer.events.features()
        if not np.array_equal(positives(layer), wanted):
            layer.features = _labels(wanted)
            layer.feature_defaults = {"label": "positive"}
        colours = np.where(wanted[:, None], POSITIVE, NEGATIVE)
        if not np.allclose(layer.face_color, colours):
            layer.face_color = colours

    def _redraw(self, event: Any = None) -> None:
        """Draw what was left out in a 3-D view."""
        if self._drawn or self._present(self.boxes):
            with self.shapes_edited.blocked():
                self._show_shapes(self._drawn)

    def _show_shapes(self, drawn: list[tuple[np.ndarray, str, Any]]) -> None:
        self._drawn = drawn
        if self.viewer.dims.ndisplay != 2:  # napari confuses vertices of planes and of volumes
            return
        layer = self.ensure_boxes()
        now = list(zip(layer.data, layer.shape_type, strict=True))
        if len(now) == len(drawn) and all(
            kind == other and a.shape == b.shape and np.allclose(a, b)
            for (a, kind), (b, other, _) in zip(now, drawn, strict=True)
        ):
            return
        layer.selected_data = set()
        layer.data = []
        if drawn:
            layer.add(
                [data for data, _, _ in drawn],
                shape_type=[kind for _, kind, _ in drawn],
                edge_color=np.array([colour for _, _, colour in drawn]),
                face_color=np.zeros((len(drawn), 4)),
                edge_width=self._width(),
            )
        layer.selected_data = set()

    def _width(self) -> float:
        """Return a line width in pixels of the image that looks thin at any image size."""
        return max(1.0, max(self.masks.axes.rows_cols) / 400)

    def ensure_prompts(self) -> Points:
        """Return the Points layer, created if necessary."""
        if self.prompts is None or not self._present(self.prompts):
            self._forget(self.prompts)
            with self._adding():
                layer = self.viewer.add_points(
                    np.zeros((0, self.image.ndim)),
                    ndim=self.image.ndim,
                    features=_labels(np.zeros(0, bool)),
                    feature_defaults={"label": "positive"},
                    face_color=np.array([POSITIVE]),
                    border_color="white",
                    border_width=0.15,
                    size=max(4.0, min(12.0, max(self.masks.axes.rows_cols) / 60)),
                    name="prompts",
                    metadata={_MARK: "prompts"},
                    **self._keywords(),
                )
            layer.events.data.connect(self._on_points)
            layer.events.features.connect(self._on_points)
            self.prompts = layer
        return self.prompts

    def ensure_boxes(self) -> Shapes:
        """Return the Shapes layer, created if necessary."""
        if self.boxes is None or not self._present(self.boxes):
            self._forget(self.boxes)
            with self._adding():
                layer = self.viewer.add_shapes(
                    ndim=self.image.ndim,
                    edge_color=[POSITIVE],
                    face_color=[(0.0, 0.0, 0.0, 0.0)],
                    name="boxes",
                    metadata={_MARK: "boxes"},
                    **self._keywords(),
                )
            layer.events.data.connect(self._on_shapes)
            self.boxes = layer
        return self.boxes

    def _on_points(self, event: Any) -> None:
        action = str(getattr(getattr(event, "action", None), "value", "changed"))
        whole = self.prompts is not None and len(self.prompts.features) == len(self.prompts.data)
        if whole and action in ("added", "removed", "changed"):
            self.points_edited.emit(self.prompts)

    def _on_shapes(self, event: Any) -> None:
        action = str(getattr(event.action, "value", event.action))
        if action in ("added", "removed", "changed"):
            self.shapes_edited.emit(self.boxes)

    # -- masks -----------------------------------------------------------------------------------

    def prepare(self, plane: Sequence[int], window: Window) -> None:
        """Create the layers of points and masks ahead, as napari needs some time for each."""
        self.ensure_prompts()
        self.masks.prepare(plane, window)

    def removed(self, layer: Layer) -> None:
        """Forget one of the layers that was removed from the viewer."""
        if layer is self.masks.layer:
            self.masks.forget()
        for name in ("prompts", "boxes"):
            if getattr(self, name) is layer:
                self._forget(layer)
                setattr(self, name, None)

    def clear(self) -> None:
        """Draw nothing."""
        self.masks.hide()
        self.show(None)

    # -- placing, removing -----------------------------------------------------------------------

    def _keywords(self) -> dict[str, Any]:
        return labels_placement(self.image, self.masks.axes, world_units=self.viewer.dims.units)

    def _place(self, event: Any = None) -> None:
        """Follow the image when its transform, or the viewer's units, change."""
        for layer in self._present(self.boxes, self.prompts):
            place_layer(layer, self._keywords())
        self.masks.place()

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """Add a layer without emitting signals or changing the selection."""
        with (
            self.points_edited.blocked(),
            self.shapes_edited.blocked(),
            keeping_selection(self.viewer),
        ):
            yield

    def _forget(self, layer: Layer | None) -> None:
        if layer is None:
            return
        for name, function in (
            ("data", self._on_points),
            ("features", self._on_points),
            ("data", self._on_shapes),
        ):
            emitter = getattr(layer.events, name, None)
            if emitter is not None:
                with suppress(ValueError, RuntimeError):
                    emitter.disconnect(function)

    def close(self) -> None:
        """Remove the layers and disconnect from all of them."""
        for emitter, function in self._listens:
            emitter.disconnect(function)
        self._listens.clear()
        for layer in (self.boxes, self.prompts):
            self._forget(layer)
        remove_layers(self.viewer, self.layers)
        self.masks.forget()
        self.prompts = self.boxes = None


def _dashed(line: Sequence[Sequence[float]]) -> np.ndarray:
    """Return a line (k, 2); one that is a single point as a dash, as napari draws no points."""
    found = np.array(line, np.float64)
    return found if (found != found[0]).any() else found[0] + [[0.0, -0.5], [0.0, 0.5]]


def positives(layer: Points | Shapes) -> np.ndarray:
    """Return which points or shapes of a layer lie inside the object: bool (n,).

    A feature "label" says "positive" or "negative" (or 1 and 0, or True and False); without it,
    all do.
    """
    features = layer.features
    if "label" not in features:
        return np.ones(len(layer.data), bool)
    negative = {"negative", "neg", "background", "outside", "-", "0", "0.0", "false"}
    return np.array([str(value).strip().lower() not in negative for value in features["label"]])


def _labels(positive: Any) -> Any:
    import pandas as pd

    words = ["positive" if value else "negative" for value in np.asarray(positive, bool)]
    return pd.DataFrame({"label": pd.Series(words, dtype=object)})


def corners(box: Sequence[float]) -> np.ndarray:
    """Return the corners (4, 2) of a (row_min, col_min, row_max, col_max) box, in turn."""
    top, left, bottom, right = box
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], np.float64)


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

    def _there(self) -> Labels | None:
        """Return the layer, if it is in the viewer."""
        return self.layer if self.layer in self._viewer.layers else None

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
        drawn = with_edges(labels, count)
        layer = self._cover(plane, window, count, drawn.dtype)
        self._drawn = drawn
        self._fill(layer, part or window, drawn)

    def hide(self) -> None:
        """Draw no mask."""
        layer = self._there()
        if layer is not None:
            self._fill(layer, None)
        self._drawn = None

    def prepare(self, plane: Sequence[int], window: Window) -> None:
        """Create the layer ahead, as napari needs some time for it."""
        if self._there() is None:
            self._cover(plane, window, 0, np.dtype(np.uint8))

    def painted(self) -> np.ndarray | None:
        """Return the mask that the brush made of it: bool (h, w), or None if untouched."""
        layer = self._there()
        if layer is None or self._drawn is None or self.window is None:
            return None
        data, filled = np.asarray(layer.data), self._filled or self.window
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
        layer = self._there()
        if layer is not None:
            place_layer(layer, self._placement())

    def forget(self) -> None:
        """Forget the layer, which was removed or is going to be."""
        if self.layer is not None:
            with suppress(ValueError, RuntimeError):
                self.layer.events.paint.disconnect(self._on_paint)
        self.layer = None

    # -- pixels ----------------------------------------------------------------------------------

    def _cover(
        self, plane: Sequence[int], window: Window, count: int, dtype: np.dtype[Any]
    ) -> Labels:
        """Return the layer over a window, with colours for a number of objects."""
        rows, cols = self.axes.rows_cols
        if rows * cols <= self._whole:
            window = Window(0, 0, rows, cols)
        layer = self._there()
        if layer is None:
            return self._add(plane, window, count, dtype)
        if count > self._colours:
            self._colours = 2 * count
            layer.colormap = colormap(self._colours)
        shape = self._shape(window)
        same = layer.data.shape == shape and layer.data.dtype == dtype and self.axes == self._laid
        if same and (window, tuple(plane)) == (self.window, self._plane):
            return layer
        if self._brushed:  # its undo history would belong to other pixels
            return self._replace(layer, plane, window, count, dtype)
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
        as_they_are = dims.ndisplay == 2 and not layer.contour and tuple(sorted(order)) == shown
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

    def _add(
        self, plane: Sequence[int], window: Window, count: int, dtype: np.dtype[Any]
    ) -> Labels:
        self.forget()
        self.window, self._plane, self._laid = window, tuple(plane), self.axes
        self._brushed, self._filled = False, None
        self._colours = max(count, 8)
        with keeping_selection(self._viewer):
            layer = self._viewer.add_labels(
                np.zeros(self._shape(window), dtype),
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

    def _replace(
        self, old: Labels, plane: Sequence[int], window: Window, count: int, dtype: np.dtype[Any]
    ) -> Labels:
        """Return a new layer in the place of the present one."""
        layers = self._viewer.layers
        index, active = layers.index(old), layers.selection.active
        kept = {name: getattr(old, name) for name in ("name", "visible", "opacity", "mode")}
        remove_layers(self._viewer, [old])
        new = self._add(plane, window, count, dtype)
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


def with_edges(labels: np.ndarray, count: int) -> np.ndarray:
    """Return 2k - 1 inside object k and 2k on its outline, for a number of objects."""
    values = labels.astype(np.uint8 if count < 120 else np.uint16)
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    inside = labels != 0
    return np.where(inside, 2 * values - 1 + (edge & inside), 0).astype(values.dtype)


def colormap(count: int) -> Any:
    """Return napari's colormap for what `with_edges` gives, for a number of objects."""
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for number in range(count):
        colour = _COLOURS[number % len(_COLOURS)]
        colours[2 * number + 1] = (*colour, _FILL)
        colours[2 * number + 2] = (*colour, _EDGE)
    return DirectLabelColormap(color_dict=colours)
