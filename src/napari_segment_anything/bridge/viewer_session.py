"""One viewer's annotation session: prompts in, masks on the canvas, objects in a Labels layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..engine import Predictor, Window
from ..errors import ParameterError, PromptError, SegmentAnythingError
from ..session.objects import inside
from ..session.session import Session
from .coordinates import mixes_units
from .drafts import corners, ordered, shown_prompts
from .mouse import MODES, MouseInput, MouseMode
from .runners import Runner
from .viewer_base import View
from .viewer_prompts import Plane, ViewerPrompts
from .working_layers import Shown

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from ..session.objects import SessionObject

T = TypeVar("T")


class UnitsWarning(SegmentAnythingError):
    """Layers of one viewer have different units."""


class ViewerSession(ViewerPrompts):
    """Prompts in, masks on the canvas, objects in a Labels layer; for one viewer.

    Coordinates are data coordinates of the image layer, whatever its scale, rotation or units:
    `[row, column]` on the plane that is shown (or on `plane`), or one number for each of the
    layer's axes. Rows are the earlier of the two displayed axes, however the view is transposed.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
    model : str, path, or Model
        As for `load_model`. Loaded when it is first needed.
    predictor : Predictor, optional
        Instead of a model, with a cache of its own.
    image : Image, or sequence of Image, optional
        The image; several layers are its channels. By default the active Image layer, else the
        topmost visible one, settled at the first prompt.
    target : Labels, optional
        Where objects go. By default a new layer, made at the first commit.
    run : "sync" or Runner
        "sync" decodes before a call returns; a runner decodes on another thread.
    **options
        See `OPTIONS`; by the names of `Predictor.embed`, `Session` and `load_model`.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        model: Any = "default",
        *,
        predictor: Predictor | None = None,
        image: Image | Sequence[Image] | None = None,
        target: Labels | None = None,
        run: str | Runner = "sync",
        **options: Any,
    ) -> None:
        self._trail: list[View] = []
        self._returned: list[View] = []
        self._stepping = False
        self._followed: Layer | None = None
        self._follows_as_batch = False
        self._warned_of_units = False
        super().__init__(viewer, model, predictor, image, target, run, options)
        self.mouse = MouseInput(self)
        self.viewer.dims.events.current_step.connect(self._on_dims)
        self.viewer.dims.events.order.connect(self._on_dims)
        self.viewer.layers.events.removed.connect(self._on_removed)

    # -- committed objects -----------------------------------------------------------------------

    def commit(self) -> tuple[int, ...]:
        """Write the object in progress (or the batch) to the target; return the new labels.

        What the brush did to the preview counts.

        Raises
        ------
        PromptError
            If nothing is in progress, or every pixel belongs to other labels already.
        ParameterError
            If the target does not exist any more, or its type has no more labels.
        """
        view = self.view
        self.take_painted()
        self._free_ids(view)
        ids = view.session.commit()
        self._runner.cancel()
        self._set_busy(False)
        self._show()
        return tuple(ids)

    def take_painted(self) -> None:
        """Make what the brush did to the preview the object's mask."""
        view, preview = self._current, self.preview
        mask = None if self._working is None else self._working.painted()
        if view is None or preview is None or mask is None or self._working is None:
            return
        window = self._working.window
        if window is None or len(preview.objects) != 1:
            return
        view.session.paint_preview(mask, window)

    def _owner(self, label: int) -> View:
        """The session that knows an object: of the planes it was made on."""
        for view in self._views.values():
            if label in view.session.objects:
                return view
        return self.view

    def _change_objects(self, view: View, change: Callable[[Session], T]) -> T:
        result = change(view.session)
        self._show()
        return result

    def delete(self, ids: int | Sequence[int]) -> None:
        """Delete objects, also such as are older than the session."""
        wanted = [ids] if isinstance(ids, (int, np.integer)) else list(ids)
        for view in {id(self._owner(label)): self._owner(label) for label in wanted}.values():
            own = [int(label) for label in wanted if self._owner(label) is view]
            self._change_objects(view, lambda session, own=own: session.delete(own))

    def merge(self, ids: Sequence[int]) -> int:
        """Make several objects one; return its label, the first of them."""
        wanted = [int(label) for label in ids]
        if len({id(self._owner(label)) for label in wanted}) > 1:
            raise PromptError("these objects were made on planes along different axes")
        view = self._owner(wanted[0]) if wanted else self.view
        return self._change_objects(view, lambda session: session.merge(wanted))

    def split_off(self, label: int, region: npt.ArrayLike, window: Window | None = None) -> int:
        """Make the part of an object inside a bool region of the plane shown a new object."""
        where = Window.full(self.view.axes.rows_cols) if window is None else window
        mask, plane = np.asarray(region, bool), self.plane
        self._free_ids(self.view)
        return self._change_objects(
            self.view, lambda session: session.split_off(int(label), mask, where, plane)
        )

    def relabel(self, label: int, new: int) -> None:
        """Give an object another label."""
        view = self._owner(int(label))
        self._change_objects(view, lambda session: session.relabel(int(label), int(new)))

    def edit(self, label: int) -> None:
        """Take an object up again: its prompts come back, a commit replaces it.

        The viewer goes to its plane. An object without prompts is refined from its region.
        """
        item = self.objects.get(int(label))
        if item is not None:
            view = self._owner(int(label))
            if view is not self.view:
                raise PromptError(
                    f"object {label} was made on planes along other axes; show these first"
                )
            self.show_plane(item.plane)
        plane = self.plane
        self._edit(lambda session: session.edit(int(label), plane))

    @property
    def objects(self) -> dict[int, SessionObject]:
        """Committed objects by label, with their prompts, scores and planes."""
        found: dict[int, SessionObject] = {}
        for view in self._views.values():
            found.update(view.session.objects)
        return found

    def object_at(self, point: npt.ArrayLike, plane: Sequence[int] | None = None) -> int | None:
        """Return the label at a point of the target, or None."""
        where, at = self._place(point, plane)
        found = self.view.session.object_at(where, at)
        return None if found is None else int(found)

    @property
    def object_at_cursor(self) -> int | None:
        """The label under the mouse, or None."""
        plane, at = self.locate(self.viewer.cursor.position)
        found = self.view.session.object_at(plane, at)
        return None if found is None else int(found)

    # -- history ---------------------------------------------------------------------------------

    def _connect_session(self, view: View) -> None:
        events = view.session.events
        events.history_changed.connect(lambda: self._on_history(view))
        events.objects_changed.connect(lambda ids: self.objects_changed.emit(tuple(ids)))

    def _on_history(self, view: View) -> None:
        if not self._stepping:
            self._trail.append(view)
            self._returned.clear()
        self.history_changed.emit()

    def _free_ids(self, view: View) -> None:
        """Keep sessions that write to the same labels from giving one label twice."""
        if len(self._views) > 1:
            largest = max(self.objects, default=0)
            view.session._next_id = max(view.session._next_id, largest + 1)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return any(view.session.can_undo for view in self._views.values())

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to take again."""
        return any(view.session.can_redo for view in self._views.values())

    def undo(self) -> str | None:
        """Take the last step back, on whatever plane it was; return what it was.

        The viewer goes to that plane.
        """
        return self._step(self._trail, self._returned, undo=True)

    def redo(self) -> str | None:
        """Take a step again that was taken back."""
        return self._step(self._returned, self._trail, undo=False)

    def _step(self, taken: list[View], given: list[View], undo: bool) -> str | None:
        views = list(self._views.values())
        able = [v for v in views if (v.session.can_undo if undo else v.session.can_redo)]
        while taken and taken[-1] not in able:
            taken.pop()
        if not able:
            return None
        view = taken.pop() if taken else able[-1]
        places: list[Plane] = []
        self._stepping = True
        remember = view.session.events.target_changed.connect(
            lambda plane, window: places.append(tuple(plane))
        )
        try:
            what = view.session.undo() if undo else view.session.redo()
        finally:
            self._stepping = False
            view.session.events.target_changed.disconnect(remember)
        given.append(view)
        draft = view.session.draft
        plane = draft.plane if draft is not None else (places[-1] if places else None)
        self._go_to(view, plane)
        self._show()
        self._redecode()
        return what

    def _go_to(self, view: View, plane: Plane | None) -> None:
        """Show the planes of a view, and one of them."""
        if view is not self._current:
            shift = self.viewer.dims.ndim - len(view.axes.shape)
            shown = [axis + shift for axis in view.axes.displayed]
            rest = [axis for axis in self.viewer.dims.order if axis not in shown]
            self.viewer.dims.order = (*rest, *shown)
        if plane is not None and self.view is view:
            self.show_plane(plane)

    # -- the mouse -------------------------------------------------------------------------------

    def takes_mouse(self) -> bool:
        """Whether the mouse is the session's now: a bound layer is active, and pans and zooms."""
        active = self.viewer.layers.selection.active
        if self._is_closed or active is None:
            return False
        mine = list(self._image or ())
        if self._target is not None:
            mine.append(self._target)
        if self._working is not None:
            mine += self._working.layers
        from napari.layers import Image

        bound = active in mine or (self._image is None and isinstance(active, Image))
        return bound and str(getattr(active.mode, "value", active.mode)) == "pan_zoom"

    @property
    def mode(self) -> MouseMode:
        """What a plain drag draws: "points" (nothing), "box", "scribble", "lasso"; or "off"."""
        return self.mouse.mode

    @mode.setter
    def mode(self, mode: MouseMode) -> None:
        if mode not in MODES:
            raise ParameterError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        self.mouse.mode = mode

    def click(self, position: npt.ArrayLike, positive: bool = True) -> None:
        """Take a click at a world position; errors are reported, not raised."""
        with self.reporting():
            plane, at = self.locate(position)
            if not inside(at, self.view.axes.rows_cols):
                return
            self.warn_of_units()
            self.add_point(at, positive, plane)

    def drawing(self, kind: str, path: np.ndarray) -> None:
        """Show what is being drawn along world positions (k, ndim)."""
        with self.reporting():
            view = self.view
            plane = self.plane
            flat = np.array([self.locate(at)[1] for at in path])
            line = flat
            if kind == "box":
                line = corners(ordered((*flat[0], *flat[-1])))[[0, 1, 2, 3, 0]]
            elif kind == "lasso":
                line = np.concatenate([flat, flat[:1]])
            shown = shown_prompts(view.session.draft, view.axes)
            drawn = (view.axes.position(plane, line), True)
            self.working.show(
                Shown(shown.points, shown.positive, shown.boxes, [*shown.lines, drawn])
            )

    def drawn(self, kind: str, path: np.ndarray, positive: bool) -> None:
        """Take what was drawn along world positions (k, ndim) as a prompt."""
        with self.reporting():
            try:
                self.warn_of_units()
                flat = np.array([self.locate(at)[1] for at in path])
                if kind == "box":
                    self.set_box((*flat[0], *flat[-1]))
                elif kind == "lasso":
                    self.lasso(flat)
                else:
                    self.scribble(flat, positive)
            except SegmentAnythingError:
                self._show_prompts()
                raise

    def hover(self, position: npt.ArrayLike) -> None:
        """The mouse is at a world position, no button pressed."""
        if len(self.hovered):
            self.hovered.emit(position)

    def warn_of_units(self) -> None:
        """Say once that napari's own tools miss where layers have different units."""
        if not self._warned_of_units and mixes_units(self.viewer):
            self._warned_of_units = True
            self.report(
                UnitsWarning(
                    "the layers have different units: napari's brush and its point tool ignore "
                    "that, and draw elsewhere; clicks of this plugin are right"
                )
            )

    # -- the viewer ------------------------------------------------------------------------------

    def _on_dims(self, event: Any = None) -> None:
        """Another plane is shown."""
        if self._is_closed or self._current is None:
            return
        try:
            view = self.view  # planes along other axes have their own session
        except SegmentAnythingError:
            return  # said when a prompt is placed there
        if view is self._current:
            self.plane_changed.emit()

    def _on_removed(self, event: Any) -> None:
        """A layer was removed from the viewer."""
        gone = event.value
        if self._image is not None and gone in self._image:
            self.set_image(None)
        elif self._working is not None and not self._is_closed:
            self._working.removed(gone)

    @property
    def is_closed(self) -> bool:
        """Whether it has let go of its viewer."""
        return self._is_closed

    def close(self) -> None:
        """Let go of the viewer: no callback, no thread, no working layer stays."""
        if self._is_closed:
            return
        self._is_closed = True
        self._runner.close()
        self.mouse.close()
        for emitter in (self.viewer.dims.events.current_step, self.viewer.dims.events.order):
            emitter.disconnect(self._on_dims)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        for view in self._views.values():
            view.session.close()
        self._views.clear()
        self._current = None
        self._bind_image(None)
        self._set_busy(False)
        self.closed.emit()
