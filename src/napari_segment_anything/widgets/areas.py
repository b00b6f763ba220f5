"""Everything mode on part of a viewer's image, and its result as a Labels layer; no Qt."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..automatic import CandidateTable, generate_candidates
from ..bridge.binding import check_images
from ..bridge.coordinates import placement
from ..bridge.images import ImageAxes, axes_of, plane_of, source_of
from ..bridge.sources import prompts_of
from ..bridge.targets import LayerTarget, check_alignment
from ..engine import Predictor, Window
from ..errors import ImageError, ParameterError
from ..progress import Progress
from ..session import PlaneSource

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


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a run found.

    Parameters
    ----------
    area : Area
        Its window is that of the candidates.
    table : CandidateTable
    existing : int array (height, width) or None
        Labels that were there before, and stay.
    largest : int
        The largest of all the target's labels, elsewhere too.
    seconds : float
    """

    area: Area
    table: CandidateTable
    existing: np.ndarray | None
    largest: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What was found, as labels.

    Parameters
    ----------
    found : Found
    labels : int array (height, width)
        Of the area's window, with the labels that were there before.
    features : dict of str to array
        A row for each label that is seen; "index" is the label.
    dropped : dict of str to int
        Candidates that each filter dropped, by the filter's name.
    """

    found: Found
    labels: np.ndarray
    features: dict[str, np.ndarray]
    dropped: dict[str, int]

    @property
    def area(self) -> Area:
        """What was segmented."""
        return self.found.area

    @property
    def table(self) -> CandidateTable:
        """The candidates."""
        return self.found.table

    @property
    def objects(self) -> int:
        """How many labels are seen."""
        return len(self.features["index"])


# The filter that is to blame for each reason; what no filter decides stands under its own name.
_BLAME = {
    "pred_iou": "pred_iou_thresh",
    "stability": "stability_score_thresh",
    "nms": "box_nms_thresh",
    "cleaned_nms": "box_nms_thresh",
    "crop_nms": "crop_nms_thresh",
    "crop_layer": "crop_choice",
    "too_small": "min_area",
    "too_large": "max_area",
}


def dropped_by(table: CandidateTable) -> dict[str, int]:
    """Count the candidates that each filter dropped, by the filter's name."""
    counts: dict[str, int] = {}
    for reason, count in table.counts().items():
        if reason != "kept":
            name = _BLAME.get(reason, reason)
            counts[name] = counts.get(name, 0) + count
    return counts


def draw(found: Found, policy: str) -> Drawn:
    """Paint candidates into labels, and measure them.

    Raises
    ------
    ParameterError
        If the target's type has not that many labels.
    """
    table, existing, window = found.table, found.existing, found.area.window
    labels = table.to_labels(policy, existing=existing).astype(np.int64)
    features = table.features(policy, existing=existing)
    features = {"index": features.pop("label").astype(np.int64), **features}
    shift = 0 if existing is None else found.largest - int(existing.max(initial=0))
    if shift and existing is not None:
        labels[labels > existing.max(initial=0)] += shift
        features["index"] = features["index"] + shift
        parent = features["parent"]
        features["parent"] = np.where(parent > 0, parent + shift, 0)
    target = found.area.target
    if target is not None and labels.max(initial=0) > np.iinfo(target.dtype).max:
        raise ParameterError(
            f"labels of type {target.dtype} end at {np.iinfo(target.dtype).max}; choose a new layer"
        )
    for name, first in (("row", window.row), ("col", window.col)):
        for column in (f"{name}_min", f"{name}_max", f"point_{name}"):
            features[column] = features[column] + first
    return Drawn(found, labels, features, dropped_by(table))


def run(
    area: Area, predictor: Predictor, mode: str, parameters: Mapping[str, Any], policy: str
) -> Generator[Progress, None, Drawn]:
    """Find every object of an area; on any thread.

    Parameters and errors are those of `generate_candidates`.
    """
    began = time.perf_counter()
    table = yield from generate_candidates(
        area.source.image(area.plane),
        predictor.model,
        mode=mode,
        predictor=predictor,
        window=area.window,
        **area.source.embed_arguments(area.plane),
        **parameters,
    )
    yield Progress(1, 1, message="drawing")
    # At a pyramid's reduced level whole pixels are read: candidates may reach a little beyond.
    area = replace(area, window=Window(*table.origin, *table.shape))
    existing, largest = None, 0
    if area.target is not None:
        existing = np.asarray(area.target.read(area.plane, area.window))
        largest = area.target.largest()
    return draw(Found(area, table, existing, largest, time.perf_counter() - began), policy)


def refilter(
    found: Found,
    thresholds: Mapping[str, Any],
    policy: str,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, Drawn | None]:
    """Filter the candidates of a run again, without the model; on any thread."""
    yield Progress(0, 1, message="filtering")
    given = {name: value for name, value in thresholds.items() if name in found.table.parameters}
    table = found.table.refilter(**given)
    if cancelled():
        return None
    yield Progress(0, 1, message="drawing")
    return draw(replace(found, table=table), policy)


@dataclass(slots=True)
class ResultLayer:
    """The Labels layer that shows a run's result, and is changed with its filters.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Labels, optional
        The one written to.
    """

    viewer: ViewerModel
    layer: Labels | None = None
    _last: Drawn | None = field(default=None, repr=False)
    _features: Any = field(default=None, repr=False)

    def begin(self, target: Labels | None) -> None:
        """The next result is that of another run, and goes to a target or a layer of its own."""
        self._last = None
        self.layer = target
        self._features = None if target is None else target.features.copy()

    def show(self, drawn: Drawn) -> Labels:
        """Show a result: in place, if the layer shows an earlier one of the same run.

        What was painted by hand since stays.

        Raises
        ------
        ParameterError
            If the target was removed, or cannot be written to.
        """
        area, layer = drawn.area, self.layer
        if layer is not None and layer not in self.viewer.layers:
            if area.target is not None:
                raise ParameterError("the labels were removed from the viewer; run again")
            layer = None
        if layer is None:
            layer = self._add(drawn)
        else:
            self._write(layer, drawn)
        layer.features = self._table(drawn)
        self.layer, self._last = layer, drawn
        return layer

    def _write(self, layer: Labels, drawn: Drawn) -> None:
        area, labels = drawn.area, drawn.labels.astype(layer.dtype)
        if area.target is None:
            pixels = layer.data.reshape(labels.shape)
        else:
            pixels = np.array(area.target.read(area.plane, area.window))
        if self._last is not None:
            by_hand = pixels != self._last.labels
            labels[by_hand] = pixels[by_hand]
        if area.target is not None:
            area.target.write(area.plane, area.window, labels)
            return
        layer.data[...] = labels.reshape(layer.data.shape)
        layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _add(self, drawn: Drawn) -> Labels:
        area, image = drawn.area, drawn.area.layers[0]
        shape = [1] * image.ndim
        for axis, size in zip(area.axes.displayed, area.window.shape, strict=True):
            shape[axis] = size
        origin = dict(zip(area.axes.planes, map(float, area.plane), strict=True))
        origin[area.axes.displayed[0]] = float(area.window.row)
        origin[area.axes.displayed[1]] = float(area.window.col)
        channel = area.axes.channel
        thick = {} if channel is None else {channel: area.axes.shape[channel]}
        return self.viewer.add_labels(
            drawn.labels.reshape(shape).astype(np.uint32),
            name=f"{image.name} everything",
            metadata={"mode": drawn.table.mode, "parameters": dict(drawn.table.parameters)},
            **placement(image, origin=origin, thick=thick),
        )

    def _table(self, drawn: Drawn) -> Any:
        import pandas as pd

        table = pd.DataFrame(drawn.features)
        before = self._features
        if before is None or before.empty or "index" not in before:
            return table
        kept = before[~before["index"].isin(table["index"])]
        return pd.concat([kept, table], ignore_index=True)

    def discard(self) -> None:
        """Take the result back: remove its layer, or restore the labels as they were."""
        layer, last = self.layer, self._last
        self.layer = self._last = None
        if layer is None or last is None or layer not in self.viewer.layers:
            return
        target, before = last.area.target, last.found.existing
        if target is None or before is None:
            self.viewer.layers.remove(layer)
            return
        target.write(last.area.plane, last.area.window, before.astype(layer.dtype))
        layer.features = self._features
