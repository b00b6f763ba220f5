"""What a viewer's session stands on: model, image, target, options, and who listens."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from psygnal import Signal

from ..engine import EmbeddingCache, Model, Predictor, load_model
from ..errors import ImageError, ParameterError
from ..progress import Progress
from ..session.session import Session
from .binding import TargetSlot, check_images, default_image
from .images import ImageAxes, axes_of, layers_of_image, source_of
from .runners import Ears, Inline, Runner
from .working_layers import WorkingLayers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels


@dataclass(slots=True, eq=False)
class View:
    """A session on the planes of one orientation: those spanned by two axes of the image."""

    axes: ImageAxes
    slot: TargetSlot
    session: Session


_LIVE = ("overwrite", "multimask", "min_mask_region_area")
_MODEL = ("device", "precision")


class ViewerBase:
    """The layers, the model and the options of a viewer's session; see `ViewerSession`."""

    OPTIONS: ClassVar[dict[str, Any]] = {
        "channel_axis": None,
        "channels": None,
        "contrast_limits": "auto",
        "window_size": None,
        "overwrite": False,
        "multimask": "auto",
        "min_mask_region_area": None,
        "device": "auto",
        "precision": "auto",
        "journal": None,
        "cache": None,
    }
    """Names and defaults of the options that may be given by keyword."""

    draft_changed = Signal()
    """Prompts of the object in progress changed."""
    preview_changed = Signal(object)
    """There is another preview: emits it, or None."""
    objects_changed = Signal(object)
    """Committed objects changed: emits their ids."""
    history_changed = Signal()
    """What can be undone or redone changed."""
    layers_changed = Signal()
    """Another image or target is in use."""
    model_changed = Signal()
    """Another model is in use."""
    busy_changed = Signal(bool)
    """Decoding began or ended."""
    progressed = Signal(object)
    """Emits every Progress."""
    failed = Signal(object)
    """Emits an exception that came from the canvas or from another thread."""
    plane_changed = Signal()
    """Another plane is shown."""
    closed = Signal()
    """The session let go of its viewer."""

    def __init__(
        self,
        viewer: ViewerModel,
        model: Any,
        predictor: Predictor | None,
        image: Image | Sequence[Image] | None,
        target: Labels | None,
        run: str | Runner,
        options: dict[str, Any],
    ) -> None:
        self.viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._predictor = predictor
        self._model_source = model if predictor is None else predictor.model
        self._named = self._model_source
        self._image: tuple[Image, ...] | None = None
        self._target: Labels | None = None
        self._options = dict(self.OPTIONS)
        self._views: dict[tuple[int, int], View] = {}
        self._current: View | None = None
        self._working: WorkingLayers | None = None
        self._runner: Runner = Inline()
        self._is_closed = False
        self._busy = False
        self._loading = False
        self._waiting: list[Callable[[], object]] = []
        self.set_options(**options)
        self.set_runner(run)
        if image is not None:
            self.set_image(image)
        if target is not None:
            self.set_target(target)

    # -- for the class that edits ----------------------------------------------------------------

    def _view_changed(self) -> None:
        """Another view, or none, is current."""

    def _redecode(self) -> None:
        """Decode the object in progress again."""

    def _connect_session(self, view: View) -> None:
        """Listen to a new session."""

    def _connect_working(self, working: WorkingLayers) -> None:
        """Listen to new working layers."""

    # -- model -----------------------------------------------------------------------------------

    @property
    def predictor(self) -> Predictor:
        """The predictor, with its cache of embeddings; loads the model if that is still to do."""
        if self._predictor is None:
            self._predictor = self._loaded(self._model_source)
        return self._predictor

    def _loaded(self, source: Any) -> Predictor:
        if not isinstance(source, Model):
            source = load_model(source, **{name: self._options[name] for name in _MODEL})
        return Predictor(source, self._options["cache"] or EmbeddingCache())

    @property
    def model(self) -> Model:
        """The model in use. Another can be set at any time, in mid-object too."""
        return self.predictor.model

    @model.setter
    def model(self, model: Any) -> None:
        self.set_model(model)

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there; the first prompt loads it."""
        return self._predictor is not None and not self._loading

    def set_model(self, model: Any = "default", *, predictor: Predictor | None = None) -> None:
        """Use another model; the object in progress keeps its prompts and is decoded anew.

        Parameters
        ----------
        model : str, path, or Model
            As for `load_model`. With a runner it is loaded by that, and the old one stays in use
            meanwhile.
        predictor : Predictor, optional
            Instead of a model.
        """
        self._named = model if predictor is None else predictor.model
        if predictor is not None:
            self._use(predictor)
        elif isinstance(model, Model):
            self._use(self._loaded(model))
        elif self._views:
            self._load(model)
        else:
            self._predictor, self._model_source = None, model
            self.model_changed.emit()

    def when_loaded(self, action: Callable[[], object]) -> None:
        """Do something that needs the model: now, or when the runner has loaded it."""
        if self.is_loaded or isinstance(self._runner, Inline):
            action()
            return
        self._waiting.append(action)
        if not self._loading:
            self._load(self._model_source)

    def _load(self, source: Any) -> None:
        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, Predictor]:
            yield Progress(0, 1, message="Loading the model")
            return self._loaded(source)

        def failed(error: BaseException) -> None:
            self._waiting.clear()
            self.report(error)

        def ended() -> None:
            self._loading = False
            self._set_busy(False)

        self._loading = True
        self._set_busy(True)
        self._runner.submit(job, Ears(self._use, failed, self.progressed.emit, ended))

    def _use(self, predictor: Predictor) -> None:
        self._loading = False
        self._predictor = predictor
        self._model_source = predictor.model
        for view in self._views.values():
            view.session.set_predictor(predictor)
        self.model_changed.emit()
        waiting, self._waiting = self._waiting, []
        self._redecode()
        for action in waiting:
            action()

    def report(self, error: BaseException) -> None:
        """Emit `failed`, or show a notification where nobody listens."""
        if len(self.failed):
            self.failed.emit(error)
            return
        from napari.utils.notifications import show_warning

        show_warning(str(error))

    @property
    def busy(self) -> bool:
        """Whether something is loaded or decoded."""
        return self._busy

    def _set_busy(self, busy: bool) -> None:
        if busy != self._busy:
            self._busy = busy
            self.busy_changed.emit(busy)

    # -- image and target ------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The (first) image layer in use; None before the first prompt."""
        return None if self._image is None else self._image[0]

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
        layers = None if image is None else layers_of_image(image)
        if layers == self._image:
            return
        if layers is not None:
            check_images(self.viewer, layers)
        self._drop_views()
        self._target = None
        self._bind_image(layers)
        self.layers_changed.emit()

    def _bind_image(self, layers: tuple[Image, ...] | None) -> None:
        for layer in self._image or ():
            layer.events.data.disconnect(self._on_image_data)
        if self._working is not None:
            self._working.close()
            self._working = None
        self._image = layers
        for layer in layers or ():
            layer.events.data.connect(self._on_image_data)

    def _on_image_data(self, event: Any = None) -> None:
        """Forget embeddings and history of pixels that are no more."""
        target = self.target
        self._drop_views()
        if self._working is not None:
            self._working.close()
            self._working = None
        self._target = target
        self.layers_changed.emit()

    @property
    def target(self) -> Labels | None:
        """The Labels layer that objects go to; None as long as it is still to be made."""
        return self._target

    @target.setter
    def target(self, layer: Labels | None) -> None:
        self.set_target(layer)

    def set_target(self, layer: Labels | None) -> None:
        """Write to another Labels layer; None makes a new one at the next commit.

        Raises
        ------
        ParameterError
            If it cannot be written to, or its pixels are not the image's.
        """
        if layer is not None and layer is self._target:
            return
        if layer is not None:
            layers = self._image or (default_image(self.viewer),)
            axes = axes_of(self.viewer, layers, self._options["channel_axis"])
            TargetSlot(self.viewer, layers[0], axes, layer)  # refuses what does not fit
        self._drop_views()
        self._target = layer
        self.layers_changed.emit()

    # -- options ---------------------------------------------------------------------------------

    @property
    def options(self) -> dict[str, Any]:
        """The options in use; see `OPTIONS`."""
        return dict(self._options)

    def set_options(self, **options: Any) -> None:
        """Change options, by the names of `OPTIONS`.

        "overwrite", "multimask", "min_mask_region_area" and "cache" act at once, "device" and
        "precision" load the model again; the others begin anew (what is committed stays in the
        labels).

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
        changed = {name for name, value in options.items() if value != self._options[name]}
        self._options.update(options)
        if changed & {*_MODEL, "cache"} and self._predictor is not None:
            if not changed & set(_MODEL):
                self._use(Predictor(self.model, self._options["cache"]))
            elif isinstance(self._named, Model):
                raise ParameterError("this model was given loaded; load it on the other device")
            else:
                self._load(self._named)
        if changed - {*_LIVE, *_MODEL, "cache"}:
            self._drop_views()
        live = {name: self._options[name] for name in _LIVE if name in changed}
        for view in self._views.values():
            for name, value in live.items():
                setattr(view.session, name, value)
        if live:
            self._redecode()

    def set_runner(self, run: str | Runner) -> None:
        """Choose where decoding runs: "sync", or a runner such as `Background`."""
        if isinstance(run, str) and run != "sync":
            raise ParameterError(f"run is 'sync' or a runner, not {run!r}")
        self._runner.close()
        self._runner = Inline() if isinstance(run, str) else run

    # -- the session of what is shown ------------------------------------------------------------

    @property
    def view(self) -> View:
        """The session on the planes that are shown, made if need be.

        Raises
        ------
        ImageError
            If there is no image, it was removed, or the viewer shows no plane of it.
        ParameterError
            If the target was removed or cannot be one.
        """
        if self._is_closed:
            raise ParameterError("this session was closed; attach to the viewer again")
        if self._image is None:
            self._bind_image((default_image(self.viewer),))
            self.layers_changed.emit()
        layers = self._image
        if layers is None:
            raise ImageError("choose an image first")
        check_images(self.viewer, layers)
        axes = axes_of(self.viewer, layers, self._options["channel_axis"])
        view = self._views.get(axes.displayed)
        if view is None:
            view = self._new_view(layers, axes)
            self._views[axes.displayed] = view
            self._connect_session(view)
        view.slot.check()
        if self._current is not view:
            self._current = view
            self._view_changed()
        return view

    def _new_view(self, layers: tuple[Image, ...], axes: ImageAxes) -> View:
        options = self._options
        source = source_of(
            layers,
            axes,
            channels=options["channels"],
            contrast_limits=options["contrast_limits"],
        )
        slot = TargetSlot(self.viewer, layers[0], axes, self._target, on_made=self._on_made)
        journal = options["journal"]
        if journal is not None and self._views:  # planes along other axes: a file of their own
            first = Path(journal)
            name = f"{first.stem}-axes-{axes.displayed[0]}-{axes.displayed[1]}{first.suffix}"
            journal = first.with_name(name)
        session = Session(
            self.predictor,
            source,
            slot,
            journal=journal,
            window_size=options["window_size"],
            **{name: options[name] for name in _LIVE},
        )
        return View(axes, slot, session)

    def _on_made(self, layer: Labels) -> None:
        """A new target was made: the other views write to it too."""
        self._target = layer
        for view in self._views.values():
            if view.slot.layer is None:
                view.slot.bind(layer)
        self.layers_changed.emit()

    @property
    def working(self) -> WorkingLayers:
        """The layers of the object in progress."""
        view = self.view
        image = self.image
        if image is None:
            raise ImageError("choose an image first")
        if self._working is None:
            self._working = WorkingLayers(self.viewer, image, view.axes)
            self._connect_working(self._working)
        self._working.axes = view.axes
        return self._working

    def _drop_views(self) -> None:
        if not self._views:
            return
        self._runner.cancel()
        for view in self._views.values():
            view.session.cancel()
        self._views.clear()
        self._current = None
        self._view_changed()
