"""Prompts of the object in progress, in the image layer's coordinates, and their decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...engine import Window
from ...errors import ImageError, PromptError, SegmentAnythingError
from ...session.session import Session
from .coordinates import data_to_world, point_from_data, world_to_data
from .drafts import ordered, repeat_prompts, shown_prompts, take_points, take_shapes
from .images import plane_of
from .runners import Ears
from .sources import fill, prompts_of, region_of, row_col
from .viewer_base import View, ViewerBase
from .working_layers import WorkingLayers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image, Labels

    from ...session import DecodeResult, Draft, Preview

Plane = tuple[int, ...]


class ViewerPrompts(ViewerBase):
    """Prompts and their masks; see `ViewerSession`."""

    _nested = 0
    batch = False
    """Whether every click and every box is an object of its own; committed together."""

    # -- where -----------------------------------------------------------------------------------

    @property
    def plane(self) -> Plane:
        """The plane that is shown: an index for each axis neither displayed nor of channels."""
        view = self.view
        return plane_of(self.viewer, self._layer(), view.axes)

    def show_plane(self, plane: Sequence[int]) -> None:
        """Move the viewer's sliders to a plane."""
        view, image = self.view, self._layer()
        values = dict(zip(view.axes.planes, (float(i) for i in plane), strict=True))
        for axis, value in point_from_data(self.viewer, image, values).items():
            self.viewer.dims.set_point(axis, value)

    def centre(self, point: npt.ArrayLike, plane: Sequence[int] | None = None) -> None:
        """Move the camera to a (row, column) point, and the sliders to its plane."""
        view, image = self.view, self._layer()
        plane = self.plane if plane is None else tuple(plane)
        self.show_plane(plane)
        world = data_to_world(self.viewer, image, view.axes.position(plane, point))
        shown = [float(world[axis]) for axis in self.viewer.dims.displayed]
        self.viewer.scene.camera.center = (0.0, *shown)

    def locate(self, position: npt.ArrayLike) -> tuple[Plane, tuple[float, float]]:
        """Return plane and (row, column) of a world position, such as the cursor's."""
        view = self.view
        data = world_to_data(self.viewer, self._layer(), position)
        return self.plane, row_col(data, view.axes)

    def _layer(self) -> Image:
        """The image layer, which has a view."""
        if self._image is None:
            raise ImageError("choose an image first")
        return self._image[0]

    def _place(
        self, point: npt.ArrayLike, plane: Sequence[int] | None
    ) -> tuple[Plane, tuple[float, float]]:
        """Turn a point of two or of all coordinates into plane and (row, column)."""
        view = self.view
        values = np.asarray(point, np.float64)
        if values.shape == (2,):
            return (self.plane if plane is None else tuple(plane)), (
                float(values[0]),
                float(values[1]),
            )
        if values.shape != (len(view.axes.shape),) or plane is not None:
            raise PromptError(
                f"a point is [row, column], or {len(view.axes.shape)} data coordinates of the "
                f"image; not {point!r}"
            )
        return view.axes.plane(values), row_col(values, view.axes)

    # -- prompts of the object in progress -------------------------------------------------------

    def add_point(
        self,
        point: npt.ArrayLike,
        positive: bool = True,
        plane: Sequence[int] | None = None,
    ) -> None:
        """Add a point inside the object, or outside of it (`positive=False`).

        Raises
        ------
        PromptError
            If it lies outside the image, or the object in progress lies on another plane.
        """
        where, at = self._place(point, plane)
        self._edit(lambda session: self._begun(session, where).add_point(where, at, positive))

    def _begun(self, session: Session, plane: Plane) -> Session:
        """Begin a batch first, where every prompt is to be an object of its own."""
        if self.batch and session.draft is None:
            session.begin_batch(plane)
        return session

    def move_point(self, index: int, point: npt.ArrayLike) -> None:
        """Move the object's point number `index`."""
        _, at = self._place(point, None)
        self._edit(lambda session: session.move_point(index, at))

    def remove_point(self, index: int) -> None:
        """Take the object's point number `index` away."""
        self._edit(lambda session: session.remove_point(index))

    def set_box(self, box: npt.ArrayLike | None, plane: Sequence[int] | None = None) -> None:
        """Give the object a box (row_min, col_min, row_max, col_max), or take it away.

        The part outside the image is cut off.
        """
        where = self.plane if plane is None else tuple(plane)
        frame = None if box is None else ordered(box)
        self._edit(lambda session: self._begun(session, where).set_box(where, frame))

    add_box = set_box

    def scribble(
        self, line: npt.ArrayLike, positive: bool = True, plane: Sequence[int] | None = None
    ) -> None:
        """Add a line (k, 2) drawn inside the object, or outside of it; points along it count."""
        where = self.plane if plane is None else tuple(plane)
        self._edit(lambda session: session.add_scribble(where, line, positive))

    def lasso(self, outline: npt.ArrayLike, plane: Sequence[int] | None = None) -> None:
        """Refine the region inside an outline (k, 2)."""
        mask, window = fill(np.asarray(outline, np.float64), self.view.axes.rows_cols)
        self.set_mask(mask, window, plane)

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
        """
        where = self.plane if plane is None else tuple(plane)
        region = Window.full(self.view.axes.rows_cols) if window is None else window
        self._edit(lambda session: session.set_mask(where, np.asarray(mask), region))

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
        """
        view = self.view
        labels = self.target if layer is None else layer
        if labels is None:
            raise PromptError("there are no labels to refine yet")
        if label is None and point is not None and layer in (None, self.target):
            label = view.session.object_at(self.plane, tuple(np.asarray(point, float)))
        number = int(labels.selected_label if label is None else label)
        found = region_of(self.viewer, labels, self._layer(), view.axes, self.plane, number, point)
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
        """
        where = self.plane if plane is None else tuple(plane)
        frames = [] if boxes is None else [ordered(box) for box in np.atleast_2d(boxes)]
        places: npt.ArrayLike = [] if points is None else points
        outside = [] if negative is None else np.atleast_2d(np.asarray(negative, float)).tolist()

        def begin(session: Session) -> None:
            session.begin_batch(where, points=places, boxes=frames)
            for point in outside:
                session.add_point(where, tuple(point), False)

        self._edit(begin)

    def choose(self, candidate: int) -> None:
        """Take another of the candidates, by its index."""
        self._edit(lambda session: session.choose(candidate))

    def cycle(self, step: int = 1) -> None:
        """Take the next candidate, or the one before (`step=-1`)."""
        self._edit(lambda session: session.cycle(step))

    def cancel(self) -> None:
        """Drop the object in progress."""
        self._edit(lambda session: session.cancel())

    # -- the way of every edit -------------------------------------------------------------------

    @property
    def preview(self) -> Preview | None:
        """Its masks; None before they are decoded."""
        return None if self._current is None else self._current.session.preview

    def _edit(self, change: Callable[[Session], object]) -> Any:
        """Change the draft, show it, decode it."""
        view = self.view
        self._leave_others(view)
        result = change(view.session)
        self._redecode()
        return result

    def _leave_others(self, view: View) -> None:
        """Refuse a second object in progress on planes of another orientation."""
        for other in self._views.values():
            if other is not view and other.session.draft is not None:
                raise PromptError(
                    "an object is in progress on planes along other axes; show them, and commit or "
                    "cancel it first"
                )

    def _carry(self, draft: Draft) -> None:
        with self.reporting():
            view = self.view
            with self.together():
                repeat_prompts(view.session, draft)

    def _redecode(self) -> None:
        view = self._current
        if view is None or self._is_closed or self._nested or self._loading:
            return
        request = view.session.request()
        if request is None:
            self._runner.cancel()
            self._set_busy(False)
            self._show()
            self._asked.go()
            return
        session = view.session
        ears = Ears(
            result=lambda result: self._accept(view, result),
            error=self._on_error,
            progress=self.progressed.emit,
            ended=lambda: self._set_busy(False),
        )
        self._set_busy(True)
        # Drawn before it is decoded: two threads at once would make the drawing three times slower.
        self._show_prompts()
        self._runner.submit(lambda cancelled: session.decode(request, cancelled), ears)

    def _accept(self, view: View, result: DecodeResult) -> None:
        if not self._is_closed and view is self._current and view.session.accept(result):
            self._show()
            self._asked.go()

    def _on_error(self, error: BaseException) -> None:
        """Tell of an error that nobody can catch; what waited for the mask cannot be done."""
        if self._is_closed:
            return
        self._show_prompts()
        dropped = self._asked.drop("prompt", "edit")
        if dropped:
            error = PromptError(f"{error} ({dropped} later clicks or commits were dropped)")
        self.report(error)

    def _is_decoded(self) -> bool:
        """Whether what is in progress has its masks, or nothing is to be decoded."""
        view = self._current
        if not self._can_act():
            return False
        return view is None or view.session.preview is not None or view.session.request() is None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make several edits and decode once, at the end."""
        self._nested += 1
        try:
            yield
        finally:
            self._nested -= 1
        self._redecode()

    # -- drawing ---------------------------------------------------------------------------------

    def _show(self) -> None:
        """Draw prompts and preview."""
        self._show_preview()
        self._show_prompts()

    def _show_prompts(self) -> None:
        view = self._current
        if view is not None and self._image is not None:
            draft = view.session.draft
            if draft is not None or self._working is not None:
                self.working.show(shown_prompts(draft, view.axes))
        self.draft_changed.emit()

    def _show_preview(self) -> None:
        preview = self.preview
        if preview is not None:
            self.working.show_preview(preview.plane, preview.window, preview.labels)
        elif self._working is not None:
            self._working.hide_preview()
        self.preview_changed.emit(preview)

    def _view_changed(self) -> None:
        if self._working is None:
            return
        if self._current is None:
            self._working.clear()
        else:
            self._working.axes = self._current.axes
            self._show()

    # -- edited by hand --------------------------------------------------------------------------

    def _connect_working(self, working: WorkingLayers) -> None:
        working.points_edited.connect(self._on_points_edited)
        working.shapes_edited.connect(self._on_shapes_edited)

    def _on_points_edited(self, layer: Any) -> None:
        """Somebody used napari's own tools on the Points layer."""
        view = self._current
        if view is None or self._working is None or self._refuse_by_hand():
            return
        with self.reporting():
            plane = view.session.draft.plane if view.session.draft is not None else self.plane
            if take_points(view.session, layer, view.axes, plane):
                self._show_prompts()
            self._redecode()

    def _on_shapes_edited(self, layer: Any) -> None:
        """Somebody used napari's own tools on the Shapes layer: a box or a line more, or moved."""
        view = self._current
        if view is None or self._refuse_by_hand():
            return
        with self.reporting():
            draft = view.session.draft
            plane = draft.plane if draft is not None else self.plane
            found = prompts_of(self.viewer, layer, self._layer(), view.axes, plane)
            with self.together():
                take_shapes(view.session, found, view.axes.rows_cols, plane)
            self._show_prompts()

    def _refuse_by_hand(self) -> bool:
        """While a commit waits, napari's tools would change an object that is done."""
        if not self.waiting:
            return False
        self._show_prompts()
        self.report(PromptError("the object before is not committed yet; draw again in a moment"))
        return True

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Report errors of ours instead of raising them into napari's event loop."""
        try:
            yield
        except SegmentAnythingError as error:
            self.report(error)
