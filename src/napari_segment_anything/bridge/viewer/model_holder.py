"""The model of a viewer's session: loaded when needed, where its worker runs jobs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import numpy as np

from ...engine import EmbeddingCache, Model, Predictor, Prompts, load_model
from ...errors import DownloadError, ParameterError, SegmentAnythingError
from ...progress import Progress, following
from .action_queue import ActionQueue, Kind
from .runners import Ears, Worker
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
        """Called with a predictor before anybody is told of it."""
        self.settled: Callable[[], object] = lambda: None
        """Called when a model was loaded, or the one in use stays."""
        self._signals, self._worker, self._queue = signals, worker, queue
        self._predictor = predictor
        self._named = self._wanted = source if predictor is None else predictor.model
        self._coming: Any = None
        self._loaded_with: dict[str, Any] = {}
        self.is_loading = False
        """Whether a model is being loaded, perhaps downloaded."""

    @property
    def predictor(self) -> Predictor:
        """The predictor, with its cache of embeddings; loads the model if that is still to do."""
        if self._predictor is None:
            self._take(self._wanted, self._loaded(self._wanted))
        if self._predictor is None:
            raise ParameterError("the model is not there")
        return self._predictor

    @property
    def model(self) -> Model:
        """The model in use. Another can be set at any time, in mid-object too."""
        return self.predictor.model

    @model.setter
    def model(self, model: Any) -> None:
        self.set_model(model)

    @property
    def source(self) -> str | None:
        """Name or path of the model in use, or of the one to load first; None if it has none."""
        source = self._wanted if self._predictor is None else self._named
        return None if isinstance(source, Model) else str(source)

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there; the first prompt loads it."""
        return self._predictor is not None and not self.is_loading

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
            If the model in use was given loaded, and is to be on another device.
        """
        changed = {name for name, value in options.items() if value != self.options[name]}
        self.options.update(options)
        if not changed or self._predictor is None:
            return
        if changed == {"cache"}:
            self._use(self._named, Predictor(self._predictor.model, self.options["cache"]))
        elif isinstance(self._named, Model):
            raise ParameterError("this model was given loaded; load it on the other device")
        else:
            self._load(self._named)

    # -- what waits for the model ----------------------------------------------------------------

    def when_loaded(self, action: Callable[[], object]) -> None:
        """Do something that needs the model: now, or when it is loaded."""
        self.ask(action, "other")

    def ask(self, action: Callable[[], object], kind: Kind) -> None:
        """Do something that needs the model after all that was asked for before."""
        if not self.can_act() and not self.is_loading:
            self._load(self._wanted)
        self._queue.ask(action, self.can_act, kind)

    def can_act(self) -> bool:
        """Whether what needs the model can be done now: it is there, or loaded on the spot."""
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
            self._worker.rest()

        self.is_loading, self._coming = True, source
        progressed = self._signals.progressed.emit
        ears = Ears(partial(self._use, source), partial(self._failed, source), progressed, ended)
        try:
            self._worker.submit(job, ears)
        except SegmentAnythingError:
            self.options.update(self._loaded_with)
            raise

    def stop_loading(self) -> None:
        """Stop a download, or the loading of a model; the one in use stays.

        The embedded model is loaded to its end: without it there may be none.
        """
        if self.is_loading and self._coming != "default":
            self._worker.cancel()
            self.is_loading = False
            self._worker.rest()
            kept = "stopped; what was downloaded is kept, and continued the next time"
            self._failed(self._coming, DownloadError(kept))

    def _failed(self, source: Any, error: BaseException) -> None:
        """Go on with the model in use, else with the embedded one; tell that another failed."""
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
    """Run a model once: kernels are chosen and memory is taken at the first pass."""
    predictor = Predictor(model)
    embedding = predictor.embed(np.zeros((16, 16), np.uint8), contrast_limits=(0, 1))
    predictor.predict(embedding, Prompts.from_points([[8, 8]]))
