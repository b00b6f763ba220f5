"""The user's own Points or Shapes layer as the live source of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import PromptError
from ...session.objects import inside
from .drafts import sync_points, take_shapes
from .sources import PlanePrompts, prompts_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from .viewer_objects import ViewerObjects


class Follower:
    """Keeps the object in progress equal to the prompts of a layer on the plane that is shown.

    Prompts that were committed are used up: the next object is made of those that come after.
    The layer is known by identity; it is never changed.

    Parameters
    ----------
    owner : ViewerObjects
        The session.
    layer : Points or Shapes
    batch : bool
        Every positive point and every box is an object of its own.
    """

    def __init__(self, owner: ViewerObjects, layer: Layer, batch: bool) -> None:
        from napari.layers import Points, Shapes

        if not isinstance(layer, (Points, Shapes)):
            raise PromptError(
                f"prompts can be followed in a Points or Shapes layer, not {type(layer).__name__}"
            )
        if layer not in owner.viewer.layers:
            raise PromptError(f"the layer {layer.name!r} is not in the viewer")
        self.layer = layer
        self.batch = batch
        self._owner = owner
        self._used: set[tuple[Any, ...]] = set()
        self._taken: set[tuple[Any, ...]] = set()
        self._emitters = [layer.events.data, layer.events.features]
        for emitter in self._emitters:
            emitter.connect(self._on_change)

    def close(self) -> None:
        """Follow no more."""
        for emitter in self._emitters:
            emitter.disconnect(self._on_change)
        self._emitters = []

    def _on_change(self, event: Any) -> None:
        action = str(getattr(getattr(event, "action", None), "value", "changed"))
        whole = len(self.layer.features) == len(self.layer.data)
        if whole and action in ("added", "removed", "changed"):
            self._owner.in_order(self._take_reporting)

    def _take_reporting(self) -> None:
        if self._emitters:
            with self._owner.reporting():
                self.take()

    def take(self) -> int:
        """Bring the object in progress up to date; return how many prompts lie outside the image.

        Raises
        ------
        PromptError
            If prompts lie outside the image (the others are taken).
        """
        owner = self._owner
        view, plane = owner.view, owner.plane
        session = view.session
        draft = session.draft
        if draft is not None and not draft.empty and draft.plane != plane:
            return 0
        found, outside = self._fresh(plane)
        self._taken = {self._key(kind, item) for kind, item in _items(found)}
        with owner.together():
            if len(found) and self.batch and (draft is None or draft.empty):
                session.begin_batch(plane)
            if len(found) or session.draft is not None:
                sync_points(session, found, plane)
                take_shapes(session, found, view.axes.rows_cols, plane)
            if session.draft is not None and session.draft.empty:
                session.cancel()
        if outside:
            raise PromptError(
                f"{outside} of the prompts in {self.layer.name!r} lie outside the image and are "
                "left out"
            )
        return outside

    def committed(self) -> None:
        """The prompts that were taken last are used up."""
        self._used |= self._taken
        self._taken = set()

    def _key(self, kind: str, item: Any) -> tuple[Any, ...]:
        flat = np.round(np.asarray(item, np.float64).ravel(), 3)
        return (self._owner.plane, kind, *flat.tolist())

    def _fresh(self, plane: tuple[int, ...]) -> tuple[PlanePrompts, int]:
        owner = self._owner
        image = owner.image
        if image is None:
            return PlanePrompts(), 0
        axes = owner.view.axes
        there = prompts_of(owner.viewer, self.layer, image, axes, plane)
        fresh = PlanePrompts()
        outside = 0
        for point, positive in zip(there.points, there.positive, strict=True):
            if self._key("point", point) in self._used:
                continue
            if not inside(point, axes.rows_cols):
                outside += 1
                continue
            fresh.points.append(point)
            fresh.positive.append(positive)
        fresh.boxes = [item for item in there.boxes if self._key("box", item) not in self._used]
        fresh.lines = [i for i in there.lines if self._key("line", i[0]) not in self._used]
        fresh.regions = [i for i in there.regions if self._key("region", i) not in self._used]
        return fresh, outside


def _items(found: PlanePrompts) -> list[tuple[str, Any]]:
    return [
        *(("point", item) for item in found.points),
        *(("box", item) for item in found.boxes),
        *(("line", line) for line, _ in found.lines),
        *(("region", item) for item in found.regions),
    ]
