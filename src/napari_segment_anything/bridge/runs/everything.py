"""Everything mode on part of a plane: labels that follow the filters, and their layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...automatic import CandidateTable, generate_candidates
from ...engine import Predictor, Window
from ...errors import ParameterError
from ...progress import Progress
from ..viewer.images import labels_placement
from ..viewer.layer_list import keeping_selection, remove_layers
from .areas import Area

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

LIVE_SECONDS = 1.5
"""Seconds between intermediate results of a long run."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundObjects:
    """The candidates of a run.

    Parameters
    ----------
    area : Area
        Its window is that of the candidates.
    table : CandidateTable
    existing : int array (height, width) or None
        Labels that were there before the run; they are kept.
    largest : int
        The largest label of the whole target.
    seconds : float
    """

    area: Area
    table: CandidateTable
    existing: np.ndarray | None
    largest: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class DrawnObjects:
    """The objects of a run, as labels.

    Parameters
    ----------
    found : FoundObjects
    labels : int array (height, width)
        Of the area's window, with the labels that were there before.
    features : dict of str to array
        A row for each visible label; "index" is the label.
    dropped : dict of str to int
        Candidates that each filter dropped, by the filter's name.
    """

    found: FoundObjects
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
        """Number of visible labels."""
        return len(self.features["index"])


# The filter behind each reason; a reason that no filter decides keeps its own name.
_BLAME = {
    "pred_iou": "pred_iou_thresh",
    "stability": "stability_score_thresh",
    "nms": "box_nms_thresh",
    "cleaned_nms": "box_nms_thresh",
    "crop_nms": "crop_nms_thresh",
    "crop_layer": "crop_choice",
    "likeness": "likeness_thresh",
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


def draw(found: FoundObjects, policy: str) -> DrawnObjects:
    """Draw candidates as labels, and measure them.

    Raises
    ------
    ParameterError
        If the target's dtype is too small for that many labels.
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
    return DrawnObjects(found, labels, features, dropped_by(table))


def run_everything(
    area: Area, predictor: Predictor, mode: str, parameters: Mapping[str, Any], policy: str
) -> Generator[Progress, None, DrawnObjects]:
    """Find every object of an area. May run on any thread.

    Parameters and errors are those of `generate_candidates`. Every
    `LIVE_SECONDS`, `partial` of a Progress holds what was found so far, as `DrawnObjects`.
    """
    steps = generate_candidates(
        area.source.image(area.plane),
        predictor.model,
        mode=mode,
        predictor=predictor,
        window=area.window,
        **area.source.embed_arguments(area.plane),
        **parameters,
    )
    return (yield from draw_steps(area, steps, policy))


def draw_steps(
    area: Area, steps: Generator[Progress, None, CandidateTable], policy: str
) -> Generator[Progress, None, DrawnObjects]:
    """Draw what is found in an area, also while it is being found.

    Parameters
    ----------
    area : Area
    steps : generator
        Finds candidates; where `partial` of its steps is a function, that returns those so far.
    policy : str
        As for `CandidateTable.resolve`.

    Yields
    ------
    Progress
        As `run_everything`.
    """
    began = shown = time.perf_counter()
    before: tuple[np.ndarray | None, int] | None = None

    def drawn(table: CandidateTable) -> DrawnObjects:
        nonlocal before
        # Whole pixels of a pyramid's reduced level are read, so the window may be slightly larger.
        here = replace(area, window=Window(*table.origin, *table.shape))
        if before is None:
            before = (None, 0)
            if here.target is not None:
                pixels = np.array(here.target.read(here.plane, here.window))
                before = (pixels, here.target.largest())
        return draw(FoundObjects(here, table, *before, time.perf_counter() - began), policy)

    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                table = stop.value
                break
            now = time.perf_counter()
            if callable(step.partial) and now - shown > LIVE_SECONDS:
                yield replace(step, partial=drawn(step.partial()))
                shown = time.perf_counter()
            else:
                yield replace(step, partial=None)
    finally:
        steps.close()
    yield Progress(1, 1, message="drawing")
    return drawn(table)


def refilter(
    found: FoundObjects,
    thresholds: Mapping[str, Any],
    policy: str,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, DrawnObjects | None]:
    """Apply other filters to the candidates of a run, without the model. May run on any thread."""
    yield Progress(0, 1, message="filtering")
    given = {name: value for name, value in thresholds.items() if name in found.table.parameters}
    table = found.table.refilter(**given)
    if cancelled():
        return None
    yield Progress(0, 1, message="drawing")
    return draw(replace(found, table=table), policy)


@dataclass(slots=True)
class ResultLayer:
    """The Labels layer that shows a run's result and follows its filters.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Labels, optional
        The layer that results are written to.
    """

    viewer: ViewerModel
    layer: Labels | None = None
    _name: str = ""
    _area: Area | None = field(default=None, repr=False)
    _last: DrawnObjects | None = field(default=None, repr=False)
    _features: Any = field(default=None, repr=False)
    _new: bool = False

    def begin(self, area: Area, target: Labels | None, what: str = "everything") -> None:
        """Prepare the layer for a run: the target, or a layer of its own.

        The layer is created now, because napari needs some time for that. The layer of an earlier
        run of the same on the same area is reused, unless it was renamed.

        Parameters
        ----------
        area : Area
            What is searched.
        target : Labels or None
            The layer to write to; None for one of its own.
        what : str
            What is looked for; the layer is named after it.
        """
        self._new = False
        if target is None:
            name = f"{area.layers[0].name} {what}"
            same = self._area is not None and self._area.place == area.place
            same = same and name == self._name
            self._name = name
            if not same or self.layer not in self.viewer.layers or self._renamed():
                self.layer = self._add(area)
                self._new = True
        else:
            self.layer = target
        self._area, self._last = area, None
        self._features = None if target is None else target.features.copy()

    def _renamed(self) -> bool:
        return self.layer is None or not self.layer.name.startswith(self._name)

    def abort(self) -> None:
        """Remove a layer that was created for a run without a result."""
        layer = self.layer
        if self._new:
            remove_layers(self.viewer, [layer])
            self.layer = self._area = None
        self._new = False

    def show(self, drawn: DrawnObjects) -> Labels:
        """Show a result in the layer. What was painted by hand since the last one is kept.

        Raises
        ------
        ParameterError
            If the target was removed, or cannot be written to.
        """
        area, layer = drawn.area, self.layer
        if layer is None or layer not in self.viewer.layers:
            if area.target is not None:
                raise ParameterError("the labels were removed from the viewer; run again")
            layer = None
        elif area.target is None and self._area is not None and area.place != self._area.place:
            remove_layers(self.viewer, [layer])  # the window became slightly larger
            layer = None
        if layer is None:
            layer = self._add(area)
        self._write(layer, drawn)
        layer.features = self._table(drawn)
        if area.target is None:
            layer.metadata = {
                "mode": drawn.table.mode,
                "parameters": dict(drawn.table.parameters),
            }
        self.layer, self._area, self._last, self._new = layer, area, drawn, False
        return layer

    def _write(self, layer: Labels, drawn: DrawnObjects) -> None:
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
        layer.refresh(highlight=False, extent=False)

    def _add(self, area: Area) -> Labels:
        image = area.layers[0]
        shape = [1] * image.ndim
        for axis, size in zip(area.axes.displayed, area.window.shape, strict=True):
            shape[axis] = size
        with keeping_selection(self.viewer):
            return self.viewer.add_labels(
                np.zeros(shape, np.uint32),
                name=self._name,
                **labels_placement(image, area.axes, area.plane, area.window),
            )

    def _table(self, drawn: DrawnObjects) -> Any:
        import pandas as pd

        table = pd.DataFrame(drawn.features)
        before = self._features
        if before is None or before.empty or "index" not in before:
            return table
        kept = before[~before["index"].isin(table["index"])]
        return pd.concat([kept, table], ignore_index=True)

    def discard(self) -> None:
        """Discard the result: remove its layer, or restore the previous labels."""
        layer, last = self.layer, self._last
        self.layer = self._area = self._last = None
        if layer is None or last is None or layer not in self.viewer.layers:
            return
        target, before = last.area.target, last.found.existing
        if target is None or before is None:
            remove_layers(self.viewer, [layer])
            return
        target.write(last.area.plane, last.area.window, before.astype(layer.dtype))
        layer.features = self._features
