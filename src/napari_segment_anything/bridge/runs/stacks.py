"""Runs over stacks in a viewer, and their results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine import Predictor
from ...errors import ImageError
from ...progress import Progress
from ...stacks import PropagationResult, Tracks, propagate_steps, segment_stack_steps
from ...stacks.stack_labels import stopped
from .large import LargeSource

PlaneSeeds = dict[int, dict[int, Any]]
Middles = dict[int, dict[int, tuple[float, float]]]
Gather = Callable[[PropagationResult | None], Generator[Progress, None, PlaneSeeds]]
"""Reads prompts, given the previous result; returns them by plane. May run on any thread."""


@dataclass(frozen=True, slots=True, eq=False)
class StackSource:
    """A stack of a viewer's image.

    Parameters
    ----------
    image : LargeSource
    axis : int
        Axis of the layer along which planes are stacked.
    plane : tuple of int
        The plane that is shown, which chooses the stack where the image has further axes.
    """

    image: LargeSource
    axis: int
    plane: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.axis not in self.image.axes.planes:
            raise ImageError(f"axis {self.axis} is displayed or holds channels; choose another")

    @property
    def count(self) -> int:
        """Number of planes."""
        return self.image.axes.shape[self.axis]

    @property
    def place(self) -> int:
        """Position of the axis among the plane's indices."""
        return self.image.axes.planes.index(self.axis)

    @property
    def at(self) -> tuple[int, ...]:
        """Indices along the further axes."""
        return tuple(index for i, index in enumerate(self.plane) if i != self.place)

    def plane_at(self, number: int) -> tuple[int, ...]:
        """Return a plane of the stack as a plane of the image."""
        return (*self.plane[: self.place], int(number), *self.plane[self.place + 1 :])

    def same(self, other: StackSource | None) -> bool:
        """Whether both are the same stack of the same image."""
        return (
            other is not None
            and self.image.layers == other.image.layers
            and self.image.axes == other.image.axes
            and (self.axis, self.at) == (other.axis, other.at)
        )

    def arguments(self) -> dict[str, Any]:
        """Return volume and axis as `stacks` takes them."""
        data = self.image.data
        shift = len(data.axes) - len(self.image.axes.shape) - int(data.rgb)
        return {"volume": data, "axis": self.axis + shift}


@dataclass(frozen=True, slots=True, eq=False)
class StackStep:
    """The state of a run over a stack: labels so far, and the last finished plane."""

    labels: Any
    plane: int | None


@dataclass(frozen=True, slots=True, eq=False)
class StackDone:
    """The result of a run over a stack.

    Parameters
    ----------
    labels : array
        Of the whole image, or of the one stack that was propagated through.
    table : mapping of str to array
        A row per object; see `StackResult` and `PropagationResult`.
    curves : dict of int to (dict of int to float)
        For each object a value on each of its planes.
    measure : str
        What these values are: "score" or "area".
    prompted : dict of int to tuple of int
    tracks : Tracks or None
    propagated : PropagationResult or None
    failed : mapping
        Planes that could not be segmented, and why.
    path : str or None
    middles : dict of int to (dict of int to (float, float))
        For each object its centre on each of its planes, in the order of the labels' axes, so that
        no plane has to be read to show an object.
    """

    labels: Any
    table: Mapping[str, NDArray[Any]]
    curves: dict[int, dict[int, float]]
    measure: str
    prompted: dict[int, tuple[int, ...]] = field(default_factory=dict)
    tracks: Tracks | None = None
    propagated: PropagationResult | None = None
    failed: Mapping[tuple[int, ...], str] = field(default_factory=dict)
    path: str | None = None
    middles: Middles = field(default_factory=dict)


def propagate_run(
    stack: StackSource,
    gather: Gather,
    predictor: Predictor,
    previous: PropagationResult | None = None,
    **options: Any,
) -> Generator[Progress, None, StackDone]:
    """Follow objects through a stack. May run on any thread.

    Yields
    ------
    Progress
        Its `partial` is a `StackStep`.
    """
    seeds = yield from gather(previous)
    steps = propagate_steps(
        prompts_by_slice=seeds, model=predictor.model, at=stack.at, previous=previous,
        predictor=None if previous is not None else predictor,
        **stack.arguments(), **options,
    )  # fmt: skip
    result = yield from _follow(steps, lambda view: StackStep(view.labels, view.plane))
    return StackDone(
        result.labels, result.table, result.scores, "score", result.prompted,
        propagated=result, path=result.path, middles=result.middles,
    )  # fmt: skip


def segment_run(
    stack: StackSource, predictor: Predictor, **options: Any
) -> Generator[Progress, None, StackDone]:
    """Segment every plane of a stack, and link or track the objects. May run on any thread.

    A run that was stopped is resumed from its labels in the store, even if `overwrite` is set.
    """
    if options.get("output") is not None and stopped(options["output"], options["label"]):
        options["overwrite"] = False
    steps = segment_stack_steps(
        model=predictor.model, predictor=predictor, **stack.arguments(), **options
    )
    kept = [axis for axis in range(len(stack.image.axes.shape)) if axis != stack.image.axes.channel]
    along = kept.index(stack.axis)
    others = [axis for axis in kept if axis not in stack.image.axes.displayed]
    place = others.index(stack.axis)
    result = yield from _follow(steps, lambda view: StackStep(view.labels, view.plane[place]))
    rows, cols = sorted(kept.index(axis) for axis in stack.image.axes.displayed)
    measure = "area"
    curves: dict[int, dict[int, float]] = {}
    middles: Middles = {}
    if result.tracks is not None and len(result.tracks.data):
        measure, curves = _of_tracks(result.tracks, 1 + along)
        for row in result.tracks.data:
            middle = (float(row[1 + rows]), float(row[1 + cols]))
            middles.setdefault(int(row[0]), {})[int(row[1 + along])] = middle
    if not curves:
        curves, middles = yield from _areas(result.labels, along, (rows, cols))
    return StackDone(
        result.labels, result.table, curves, measure,
        tracks=result.tracks, failed=result.failed, path=result.path, middles=middles,
    )  # fmt: skip


def _follow(
    steps: Generator[Progress, None, Any], shown: Callable[[Any], StackStep]
) -> Generator[Progress, None, Any]:
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value
            view = step.partial
            here = None if getattr(view, "labels", None) is None else shown(view)
            yield replace(step, partial=here)
    finally:
        steps.close()


def _of_tracks(tracks: Tracks, column: int) -> tuple[str, dict[int, dict[int, float]]]:
    scores = np.asarray(tracks.properties.get("score", ()), float)
    measure = "score" if len(scores) and np.isfinite(scores).any() else "area"
    values = scores if measure == "score" else np.asarray(tracks.properties["area"], float)
    curves: dict[int, dict[int, float]] = {}
    for row, value in zip(tracks.data, values, strict=True):
        if np.isfinite(value):
            curves.setdefault(int(row[0]), {})[int(row[column])] = float(value)
    return measure, curves


def _areas(
    labels: Any, along: int, shown: tuple[int, int]
) -> Generator[Progress, None, tuple[dict[int, dict[int, float]], Middles]]:
    """Measure area and centre of every object on every plane, one plane at a time."""
    curves: dict[int, dict[int, float]] = {}
    middles: Middles = {}
    count = int(labels.shape[along])
    for plane in range(count):
        yield Progress(plane, count, message="measuring")
        index = tuple(plane if i == along else slice(None) for i in range(len(labels.shape)))
        here = np.asarray(labels[index])
        places = np.nonzero(here)
        ids, which, areas = np.unique(here[places], return_inverse=True, return_counts=True)
        rows, cols = (
            np.bincount(which.ravel(), places[axis - (axis > along)], minlength=len(ids)) / areas
            for axis in shown
        )
        for label, area, down, right in zip(ids, areas, rows, cols, strict=True):
            curves.setdefault(int(label), {})[plane] = float(area)
            middles.setdefault(int(label), {})[plane] = (float(down), float(right))
    return curves, middles
