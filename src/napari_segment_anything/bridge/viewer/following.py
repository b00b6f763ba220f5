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

    from .plane_sessions import PlaneInView
    from .prompt_editor import PromptEditor


class PromptFollower:
    """Keeps the object in progress equal to the prompts of a layer on the plane that is shown.

    Prompts that were committed are not used again: the next object is made of later ones. The layer
    is known by identity, and never changed.

    Parameters
    ----------
    prompts : PromptEditor
        Of the object in progress.
    """

    def __init__(self, prompts: PromptEditor) -> None:
        self.layer: Layer | None = None
        """The Points or Shapes layer that is followed."""
        self._canvas, self._planes = prompts.canvas, prompts.planes
        self._batch = False
        self._used: set[tuple[Any, ...]] = set()
        self._taken: set[tuple[Any, ...]] = set()

    def follow(self, layer: Layer | None, batch: bool = False) -> None:
        """Take prompts from one of the user's Points or Shapes layers, now and whenever it changes.

        Points with "negative" in a feature "label" are negative; rectangles and ellipses are
        boxes, lines and paths scribbles, polygons regions. Committed prompts are not used again.

        Parameters
        ----------
        layer : Points, Shapes, or None
            None stops following.
        batch : bool
            Every positive point and every box is an object of its own.

        Raises
        ------
        PromptError
            If the layer is of another kind, or prompts lie outside the image.
        """
        from napari.layers import Points, Shapes

        self.close()
        try:
            if layer is None:
                return
            self._planes.find()  # raises without an image
            if not isinstance(layer, (Points, Shapes)):
                kind = type(layer).__name__
                raise PromptError(
                    f"prompts can be followed in a Points or Shapes layer, not {kind}"
                )
            if layer not in self._planes.viewer.layers:
                raise PromptError(f"the layer {layer.name!r} is not in the viewer")
            self.layer, self._batch = layer, batch
            for emitter in (layer.events.data, layer.events.features):
                emitter.connect(self._on_change)
            self.take()
        finally:
            self._planes.signals.layers_changed.emit()

    def close(self) -> None:
        """Stop following."""
        if self.layer is not None:
            for emitter in (self.layer.events.data, self.layer.events.features):
                emitter.disconnect(self._on_change)
        self.layer = None
        self._used, self._taken = set(), set()

    def _on_change(self, event: Any) -> None:
        action = str(getattr(getattr(event, "action", None), "value", "changed"))
        layer = self.layer
        whole = layer is not None and len(layer.features) == len(layer.data)
        if whole and action in ("added", "removed", "changed"):
            self._canvas.queue.ask(self.update)

    def update(self) -> None:
        """Update the object in progress; errors are reported."""
        with self._canvas.signals.reporting():
            self.take()

    def take(self) -> None:
        """Update the object in progress if a layer is followed.

        Raises
        ------
        PromptError
            If prompts lie outside the image. The others are taken.
        """
        layer = self.layer
        if layer is None:
            return
        seen = self._planes.look()
        session, plane = seen.on.session, seen.plane
        draft = session.draft
        if draft is not None and not draft.empty and draft.plane != plane:
            return
        found, outside = self._fresh(layer, seen)
        self._taken = {_key(plane, kind, item) for kind, item in _items(found)}
        with self._canvas.together():
            if len(found) and self._batch and (draft is None or draft.empty):
                session.begin_batch(plane)
            if len(found) or session.draft is not None:
                sync_points(session, found, plane)
                take_shapes(session, found, seen.on.axes.rows_cols, plane)
            if session.draft is not None and session.draft.empty:
                session.cancel()
        if outside:
            raise PromptError(
                f"{outside} of the prompts in {layer.name!r} lie outside the image and are left out"
            )

    def committed(self) -> None:
        """Mark the prompts that were taken last as used."""
        self._used |= self._taken
        self._taken = set()

    def _fresh(self, layer: Layer, seen: PlaneInView) -> tuple[PlanePrompts, int]:
        """Return the prompts not used yet, and the number of those outside the image."""
        axes, image = seen.on.axes, self._planes.layers.images[0]
        there = prompts_of(self._planes.viewer, layer, image, axes, seen.plane)

        def unused(kind: str, item: Any) -> bool:
            return _key(seen.plane, kind, item) not in self._used

        fresh = PlanePrompts()
        outside = 0
        for point, positive in zip(there.points, there.positive, strict=True):
            if not unused("point", point):
                continue
            if not inside(point, axes.rows_cols):
                outside += 1
                continue
            fresh.points.append(point)
            fresh.positive.append(positive)
        fresh.boxes = [item for item in there.boxes if unused("box", item)]
        fresh.lines = [item for item in there.lines if unused("line", item[0])]
        fresh.regions = [item for item in there.regions if unused("region", item)]
        return fresh, outside


def _key(plane: tuple[int, ...], kind: str, item: Any) -> tuple[Any, ...]:
    flat = np.round(np.asarray(item, np.float64).ravel(), 3)
    return (plane, kind, *flat.tolist())


def _items(found: PlanePrompts) -> list[tuple[str, Any]]:
    return [
        *(("point", item) for item in found.points),
        *(("box", item) for item in found.boxes),
        *(("line", line) for line, _ in found.lines),
        *(("region", item) for item in found.regions),
    ]
