"""The model of a viewer's session: loaded when needed, where its runner runs things."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, ClassVar

import numpy as np
from psygnal import Signal

from ..engine import EmbeddingCache, Model, Predictor, Prompts, load_model
from ..progress import Progress
from .runners import Ears, Inline, Runner

MODEL_OPTIONS = ("device", "precision")


def _warm_up(model: Model) -> None:
    """Run a model once: kernels are chosen and memory is taken at the first pass."""
    predictor = Predictor(model)
    embedding = predictor.embed(np.zeros((16, 16), np.uint8), contrast_limits=(0, 1))
    predictor.predict(embedding, Prompts.from_points([[8, 8]]))


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
    click_ignored = Signal(str)
    """A click was no prompt: emits why."""
    plane_changed = Signal()
    """Another plane is shown."""
    closed = Signal()
    """The session let go of its viewer."""

    _runner: Runner
    _predictor: Predictor | None
    _model_source: Any
    _named: Any
    _options: dict[str, Any]
    _busy = False
    _loading = False

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def _redecode(self) -> None:
        """Decode the object in progress again."""

    def _take_predictor(self, predictor: Predictor) -> None:
        """Give another predictor to the sessions there are."""

    def _is_in_use(self) -> bool:
        """Whether there are sessions."""
        return False

    # -- model -----------------------------------------------------------------------------------

    @property
    def predictor(self) -> Predictor:
        """The predictor, with its cache of embeddings; loads the model if that is still to do."""
        if self._predictor is None:
            self._predictor = self._loaded(self._model_source)
        return self._predictor

    def _loaded(self, source: Any) -> Predictor:
        if not isinstance(source, Model):
            source = load_model(source, **{name: self._options[name] for name in MODEL_OPTIONS})
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
        elif self._is_in_use():
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
            predictor = self._loaded(source)
            if not isinstance(self._runner, Inline):
                yield Progress(0, 1, message="Preparing the model")
                _warm_up(predictor.model)
            return predictor

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
        self._take_predictor(predictor)
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
