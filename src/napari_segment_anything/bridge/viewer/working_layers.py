"""The layers of the object in progress: its points, its boxes and lines, its preview."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from ...engine import Window
from .coordinates import place_layer
from .images import ImageAxes, labels_placement
from .preview_layer import WHOLE_PIXELS, PreviewLayer
from .selection import keeping_selection
from .sources import positives

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Points, Shapes

    from ...session import Draft

POSITIVE, NEGATIVE = (0.2, 1.0, 0.3, 1.0), (1.0, 0.2, 0.2, 1.0)
_MARK = "napari-segment-anything"


@dataclass(frozen=True, slots=True)
class DrawnPrompts:
    """Prompts as they are drawn, in the image layer's coordinates.

    Parameters
    ----------
    points : float array (n, ndim)
    positive : bool array (n,)
    boxes : sequence of float arrays (4, ndim)
        Corners.
    lines : sequence of (float array (k, ndim), bool)
        Scribbles, and whether each is inside the object.
    """

    points: np.ndarray
    positive: np.ndarray
    boxes: Sequence[np.ndarray] = ()
    lines: Sequence[tuple[np.ndarray, bool]] = ()

    @classmethod
    def of(cls, draft: Draft | None, axes: ImageAxes) -> DrawnPrompts:
        """Return how a draft is drawn; nothing without one."""
        if draft is None:
            return cls(np.zeros((0, len(axes.shape))), np.zeros(0, bool))
        positions = np.array([point.position for point in draft.points], np.float64).reshape(-1, 2)
        return cls(
            axes.position(draft.plane, positions),
            np.array([point.positive for point in draft.points], bool),
            [axes.position(draft.plane, corners(box)) for _, box in draft.boxes],
            [(axes.position(draft.plane, each.line), each.positive) for _, each in draft.scribbles],
        )


def corners(box: Sequence[float]) -> np.ndarray:
    """Return the corners (4, 2) of a (row_min, col_min, row_max, col_max) box, in turn."""
    top, left, bottom, right = box
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], np.float64)


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

    def _listen(self, emitter: Any, function: Callable[..., Any]) -> None:
        emitter.connect(function)
        self._listens.append((emitter, function))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Those that are in the viewer now."""
        return tuple(self._present(self.masks.layer, self.boxes, self.prompts))

    def _present(self, *layers: Layer | None) -> list[Layer]:
        return [layer for layer in layers if layer is not None and layer in self.viewer.layers]

    # -- prompts ---------------------------------------------------------------------------------

    def show(self, shown: DrawnPrompts) -> None:
        """Draw prompts; a layer with nothing to draw is not created."""
        with self.points_edited.blocked(), self.shapes_edited.blocked():
            if len(shown.points) or self._present(self.prompts):
                self._show_points(shown)
            if shown.boxes or shown.lines or self._present(self.boxes):
                self._show_shapes(shown)

    def _show_points(self, shown: DrawnPrompts) -> None:
        layer = self.ensure_prompts()
        data = np.asarray(shown.points, np.float64).reshape(-1, self.image.ndim)
        wanted = np.asarray(shown.positive, bool)
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

    def _show_shapes(self, shown: DrawnPrompts) -> None:
        layer = self.ensure_boxes()
        drawn: list[tuple[np.ndarray, str]] = [(box, "rectangle") for box in shown.boxes]
        drawn += [(line, "path") for line, _ in shown.lines]
        now = list(zip(layer.data, layer.shape_type, strict=True))
        if len(now) == len(drawn) and all(
            kind == other and a.shape == b.shape and np.allclose(a, b)
            for (a, kind), (b, other) in zip(now, drawn, strict=True)
        ):
            return
        layer.selected_data = set()
        layer.data = []
        if drawn:
            colours = [POSITIVE] * len(shown.boxes)
            colours += [POSITIVE if positive else NEGATIVE for _, positive in shown.lines]
            layer.add(
                [data for data, _ in drawn],
                shape_type=[kind for _, kind in drawn],
                edge_color=np.array(colours),
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
        self.show(DrawnPrompts.of(None, self.masks.axes))

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
        for layer in self.layers:
            self.viewer.layers.remove(layer)
        self.masks.forget()
        self.prompts = self.boxes = None


def _labels(positive: Any) -> Any:
    import pandas as pd

    words = ["positive" if value else "negative" for value in np.asarray(positive, bool)]
    return pd.DataFrame({"label": pd.Series(words, dtype=object)})
