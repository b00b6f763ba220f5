"""The layers of a run over a stack: labels while planes are written, and tracks."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..viewer.coordinates import point_from_data
from ..viewer.images import labels_placement
from ..viewer.layer_list import keeping_selection, remove_layers
from ..viewer.measures import as_features
from .live_labels import aligned
from .stacks import StackDone, StackSource, StackStep

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels
    from napari.layers import Tracks as TracksLayer

LIVE_SECONDS = 0.5
_REST = 20
"""Updates are at least this many times further apart than one of them takes."""


class StackLayers:
    """Layers that show the result of a run over a stack, also while it runs.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.labels: Labels | None = None
        self.tracks: TracksLayer | None = None
        self._array: Any = None
        self._again = 0.0

    def show(self, stack: StackSource, step: StackStep, name: str) -> None:
        """Show labels while they are written."""
        if self._array is not step.labels or self.labels not in self.viewer.layers:
            self._place(stack, step.labels, name)
        if time.monotonic() >= self._again and self.labels is not None:
            began = time.monotonic()
            self.labels.refresh(highlight=False, extent=False, thumbnail=False)
            took = time.monotonic() - began
            self._again = began + max(LIVE_SECONDS, _REST * took)

    def finish(self, stack: StackSource, done: StackDone, name: str) -> None:
        """Show the result of a run."""
        self._again = 0.0
        self.show(stack, StackStep(done.labels, None), name)
        if self.labels is None:
            return
        self.labels.features = as_features(done.table)
        if done.path is not None:
            self.labels.metadata = {**self.labels.metadata, "store": done.path}
        self.labels.refresh()
        remove_layers(self.viewer, [self.tracks])
        self.tracks = None
        if done.tracks is not None and len(done.tracks.data):
            self._add_tracks(stack, done)

    def forget(self) -> None:
        """Use new layers for the next run."""
        self.labels = self.tracks = self._array = None

    def _place(self, stack: StackSource, array: Any, name: str) -> None:
        """Show an array in the run's layer, which is created if necessary."""
        image, axes = stack.image.layers[0], stack.image.axes
        order = _order(stack, array)
        data = aligned(array, order)
        self._array = array
        layer = self.labels
        if layer is not None and layer in self.viewer.layers and layer.data.shape == data.shape:
            layer.data = data
            return
        # along axes that the labels have, they begin at 0
        at = zip(axes.planes, stack.plane, strict=True)
        plane = [index if order[axis] is None else 0 for axis, index in at]
        with keeping_selection(self.viewer):
            self.labels = self.viewer.add_labels(
                data, name=f"{image.name} {name}", **labels_placement(image, axes, plane)
            )

    def _add_tracks(self, stack: StackSource, done: StackDone) -> None:
        found = done.tracks
        if found is None or stack.axis != min(stack.image.axes.planes):
            return  # napari's tracks go along the first axis
        image, axes = stack.image.layers[0], stack.image.axes
        order = _order(stack, done.labels)
        columns = [found.data[:, :1]]
        for axis in range(len(axes.shape)):
            at = order[axis]
            columns.append(
                np.zeros((len(found.data), 1)) if at is None else found.data[:, at + 1 : at + 2]
            )
        self.tracks = None
        # napari draws tracks in two or three dimensions
        with keeping_selection(self.viewer), suppress(ValueError):
            self.tracks = self.viewer.add_tracks(
                np.concatenate(columns, axis=1),
                graph={int(k): [int(i) for i in v] for k, v in found.graph.items()},
                properties=dict(found.properties),
                name=f"{image.name} tracks",
                **labels_placement(image, axes),
            )


def _order(stack: StackSource, array: Any) -> tuple[int | None, ...]:
    """Return for each axis of the image layer the array's axis, or None."""
    axes = stack.image.axes
    kept = [axis for axis in range(len(axes.shape)) if axis != axes.channel]
    if len(array.shape) != len(kept):  # one stack of several
        kept = sorted((stack.axis, *axes.displayed))
    return tuple(kept.index(axis) if axis in kept else None for axis in range(len(axes.shape)))


def show_object(
    viewer: ViewerModel, stack: StackSource, layer: Labels | None, number: int, plane: int
) -> None:
    """Show a plane of a stack and select an object."""
    image = stack.image.layers[0]
    index = dict(zip(stack.image.axes.planes, stack.plane_at(plane), strict=True))
    for axis, value in point_from_data(
        viewer, image, {k: float(v) for k, v in index.items()}
    ).items():
        viewer.dims.set_point(axis, value)
    if layer is not None and layer in viewer.layers:
        layer.selected_label = number


def middle_of(
    stack: StackSource, done: StackDone, number: int, plane: int
) -> NDArray[np.float64] | None:
    """Return where an object is on a plane, in the image layer's coordinates, or None."""
    place = done.middles.get(number, {}).get(plane)
    if place is None:
        return None
    return stack.image.axes.position(stack.plane_at(plane), np.array(place))
