"""Prompts of the object in progress, in the image layer's coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...engine import Window
from ...errors import PromptError
from ...session.schema import Plane
from .draft_canvas import DraftCanvas
from .drafts import ordered, repeat_prompts, take_points, take_shapes
from .plane_sessions import PlaneSession
from .sources import fill, prompts_of, region_of
from .working_layers import WorkingLayers

if TYPE_CHECKING:
    from napari.layers import Labels

    from ...session import Draft, SuggestedMask


class PromptEditor:
    """Changes the prompts of the object in progress; its masks are decoded again.

    Parameters
    ----------
    canvas : DraftCanvas
    """

    def __init__(self, canvas: DraftCanvas) -> None:
        self.canvas, self.planes = canvas, canvas.planes
        self.batch = False
        """Whether every click and every box is an object of its own; committed together."""
        canvas.connected = self._connect

    def _on(self, plane: Sequence[int] | None) -> tuple[PlaneSession, Plane]:
        """Return the session and the plane that a prompt goes to."""
        if plane is not None:
            return self.planes.find(), tuple(plane)
        seen = self.planes.look()
        return seen.on, seen.plane

    def add_point(
        self,
        point: npt.ArrayLike,
        positive: bool = True,
        plane: Sequence[int] | None = None,
    ) -> None:
        """Add a point inside the object, or outside of it.

        Parameters
        ----------
        point : (row, column), or a data coordinate for each axis of the image
        positive : bool
            Whether it lies inside.
        plane : sequence of int, optional
            By default the one that is shown.

        Raises
        ------
        PromptError
            If it lies outside the image, or the object in progress lies on another plane.
        """
        where, at = self.planes.place(point, plane)
        self.put_point(self.planes.find(), where, at, positive)

    def put_point(
        self, on: PlaneSession, plane: Plane, at: tuple[float, float], positive: bool
    ) -> None:
        """Add a (row, column) point of a plane whose session is known; see `add_point`."""
        with self.canvas.editing(on) as session:
            if self.batch and session.draft is None:
                session.begin_batch(plane)
            session.add_point(plane, at, positive)

    def move_point(self, index: int, point: npt.ArrayLike) -> None:
        """Move the object's point number `index` to (row, column)."""
        _, at = self.planes.place(point)
        with self.canvas.editing(self.planes.find()) as session:
            session.move_point(index, at)

    def remove_point(self, index: int) -> None:
        """Remove the object's point number `index`."""
        with self.canvas.editing(self.planes.find()) as session:
            session.remove_point(index)

    def set_box(self, box: npt.ArrayLike | None, plane: Sequence[int] | None = None) -> None:
        """Give the object a box, or remove it.

        Parameters
        ----------
        box : (row_min, col_min, row_max, col_max) or None
            The part outside the image is cut off.
        plane : sequence of int, optional
            By default the one that is shown.
        """
        on, where = self._on(plane)
        frame = None if box is None else ordered(box)
        with self.canvas.editing(on) as session:
            if self.batch and session.draft is None:
                session.begin_batch(where)
            session.set_box(where, frame)

    def scribble(
        self, line: npt.ArrayLike, positive: bool = True, plane: Sequence[int] | None = None
    ) -> None:
        """Add a line drawn inside the object, or outside of it; points along it are prompts.

        Parameters
        ----------
        line : array-like (k, 2)
            (row, column).
        positive : bool
            Whether it lies inside.
        plane : sequence of int, optional
            By default the one that is shown.
        """
        on, where = self._on(plane)
        with self.canvas.editing(on) as session:
            session.add_scribble(where, line, positive)

    def lasso(self, outline: npt.ArrayLike, plane: Sequence[int] | None = None) -> None:
        """Refine the region inside an outline (k, 2) of (row, column) points."""
        shape = self.planes.find().axes.rows_cols
        self.set_mask(*fill(np.asarray(outline, np.float64), shape), plane)

    def set_mask(
        self,
        mask: npt.ArrayLike,
        window: Window | None = None,
        plane: Sequence[int] | None = None,
    ) -> None:
        """Refine a region.

        Parameters
        ----------
        mask : bool array (height, width)
        window : Window, optional
            Where it lies in the plane; by default it is as large as the plane.
        plane : sequence of int, optional
            By default the one that is shown.
        """
        on, where = self._on(plane)
        place = Window.full(on.axes.rows_cols) if window is None else window
        with self.canvas.editing(on) as session:
            session.set_mask(where, np.asarray(mask), place)

    def take_up(
        self,
        suggestion: SuggestedMask,
        plane: Sequence[int] | None = None,
        point: tuple[float, float] | None = None,
    ) -> None:
        """Begin an object with a suggested mask: a commit takes it, further prompts refine it.

        Parameters
        ----------
        suggestion : SuggestedMask
        plane : sequence of int, optional
            By default the one that is shown.
        point : (row, column), optional
            Where it was clicked: a point in the object.
        """
        on, where = self._on(plane)
        with self.canvas.editing(on) as session:
            session.take_up(where, suggestion, point)
        self.canvas.show_preview()

    def refine(
        self,
        layer: Labels | None = None,
        label: int | None = None,
        *,
        point: npt.ArrayLike | None = None,
    ) -> None:
        """Refine a label of a Labels layer: its pixels on this plane become the mask prompt.

        Parameters
        ----------
        layer : Labels, optional
            By default the target.
        label : int, optional
            By default the layer's selected label, or the one under `point`.
        point : (row, column), optional
            Take only the connected part there.

        Raises
        ------
        PromptError
            If there are no labels, or the label is not on this plane.
        """
        seen, target = self.planes.look(), self.planes.layers.target
        labels = target if layer is None else layer
        if labels is None:
            raise PromptError("there are no labels to refine yet")
        if label is None and point is not None and layer in (None, target):
            label = seen.on.session.object_at(seen.plane, tuple(np.asarray(point, float)))
        number = int(labels.selected_label if label is None else label)
        image = self.planes.layers.images[0]
        viewer = self.planes.viewer
        found = region_of(viewer, labels, image, seen.on.axes, seen.plane, number, point)
        self.set_mask(*found)

    def begin_batch(
        self,
        points: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        negative: npt.ArrayLike | None = None,
        plane: Sequence[int] | None = None,
    ) -> None:
        """Begin several objects, one for each point and each box; commit writes them all.

        Parameters
        ----------
        points : array-like (n, 2), optional
        boxes : array-like (m, 4), optional
        negative : array-like (k, 2), optional
            Points outside; each belongs to the object that is nearest.
        plane : sequence of int, optional
            By default the one that is shown.
        """
        on, where = self._on(plane)
        frames = [] if boxes is None else [ordered(box) for box in np.atleast_2d(boxes)]
        places: npt.ArrayLike = [] if points is None else points
        outside = [] if negative is None else np.atleast_2d(np.asarray(negative, float)).tolist()
        with self.canvas.editing(on) as session:
            session.begin_batch(where, points=places, boxes=frames)
            for point in outside:
                session.add_point(where, tuple(point), False)

    def choose(self, candidate: int) -> None:
        """Take another of the candidates, by its index."""
        with self.canvas.editing(self.planes.find()) as session:
            session.choose(candidate)

    def cycle(self, step: int = 1) -> None:
        """Take the next candidate, or the one before (`step=-1`)."""
        with self.canvas.editing(self.planes.find()) as session:
            session.cycle(step)

    def cancel(self) -> None:
        """Drop the object in progress."""
        with self.canvas.editing(self.planes.find()) as session:
            session.cancel()

    def carry(self, draft: Draft) -> None:
        """Repeat an object in progress in the session that is shown now."""
        with self.canvas.signals.reporting():
            on = self.planes.find()
            with self.canvas.together():
                repeat_prompts(on.session, draft)

    # -- edited by hand with napari's own tools --------------------------------------------------

    def _connect(self, working: WorkingLayers) -> None:
        working.points_edited.connect(self._on_points)
        working.shapes_edited.connect(self._on_shapes)

    def _by_hand(self) -> tuple[PlaneSession, Plane] | None:
        """Return the session and plane that were drawn on, or None while a commit waits."""
        on = self.planes.current
        if on is None:
            return None
        if self.canvas.queue.users:
            self.canvas.show_prompts()
            error = PromptError("the object before is not committed yet; draw again in a moment")
            self.canvas.signals.report(error)
            return None
        draft = on.session.draft
        return on, self.planes.look().plane if draft is None else draft.plane

    def _on_points(self, layer: Any) -> None:
        with self.canvas.signals.reporting():
            found = self._by_hand()
            if found is None:
                return
            on, plane = found
            if take_points(on.session, layer, on.axes, plane):
                self.canvas.show_prompts()
            self.canvas.redecode()

    def _on_shapes(self, layer: Any) -> None:
        with self.canvas.signals.reporting():
            found = self._by_hand()
            if found is None:
                return
            on, plane = found
            image = self.planes.layers.images[0]
            drawn = prompts_of(self.planes.viewer, layer, image, on.axes, plane)
            with self.canvas.together():
                take_shapes(on.session, drawn, on.axes.rows_cols, plane)
            self.canvas.show_prompts()
