"""One viewer's annotation session: prompts in, masks on the canvas, objects in a Labels layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..engine import Predictor, Window
from ..errors import ParameterError, SegmentAnythingError
from ..progress import finish
from ..session.objects import inside
from ..wording import counted
from .runs.everything import add_table, everything_job, region_of_view
from .viewer.binding import check_images, default_image, readable_images
from .viewer.brush import HistoryKeys, strokes
from .viewer.coordinates import mixes_units
from .viewer.drafts import corners, ordered, shown_prompts
from .viewer.following import Follower
from .viewer.hiding import HiddenLabels
from .viewer.measures import ObjectMeasures
from .viewer.mouse import MODES, MouseInput, MouseMode
from .viewer.runners import Ears, Runner
from .viewer.viewer_base import View
from .viewer.viewer_model import Notice
from .viewer.viewer_objects import ViewerObjects
from .viewer.working_layers import Shown

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from ..automatic import CandidateTable
    from ..session import DecodeResult


def _tool(layer: Any) -> str | None:
    """Return the tool of a layer that the mouse is for, or None while it pans and zooms."""
    mode = str(getattr(layer.mode, "value", layer.mode))
    return None if mode == "pan_zoom" else mode


class UnitsWarning(SegmentAnythingError):
    """Layers of one viewer have different units."""


class ViewerSession(ViewerObjects):
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
        self._follower: Follower | None = None
        self._brushed: Labels | None = None
        self._history_keys = HistoryKeys(self)
        self._warned_of_units = False
        self.measures = ObjectMeasures(self)
        self._hidden, self._hiding = set(), HiddenLabels()
        self.objects_changed.connect(lambda ids: self._protect())
        self.objects_changed.connect(lambda ids: self.measures.update())
        self.hover_preview = False
        """Whether the mask under the cursor is shown before any click."""
        super().__init__(viewer, model, predictor, image, target, run, options)
        self.mouse = MouseInput(self)
        self.layers_changed.connect(self._watch_target)
        self._watch_target()
        self.viewer.dims.events.current_step.connect(self._on_dims)
        self.viewer.dims.events.order.connect(self._on_dims)
        self.viewer.layers.events.removed.connect(self._on_removed)

    def __repr__(self) -> str:
        if self._is_closed:
            return "<ViewerSession: closed>"
        objects = counted(len(self.objects), "object")
        image = "no image yet" if self.image is None else f"image {self.image.name!r}"
        labels = "a new layer" if self.target is None else f"{self.target.name!r}"
        going = "" if self.draft is None else ", one in progress"
        return f"<ViewerSession: {image}, labels in {labels}, {objects}{going}>"

    # -- the mouse -------------------------------------------------------------------------------

    def takes_mouse(self) -> bool:
        """Whether the mouse is the session's now: a bound layer is active, and pans and zooms."""
        active = self.viewer.layers.selection.active
        return not self._is_closed and self._is_bound(active) and _tool(active) is None

    def _is_bound(self, layer: Layer | None) -> bool:
        """Whether clicks on a layer are prompts: on the image, the target, or what is drawn."""
        from napari.layers import Image

        mine: list[Layer] = [*(self._image or ())]
        if self._target is not None:
            mine.append(self._target)
        if self._working is not None:
            mine += self._working.layers
        return layer in mine or (self._image is None and isinstance(layer, Image))

    def ignore_click(self) -> None:
        """Say why a click was no prompt, unless the user is plainly at something else."""
        why = None if self._is_closed else self._why_ignored()
        if why is not None:
            self.click_ignored.emit(why)

    def _why_ignored(self) -> str | None:
        layers = self.viewer.layers
        active = layers.selection.active
        if self._image is None and not readable_images(self.viewer):
            return None
        if self.viewer.dims.ndisplay != 2:
            return "The viewer shows three dimensions; prompts are set in two."
        if active is None:
            return "No layer is active, so the click was no prompt."
        tool = _tool(active)
        image = default_image(self.viewer) if self.image is None else self.image
        if tool is None:
            return (
                f"The click was no prompt: the active layer is {active.name!r}, not {image.name!r}."
            )
        drawn_on = self._is_bound(active) and active is not image
        if drawn_on or (self._follower is not None and self._follower.layer is active):
            return None
        return (
            f"The click went to the tool {tool!r} of the layer {active.name!r}; it was no prompt."
        )

    def take_mouse(self) -> None:
        """Make clicks prompts: show two dimensions, make the image active, put its tool away.

        Raises
        ------
        ImageError
            If there is no image.
        """
        image = default_image(self.viewer) if self.image is None else self.image
        check_images(self.viewer, (image,))
        self.viewer.dims.ndisplay = 2
        image.mode = "pan_zoom"
        self.viewer.layers.selection.active = image

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
        where = np.array(position, np.float64)
        self._ask(lambda: self._click(where, positive), "prompt")

    def _click(self, position: np.ndarray, positive: bool) -> None:
        with self.reporting():
            plane, at = self.locate(position)
            if not inside(at, self.view.axes.rows_cols):
                return
            self.warn_of_units()
            self.add_point(at, positive, plane)

    def drawing(self, kind: str, path: np.ndarray) -> None:
        """Show what is being drawn along world positions (k, ndim)."""
        if not self.is_loaded:
            return
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
        self._ask(lambda: self._take_drawn(kind, path, positive), "prompt")

    def _take_drawn(self, kind: str, path: np.ndarray, positive: bool) -> None:
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
        """Show the mask under a world position before any click, where `hover_preview` is on."""
        wanted = self.hover_preview and self.is_loaded and self._image is not None
        if not wanted or self.draft is not None or self.waiting:
            return
        try:
            plane, at = self.locate(position)
            view = self.view
            if not inside(at, view.axes.rows_cols):
                self._show_preview()
                return
            request = view.session.hover_request(plane, at)
            if not view.session.is_encoded(request):
                return  # encoding is for clicks
        except SegmentAnythingError:
            return  # nothing to see there
        session = view.session
        ears = Ears(
            result=lambda result: self._show_hover(view, result),
            error=self.report,
            progress=lambda step: None,
            ended=lambda: None,
        )
        self._runner.submit(lambda cancelled: session.decode(request, cancelled), ears)

    def _show_hover(self, view: View, result: DecodeResult | None) -> None:
        if result is None or self._is_closed or view is not self._current or self.draft is not None:
            return
        preview = result.preview()
        self.working.show_preview(preview.plane, preview.window, preview.labels)

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

    # -- the user's own layers -------------------------------------------------------------------

    @property
    def source(self) -> Layer | None:
        """The Points or Shapes layer that is followed, or None."""
        return None if self._follower is None else self._follower.layer

    def follow(self, layer: Layer | None, batch: bool = False) -> None:
        """Take prompts from a Points or Shapes layer of one's own, now and whenever it changes.

        Points with "negative" in a feature "label" are negative; rectangles and ellipses are
        boxes, lines and paths scribbles, polygons regions. What is committed is used up.

        Parameters
        ----------
        layer : Points, Shapes, or None
            None follows nothing any more.
        batch : bool
            Every positive point and every box is an object of its own.

        Raises
        ------
        PromptError
            If the layer is of another kind, or prompts lie outside the image.
        """
        if self._follower is not None:
            self._follower.close()
            self._follower = None
        if layer is not None:
            self.view  # noqa: B018 - an image there must be
            self._follower = Follower(self, layer, batch)
            self._follower.take()
        self.layers_changed.emit()

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
        ids = super().commit()
        if self._follower is not None:
            self._follower.committed()
        return ids

    def _watch_target(self) -> None:
        """Take napari's brush strokes on the target into the history."""
        if self._brushed is self._target:
            return
        if self._brushed is not None:
            self._brushed.events.paint.disconnect(self._on_brush)
            self._history_keys.release()
        self._brushed = self._target
        if self._brushed is not None:
            self._brushed.events.paint.connect(self._on_brush)
            self._history_keys.take(self._brushed)

    def _on_brush(self, event: Any) -> None:
        view, target = self._current, self._target
        if view is None or target is None or target.multiscale:
            return
        with self.reporting():
            for plane, window, before, after in strokes(event.value, target.data, view.axes):
                view.session.paint(plane, window, before, after)

    # -- everything ------------------------------------------------------------------------------

    def everything(
        self,
        mode: str = "auto",
        *,
        region: str | Window = "plane",
        policy: str = "small",
        **parameters: Any,
    ) -> CandidateTable:
        """Find every object of the plane that is shown, here and now; show them in a new layer.

        Parameters
        ----------
        mode : {"auto", "grid", "proposals", "instances"}
        region : "plane", "view" (what is in sight), or Window
        policy : str
            As for `CandidateTable.to_labels`.
        **parameters
            As for `segment_everything`.

        Returns
        -------
        CandidateTable
            Relative to the region.
        """
        where = region_of_view(self, region)
        job = everything_job(self, where, mode, **parameters)
        table = finish(job, self.progressed.emit)
        add_table(self, table, where, policy=policy)
        return table

    # -- the viewer ------------------------------------------------------------------------------

    def _on_dims(self, event: Any = None) -> None:
        """Another plane is shown."""
        if self._is_closed or self._current is None:
            return
        try:
            view = self.view  # planes along other axes have their own session
        except SegmentAnythingError:
            return  # said when a prompt is placed there
        self._tell_of_hidden(view)
        if view is self._current:
            self.plane_changed.emit()
            if self._follower is not None:
                with self.reporting():
                    self._follower.take()

    def _tell_of_hidden(self, view: View) -> None:
        """Say that an object in progress lies on planes along other axes than those shown."""
        for other in self._views.values():
            draft = other.session.draft
            if other is not view and draft is not None and not draft.empty:
                text = "The object in progress is on planes along other axes, which are not shown."
                show = partial(self._go_to, other, draft.plane)
                self.notice(Notice("axes", text, ("Show them", show)))
                return
        if len(self._views) > 1:
            self.notice(Notice("axes"))

    def _on_removed(self, event: Any) -> None:
        """A layer was removed from the viewer."""
        gone = event.value
        if self._image is not None and gone in self._image:
            self.set_image(None)
        elif self._working is not None and not self._is_closed:
            self._working.removed(gone)
        if self._follower is not None and self._follower.layer is gone:
            self.follow(None)

    @property
    def is_closed(self) -> bool:
        """Whether it has let go of its viewer."""
        return self._is_closed

    def close(self) -> None:
        """Let go of the viewer: no callback, no thread, no working layer stays."""
        if self._is_closed:
            return
        self._is_closed = True
        self._asked.drop("prompt", "edit", "other")
        self._runner.close()
        self.measures.close()
        if self._follower is not None:
            self._follower.close()
            self._follower = None
        self._target = None
        self._watch_target()
        self.mouse.close()
        for emitter in (self.viewer.dims.events.current_step, self.viewer.dims.events.order):
            emitter.disconnect(self._on_dims)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        for session in (*self._left, *(view.session for view in self._views.values())):
            session.close()
        self._left.clear()
        self._views.clear()
        self._current = None
        self._bind_image(None)
        self._set_busy(False)
        self.closed.emit()
