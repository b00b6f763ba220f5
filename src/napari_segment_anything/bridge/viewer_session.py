"""One viewer's annotation session: prompts in, masks on the canvas, objects in a Labels layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..engine import Predictor, Window
from ..errors import ParameterError, SegmentAnythingError
from ..progress import finish
from ..wording import counted
from .names import method, value
from .runs.areas import find_area
from .runs.everything import ResultLayer, run_everything
from .viewer.brush import BrushWatch
from .viewer.draft_canvas import DraftCanvas
from .viewer.following import PromptFollower
from .viewer.images import SessionLayers, check_images, layers_of_image
from .viewer.measures import ObjectMeasures
from .viewer.model_holder import ModelHolder
from .viewer.mouse import MouseInput
from .viewer.object_editor import ObjectEditor
from .viewer.plane_sessions import PlaneSession, PlaneSessions
from .viewer.prompt_editor import PromptEditor
from .viewer.runners import ActionQueue, JobRunner, Worker
from .viewer.signals import Notice, ViewerSignals
from .viewer.undo_trail import UndoTrail

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from ..automatic import CandidateTable
    from ..session import Session


class ViewerSession(ViewerSignals):
    """Prompts in, masks on the canvas, objects in a Labels layer; for one viewer.

    Coordinates are data coordinates of the image layer, whatever its scale, rotation or units:
    `[row, column]` on the plane that is shown (or on `plane`), or one number for each of the
    layer's axes. Rows are the earlier of the two displayed axes, however the view is transposed.

    The session is composed of parts, each of which can be used alone: `layers` (image and target),
    `planes` (a session for each orientation of planes), `models`, `canvas` (the object in progress,
    decoded and drawn), `prompts`, `commits` (committed objects), `trail` (undo), `mouse`,
    `measures`. Methods that are used most often are available here as well.

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
    run : "sync" or JobRunner
        "sync" decodes before a call returns; a runner decodes on another thread.
    **options
        See `OPTIONS`; by the names of `Predictor.embed`, `Session` and `load_model`.
    """

    OPTIONS: ClassVar[dict[str, Any]] = {**PlaneSessions.OPTIONS, **ModelHolder.OPTIONS}
    """Names and defaults of the options that may be given by keyword."""

    def __init__(
        self,
        viewer: ViewerModel,
        model: Any = "default",
        *,
        predictor: Predictor | None = None,
        image: Image | Sequence[Image] | None = None,
        target: Labels | None = None,
        run: str | JobRunner = "sync",
        **options: Any,
    ) -> None:
        self.viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self.is_closed = False
        """Whether the session was closed."""
        self.queue = ActionQueue()
        self.worker = Worker(self.busy_changed.emit)
        self.models = ModelHolder(self, self.worker, self.queue, model, predictor)
        self.layers = SessionLayers(self.viewer, self._on_new_pixels)
        self.planes = PlaneSessions(self.layers, self.models, self)
        self.canvas = DraftCanvas(self.planes, self.models, self.worker, self.queue)
        self.prompts = PromptEditor(self.canvas)
        self.commits = ObjectEditor(self.prompts)
        self.trail = UndoTrail(self.canvas)
        self.measures = ObjectMeasures(self.planes)
        """The table of measures of committed objects: area, shape, intensities, score, seconds."""
        self.models.taken, self.models.settled = self.planes.set_predictor, self.canvas.redecode
        self.planes.made, self.planes.switched = self._connect, self.canvas.switch
        self.follower = PromptFollower(self.prompts)
        self.commits.done = self.follower.committed
        self._brush = BrushWatch(self.planes, self.trail, self.queue)
        self.objects_changed.connect(self._on_objects)
        self.set_options(**options)
        self.worker.use(run)
        if image is not None:
            self.set_image(image)
        if target is not None:
            self.set_target(target)
        self.mouse = MouseInput(self.prompts)
        self.layers_changed.connect(self._on_layers)
        self._on_layers()
        self.viewer.dims.events.current_step.connect(self._on_dims)
        self.viewer.dims.events.order.connect(self._on_dims)
        self.viewer.layers.events.removed.connect(self._on_removed)

    def __repr__(self) -> str:
        if self.is_closed:
            return "<ViewerSession: closed>"
        objects = counted(len(self.objects), "object")
        image = "no image yet" if self.image is None else f"image {self.image.name!r}"
        labels = "a new layer" if self.target is None else f"{self.target.name!r}"
        going = "" if self.draft is None else ", one in progress"
        return f"<ViewerSession: {image}, labels in {labels}, {objects}{going}>"

    # -- what the parts do, by the names of the console ------------------------------------------

    add_point = method("prompts", PromptEditor.add_point)
    move_point = method("prompts", PromptEditor.move_point)
    remove_point = method("prompts", PromptEditor.remove_point)
    set_box = add_box = method("prompts", PromptEditor.set_box)
    scribble = method("prompts", PromptEditor.scribble)
    lasso = method("prompts", PromptEditor.lasso)
    set_mask = method("prompts", PromptEditor.set_mask)
    refine = method("prompts", PromptEditor.refine)
    begin_batch = method("prompts", PromptEditor.begin_batch)
    choose = method("prompts", PromptEditor.choose)
    cycle = method("prompts", PromptEditor.cycle)
    cancel = method("prompts", PromptEditor.cancel)
    follow = method("follower", PromptFollower.follow)
    together = method("canvas", DraftCanvas.together)

    commit = method("commits", ObjectEditor.commit)
    commit_when_decoded = method("commits", ObjectEditor.commit_when_decoded)
    cancel_last = method("commits", ObjectEditor.cancel_last)
    delete = method("commits", ObjectEditor.delete)
    merge = method("commits", ObjectEditor.merge)
    split_off = method("commits", ObjectEditor.split_off)
    cut = method("commits", ObjectEditor.cut)
    classify = method("commits", ObjectEditor.classify)
    relabel = method("commits", ObjectEditor.relabel)
    edit = method("commits", ObjectEditor.edit)
    lock = method("commits", ObjectEditor.lock)
    hide = method("commits", ObjectEditor.hide)
    object_at = method("commits", ObjectEditor.object_at)

    undo = method("trail", UndoTrail.undo)
    redo = method("trail", UndoTrail.redo)
    show_plane = method("planes", PlaneSessions.show_plane)
    centre = method("planes", PlaneSessions.centre)
    click = method("mouse", MouseInput.click)
    set_model = method("models", ModelHolder.set_model)
    when_loaded = method("models", ModelHolder.when_loaded)
    set_runner = method("worker", Worker.use)

    draft = value("planes", PlaneSessions.draft)
    preview = value("canvas", DraftCanvas.preview)
    working = value("canvas", DraftCanvas.working)
    objects = value("commits", ObjectEditor.objects)
    locked = value("commits", ObjectEditor.locked)
    hidden = value("commits", ObjectEditor.hidden)
    can_undo = value("trail", UndoTrail.can_undo)
    can_redo = value("trail", UndoTrail.can_redo)
    predictor = value("models", ModelHolder.predictor)
    model = value("models", ModelHolder.model)
    is_loaded = value("models", ModelHolder.is_loaded)
    plane = value("planes", PlaneSessions.plane)
    mode = value("mouse", MouseInput.mode)

    @property
    def source(self) -> Layer | None:
        """The Points or Shapes layer that is followed, or None."""
        return self.follower.layer

    @property
    def busy(self) -> bool:
        """Whether something is loaded or decoded."""
        return self.worker.busy

    @property
    def batch(self) -> bool:
        """Whether every click and every box is an object of its own; committed together."""
        return self.prompts.batch

    @batch.setter
    def batch(self, on: bool) -> None:
        self.prompts.batch = on

    @property
    def hover_preview(self) -> bool:
        """Whether the mask under the cursor is shown before any click."""
        return self.mouse.hover_preview

    @hover_preview.setter
    def hover_preview(self, on: bool) -> None:
        self.mouse.hover_preview = on

    # -- image, target, options ------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The (first) image layer in use; None before the first prompt."""
        return self.layers.image

    @image.setter
    def image(self, image: Image | Sequence[Image] | None) -> None:
        self.set_image(image)

    def set_image(self, image: Image | Sequence[Image] | None) -> None:
        """Work on another image: a layer, or several that are its channels.

        The object in progress is cancelled, the target becomes a new layer.

        Raises
        ------
        ImageError
            If it is no image, or not in the viewer.
        """
        images = () if image is None else layers_of_image(image)
        if images == self.layers.images:
            return
        if images:
            check_images(self.viewer, images)
        self._leave_images()
        self.canvas.clear()
        self.layers.choose(images)
        self.layers_changed.emit()

    def _leave_images(self) -> None:
        if self.layers.images:
            self.queue.drop("prompt", "edit")  # they belong to this image
        self._begin_anew()
        self.layers.target = None

    @property
    def target(self) -> Labels | None:
        """The Labels layer that objects go to; None as long as it is still to be made."""
        return self.layers.target

    @target.setter
    def target(self, layer: Labels | None) -> None:
        self.set_target(layer)

    def set_target(self, layer: Labels | None) -> None:
        """Write to another Labels layer; None makes a new one at the next commit.

        The object in progress goes there.

        Raises
        ------
        ParameterError
            If it cannot be written to, or its pixels are not the image's.
        """
        if layer is not None:
            if layer is self.layers.target:
                return
            self.planes.check_target(layer)
        draft, gone = self.draft, self.layers.target
        self._begin_anew()
        self.layers.target = layer
        if draft is not None and not draft.empty:
            self.prompts.carry(draft)
            if gone is not None and gone not in self.viewer.layers:
                text = (
                    f"The labels {gone.name!r} were removed; the object in progress goes to a "
                    "new layer."
                )
                self.notice(Notice("target", text))
        self.layers_changed.emit()

    @property
    def options(self) -> dict[str, Any]:
        """The options in use; see `OPTIONS`."""
        return {**self.planes.options, **self.models.options}

    def set_options(self, **options: Any) -> None:
        """Change options, by the names of `OPTIONS`.

        "overwrite", "multimask", "min_mask_region_area" and "cache" act at once, "device" and
        "precision" load the model again; the others start new sessions (committed objects stay in
        the labels).

        Raises
        ------
        ParameterError
            If there is no option of that name.
        """
        unknown = sorted(set(options) - set(self.OPTIONS))
        if unknown:
            raise ParameterError(
                f"unknown option {unknown[0]!r}; there are {', '.join(self.OPTIONS)}"
            )
        of_model = {name: options.pop(name) for name in ModelHolder.OPTIONS if name in options}
        self.models.configure(**of_model)
        if options:
            if self.planes.configure(**options):
                self._begin_anew()
            self.canvas.redecode()

    def recover(self, path: str | os.PathLike[str]) -> None:
        """Recover a session from its journal, on the image and the target in use.

        Its objects, their prompts, the object in progress and the history are restored, and the
        session continues in the same file. The planes that are shown must be those it was made on.

        Raises
        ------
        FormatError
            If the journal is damaged.
        ImageError
            If it is of another image.
        ParameterError
            If it is of labels of another shape.
        """
        self._begin_anew()
        recovered = self.planes.recover(Path(path))
        self.layers_changed.emit()
        self.objects_changed.emit(tuple(recovered.session.objects))

    def lend(
        self,
        session: Session,
        show: Callable[[], tuple[Sequence[Image], Labels]],
        dropped: Callable[[], object],
    ) -> PlaneSession:
        """Work in a session that was made elsewhere.

        Parameters
        ----------
        session : Session
        show : callable
            Shows its image and its labels; returns their layers, which may be those of the image
            before with other pixels. Called when nothing uses these any more.
        dropped : callable
            Called when the session is not used any more, to close it.
        """
        before = self.layers.images
        self._leave_images()
        self.layers.choose(())
        image, target = show()
        images = layers_of_image(image)
        if images == before:
            self.canvas.blank()
        else:
            self.canvas.clear()
        self.layers.choose(images)
        self.layers.target = target
        lent = self.planes.lend(session, dropped)
        self.layers_changed.emit()
        self.objects_changed.emit(tuple(session.objects))
        self.history_changed.emit()
        return lent

    def _begin_anew(self) -> None:
        """Drop the sessions, and the actions that wait for them."""
        if self.planes.all:
            self.queue.drop("prompt", "edit")
            self.worker.cancel()
            self.planes.drop()

    # -- everything ------------------------------------------------------------------------------

    def everything(
        self,
        mode: str = "auto",
        *,
        region: str | Window = "plane",
        policy: str = "small",
        **parameters: Any,
    ) -> CandidateTable:
        """Find every object of the plane that is shown, and show them in a Labels layer.

        Parameters
        ----------
        mode : {"auto", "grid", "proposals", "instances"}
        region : "plane", "view" (the part in view), "rectangle" (as drawn for the widget), Window
        policy : str
            As for `CandidateTable.to_labels`.
        **parameters
            As for `segment_everything`.

        Returns
        -------
        CandidateTable
            Relative to the region.
        """
        options = self.planes.options
        area = find_area(
            self.viewer,
            self.layers.present(),
            region,
            **{name: options[name] for name in ("channel_axis", "channels", "contrast_limits")},
        )
        steps = run_everything(area, self.predictor, mode, parameters, policy)
        drawn = finish(steps, self.progressed.emit)
        result = ResultLayer(self.viewer)
        result.begin(area, None)
        result.show(drawn)
        return drawn.table

    # -- what the viewer and the sessions say ----------------------------------------------------

    def _connect(self, new: PlaneSession) -> None:
        events = new.session.events
        events.target_changed.connect(partial(self.measures.note, new))
        events.history_changed.connect(partial(self._on_history, new))
        events.objects_changed.connect(self.commits.on_changed)

    def _on_history(self, on: PlaneSession) -> None:
        self.trail.note(on)
        self.history_changed.emit()
        if self.measures.changes:
            self.measures.update()

    def _on_objects(self, ids: object) -> None:
        self.commits.protect()
        self.measures.update()

    def _on_new_pixels(self) -> None:
        """Drop the sessions of an image whose pixels were replaced."""
        target = self.layers.target
        self._begin_anew()
        self.canvas.clear()
        self.layers.target = target
        self.layers_changed.emit()

    def _on_layers(self) -> None:
        self._brush.watch(self.layers.target)
        self.mouse.followed = self.follower.layer

    def _on_dims(self, event: Any = None) -> None:
        """Another plane is shown."""
        if self.is_closed or self.planes.current is None:
            return
        try:
            self.planes.find()  # planes along other axes have their own session
        except SegmentAnythingError:
            return  # reported when a prompt is placed there
        self.planes.tell_of_hidden()
        self.plane_changed.emit()
        self.follower.update()

    def _on_removed(self, event: Any) -> None:
        """A layer was removed from the viewer."""
        gone = event.value
        if gone in self.layers.images:
            self.set_image(None)
        else:
            self.canvas.removed(gone)
        if gone is self.follower.layer:
            self.follow(None)

    def close(self) -> None:
        """Close the session: remove its callbacks, threads and working layers."""
        if self.is_closed:
            return
        self.is_closed = True
        self.queue.drop("prompt", "edit", "other")
        self.worker.runner.close()
        self.measures.close()
        self.follower.close()
        self._brush.watch(None)
        self.mouse.close()
        for emitter in (self.viewer.dims.events.current_step, self.viewer.dims.events.order):
            emitter.disconnect(self._on_dims)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.planes.close()
        self.canvas.close()
        self.layers.choose(())
        self.layers.target = None
        self.worker.idle()
        self.closed.emit()
