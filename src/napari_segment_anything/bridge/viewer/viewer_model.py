"""The model of a viewer's session: loaded when needed, where its runner runs things."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from psygnal import Signal

from ...engine import EmbeddingCache, Model, Predictor, Prompts, load_model
from ...errors import DownloadError, ParameterError, SegmentAnythingError
from ...progress import Progress, following
from .asked import Asked, Kind
from .runners import Ears, Inline, Runner

MODEL_OPTIONS = ("device", "precision")


def _warm_up(model: Model) -> None:
    """Run a model once: kernels are chosen and memory is taken at the first pass."""
    predictor = Predictor(model)
    embedding = predictor.embed(np.zeros((16, 16), np.uint8), contrast_limits=(0, 1))
    predictor.predict(embedding, Prompts.from_points([[8, 8]]))


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user should know; without a text, that it is no longer so.

    Parameters
    ----------
    topic, text : str
        A notice replaces the one before it on the same topic.
    action : (str, callable), optional
        What can be done about it.
    """

    topic: str
    text: str = ""
    action: tuple[str, Callable[[], object]] | None = None


class ModelHolder:
    """Options, signals, and the model; see `ViewerSession`."""

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
    committed = Signal(tuple)
    """`commit_when_decoded` has committed: emits the labels."""
    history_changed = Signal()
    """What can be undone or redone changed."""
    layers_changed = Signal()
    """Another image or target is in use."""
    model_changed = Signal()
    """Another model is in use."""
    model_failed = Signal(str, object)
    """A model could not be loaded: emits its name or path, and the exception."""
    busy_changed = Signal(bool)
    """Decoding began or ended."""
    progressed = Signal(object)
    """Emits every Progress."""
    failed = Signal(object)
    """Emits an exception that came from the canvas or from another thread."""
    noticed = Signal(object)
    """Emits a `Notice`: something that the user should know until it is dealt with."""
    click_ignored = Signal(str)
    """A click was no prompt: emits why."""
    plane_changed = Signal()
    """Another plane is shown."""
    closed = Signal()
    """The session let go of its viewer."""

    _runner: Runner
    _predictor: Predictor | None
    _wanted: Any
    _named: Any
    _options: dict[str, Any]
    _busy = False
    _loading = False
    _coming: Any = None

    def __init__(self) -> None:
        self._asked = Asked()
        self._loaded_with: dict[str, Any] = {}

    def _redecode(self) -> None:
        """Decode the object in progress again."""

    def _take_predictor(self, predictor: Predictor) -> None:
        """Give another predictor to the sessions there are."""

    # -- model -----------------------------------------------------------------------------------

    @property
    def predictor(self) -> Predictor:
        """The predictor, with its cache of embeddings; loads the model if that is still to do."""
        if self._predictor is None:
            self._take(self._wanted, self._loaded(self._wanted))
        if self._predictor is None:
            raise ParameterError("the model is not there")
        return self._predictor

    def _loaded(self, source: Any, report: Callable[[Progress], object] | None = None) -> Predictor:
        if not isinstance(source, Model):
            options = {name: self._options[name] for name in MODEL_OPTIONS}
            source = load_model(source, progress=report, **options)
        return Predictor(source, self._options["cache"] or EmbeddingCache())

    @property
    def model(self) -> Model:
        """The model in use. Another can be set at any time, in mid-object too."""
        return self.predictor.model

    @model.setter
    def model(self, model: Any) -> None:
        self.set_model(model)

    @property
    def model_source(self) -> str | None:
        """Name or path of the model in use, or of the one to load first; None if it has none."""
        source = self._wanted if self._predictor is None else self._named
        return None if isinstance(source, Model) else str(source)

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there; the first prompt loads it."""
        return self._predictor is not None and not self._loading

    def set_model(self, model: Any = "default", *, predictor: Predictor | None = None) -> None:
        """Use another model; the object in progress keeps its prompts and is decoded anew.

        The model in use stays in use until the other one is loaded, and if that fails.

        Parameters
        ----------
        model : str, path, or Model
            As for `load_model`. With a runner it is loaded by that; failure is told by
            `model_failed`.
        predictor : Predictor, optional
            Instead of a model.
        """
        if predictor is not None:
            self._use(predictor.model, predictor)
        elif isinstance(model, Model):
            self._use(model, self._loaded(model))
        elif self._predictor is not None or self._loading:
            self._load(model)
        else:
            self._wanted = model
            self.model_changed.emit()

    def when_loaded(self, action: Callable[[], object]) -> None:
        """Do something that needs the model: now, or when the runner has loaded it."""
        self._ask(action, "other")

    def _ask(self, action: Callable[[], object], kind: Kind) -> None:
        """Do something that needs the model after all that was asked for before."""
        if not self._can_act() and not self._loading:
            self._load(self._wanted)
        self._asked.ask(action, self._can_act, kind)

    def in_order(self, action: Callable[[], object]) -> None:
        """Do something after all that waits for the model or for a mask; now, if nothing does."""
        self._asked.ask(action)

    def _can_act(self) -> bool:
        return self.is_loaded or isinstance(self._runner, Inline)

    def _load(self, source: Any) -> None:
        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, Predictor]:
            first = Progress(0, 1, message="Loading the model")
            if isinstance(self._runner, Inline):
                yield first
                predictor = self._loaded(source, self.progressed.emit)
            else:
                predictor = yield from following(partial(self._loaded, source), first)
                yield Progress(0, 1, message="Preparing the model")
                _warm_up(predictor.model)
            return predictor

        def loaded(predictor: Predictor) -> None:
            self._use(source, predictor)

        def ended() -> None:
            self._loading = False
            self._set_busy(False)

        self._loading, self._coming = True, source
        self._set_busy(True)
        ears = Ears(loaded, partial(self._not_loaded, source), self.progressed.emit, ended)
        try:
            self._runner.submit(job, ears)
        except SegmentAnythingError:
            self._options.update(self._loaded_with)
            raise

    @property
    def is_loading(self) -> bool:
        """Whether a model is being loaded, perhaps downloaded."""
        return self._loading

    def stop_loading(self) -> None:
        """Stop a download, or the loading of a model; the one in use stays.

        The embedded model is loaded to its end: without it there may be none.
        """
        if self._loading and self._coming != "default":
            self._runner.cancel()
            self._loading = False
            self._set_busy(False)
            kept = "stopped; what was downloaded is kept, and continued the next time"
            self._not_loaded(self._coming, DownloadError(kept))

    def _not_loaded(self, source: Any, error: BaseException) -> None:
        """Go on with the model in use, else with the embedded one; tell that another failed."""
        self._loading = False
        plain = {name: self.OPTIONS[name] for name in MODEL_OPTIONS}
        more = True
        if self._predictor is not None:
            self._options.update(self._loaded_with)
        elif source != "default":
            self._wanted = "default"
        else:
            more = any(self._options[name] != value for name, value in plain.items())
            self._options.update(plain)
        told = len(self.model_failed) > 0
        self.model_failed.emit(str(source), error)
        if not told:
            self.report(error)
        if self._predictor is not None:
            self._redecode()
            self._asked.go()
        elif more:
            self._load("default")
        else:
            self._asked.drop("prompt", "edit", "other")

    def _use(self, source: Any, predictor: Predictor) -> None:
        self._loading = False
        self._take(source, predictor)
        self._take_predictor(predictor)
        self.model_changed.emit()
        self._redecode()
        self._asked.go()

    def _take(self, source: Any, predictor: Predictor) -> None:
        self._predictor = predictor
        self._wanted = self._named = source
        self._loaded_with = {name: self._options[name] for name in MODEL_OPTIONS}

    def notice(self, notice: Notice) -> None:
        """Emit `noticed`, or show a notification where nobody listens."""
        if len(self.noticed):
            self.noticed.emit(notice)
        elif notice.text:
            from napari.utils.notifications import show_warning

            show_warning(notice.text)

    def report(self, error: BaseException) -> None:
        """Emit `failed`, or show a notification where nobody listens."""
        if len(self.failed):
            self.failed.emit(error)
            return
        from napari.utils.notifications import show_warning

        show_warning(str(error))

    @property
    def waiting(self) -> bool:
        """Whether prompts or commits wait for the model, or for a mask."""
        return self._asked.users > 0

    @property
    def busy(self) -> bool:
        """Whether something is loaded or decoded."""
        return self._busy

    def _set_busy(self, busy: bool) -> None:
        if busy != self._busy:
            self._busy = busy
            self.busy_changed.emit(busy)
