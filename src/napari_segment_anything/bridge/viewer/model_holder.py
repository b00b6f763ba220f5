"""The model of a viewer's session: loaded when needed, where its worker runs jobs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import numpy as np

from ...engine import EmbeddingCache, Model, Predictor, Prompts, load_model
from ...errors import DownloadError, ParameterError, SegmentAnythingError
from ...progress import Progress, following
from .runners import ActionQueue, JobCallbacks, Kind, Worker
from .signals import ViewerSignals

DEVICE = {"device": "auto", "precision": "auto"}


class ModelHolder:
    """Loads a model when it is first needed, and keeps the one in use until another is there.

    Parameters
    ----------
    signals : ViewerSignals
    worker : Worker
        Where a model is loaded.
    queue : ActionQueue
        What waits for it.
    source : str, path, or Model
        As for `load_model`.
    predictor : Predictor, optional
        Instead of a model.
    """

    OPTIONS: dict[str, Any] = {**DEVICE, "cache": None}  # noqa: RUF012 - never changed

    def __init__(
        self,
        signals: ViewerSignals,
        worker: Worker,
        queue: ActionQueue,
        source: Any = "default",
        predictor: Predictor | None = None,
    ) -> None:
        self.options = dict(self.OPTIONS)
        self.taken: Callable[[Predictor], object] = lambda predictor: None
        """Called with a predictor before `model_changed` is emitted."""
        self.settled: Callable[[], object] = lambda: None
        """Called when loading has ended, with a new model or the one in use."""
        self._signals, self._worker, self._queue = signals, worker, queue
        self._predictor = predictor
        self._named = self._wanted = source if predictor is None else predictor.model
        self._coming: Any = None
        self._loaded_with: dict[str, Any] = {}
        self.is_loading = False
        """Whether a model is being loaded, perhaps downloaded."""

    @property
    def predictor(self) -> Predictor:
        """The predictor with its cache of embeddings; loads the model if necessary."""
        if self._predictor is None:
            self._take(self._wanted, self._loaded(self._wanted))
        if self._predictor is None:
            raise ParameterError("the model is not there")
        return self._predictor

    @property
    def model(self) -> Model:
        """The model in use. It can be changed at any time, even while an object is in progress."""
        return self.predictor.model

    @model.setter
    def model(self, model: Any) -> None:
        self.set_model(model)

    @property
    def source(self) -> str | None:
        """Name or path of the model in use, or of the first to load; None if it has neither."""
        source = self._wanted if self._predictor is None else self._named
        return None if isinstance(source, Model) else str(source)

    @property
    def is_loaded(self) -> bool:
        """Whether the model is loaded; the first prompt loads it."""
        return self._predictor is not None and not self.is_loading

    def set_model(self, model: Any = "default", *, predictor: Predictor | None = None) -> None:
        """Use another model; the object in progress keeps its prompts and is decoded again.

        The model in use stays until the other one is loaded, or if loading fails.

        Parameters
        ----------
        model : str, path, or Model
            As for `load_model`. A runner loads it in the background; `model_failed` is
            emitted if that fails.
        predictor : Predictor, optional
            Instead of a model.
        """
        if predictor is not None:
            self._use(predictor.model, predictor)
        elif isinstance(model, Model):
            self._use(model, self._loaded(model))
        elif self._predictor is not None or self.is_loading:
            self._load(model)
        else:
            self._wanted = model
            self._signals.model_changed.emit()

    def configure(self, **options: Any) -> None:
        """Change `OPTIONS`: "device" and "precision" load the model again.

        Raises
        ------
        ParameterError
            If the device is changed, but the model in use was passed as an object.
        """
        changed = {name for name, value in options.items() if value != self.options[name]}
        self.options.update(options)
        if not changed or self._predictor is None:
            return
        if changed == {"cache"}:
            self._use(self._named, Predictor(self._predictor.model, self.options["cache"]))
        elif isinstance(self._named, Model):
            raise ParameterError(
                "this model was passed as an object; load it on the other device and pass that"
            )
        else:
            self._load(self._named)

    # -- what waits for the model ----------------------------------------------------------------

    def when_loaded(self, action: Callable[[], object]) -> None:
        """Run an action that needs the model: now, or when it is loaded."""
        self.ask(action, "other")

    def ask(self, action: Callable[[], object], kind: Kind) -> None:
        """Run an action that needs the model, after all earlier actions."""
        if not self.can_act() and not self.is_loading:
            self._load(self._wanted)
        self._queue.ask(action, self.can_act, kind)

    def can_act(self) -> bool:
        """Whether what needs the model can run now: it is loaded, or will be loaded on the spot."""
        return self._worker.inline or (self._predictor is not None and not self.is_loading)

    # -- loading ---------------------------------------------------------------------------------

    def _loaded(self, source: Any, report: Callable[[Progress], object] | None = None) -> Predictor:
        if not isinstance(source, Model):
            options = {name: self.options[name] for name in DEVICE}
            source = load_model(source, progress=report, **options)
        return Predictor(source, self.options["cache"] or EmbeddingCache())

    def _load(self, source: Any) -> None:
        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, Predictor]:
            first = Progress(0, 1, message="Loading the model")
            if self._worker.inline:
                yield first
                predictor = self._loaded(source, self._signals.progressed.emit)
            else:
                predictor = yield from following(partial(self._loaded, source), first)
                yield Progress(0, 1, message="Preparing the model")
                _warm_up(predictor.model)
            return predictor

        def ended() -> None:
            self.is_loading = False
            self._worker.idle()

        self.is_loading, self._coming = True, source
        progressed = self._signals.progressed.emit
        callbacks = JobCallbacks(
            partial(self._use, source), partial(self._failed, source), progressed, ended
        )
        try:
            self._worker.submit(job, callbacks)
        except SegmentAnythingError:
            self.options.update(self._loaded_with)
            raise

    def stop_loading(self) -> None:
        """Stop loading or downloading a model; the one in use stays.

        Loading of the embedded model is not stopped, as there may be no other.
        """
        if self.is_loading and self._coming != "default":
            self._worker.cancel()
            self.is_loading = False
            self._worker.idle()
            kept = "stopped; the download is resumed the next time"
            self._failed(self._coming, DownloadError(kept))

    def _failed(self, source: Any, error: BaseException) -> None:
        """Report that a model could not be loaded, and use the present or the embedded one."""
        self.is_loading = False
        more = True
        if self._predictor is not None:
            self.options.update(self._loaded_with)
        elif source != "default":
            self._wanted = "default"
        else:
            more = any(self.options[name] != value for name, value in DEVICE.items())
            self.options.update(DEVICE)
        told = len(self._signals.model_failed) > 0
        self._signals.model_failed.emit(str(source), error)
        if not told:
            self._signals.report(error)
        if self._predictor is not None:
            self.settled()
            self._queue.go()
        elif more:
            self._load("default")
        else:
            self._queue.drop("prompt", "edit", "other")

    def _use(self, source: Any, predictor: Predictor) -> None:
        self.is_loading = False
        self._take(source, predictor)
        self.taken(predictor)
        self._signals.model_changed.emit()
        self.settled()
        self._queue.go()

    def _take(self, source: Any, predictor: Predictor) -> None:
        self._predictor = predictor
        self._wanted = self._named = source
        self._loaded_with = {name: self.options[name] for name in DEVICE}


def _warm_up(model: Model) -> None:
    """Run a model once: the first pass chooses kernels and allocates memory."""
    predictor = Predictor(model)
    embedding = predictor.embed(np.zeros((16, 16), np.uint8), contrast_limits=(0, 1))
    predictor.predict(embedding, Prompts.from_points([[8, 8]]))
