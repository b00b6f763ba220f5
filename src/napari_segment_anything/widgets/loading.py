"""Models for the widgets: loaded off the Qt thread, and shared while any widget uses one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ..engine import EmbeddingCache, Model, Predictor
from ..progress import Progress

_lock = threading.Lock()
_predictors: WeakValueDictionary[tuple[Any, ...], Predictor] = WeakValueDictionary()


def model_names() -> list[str]:
    """Return the names that models have, in the order in which to show them."""
    from ..checkpoints import catalogue

    return list(catalogue())


def is_at_hand(source: str) -> bool:
    """Whether a model comes with the package or was downloaded before."""
    from ..checkpoints import cache_directory
    from ..checkpoints.catalogue import find_entry

    entry = find_entry(source)
    if entry is None or entry.embedded:
        return True
    return any(cache_directory().rglob(entry.file))


def embedding_cache(engine: Mapping[str, Any]) -> EmbeddingCache:
    """Return the cache of embeddings that the settings ask for."""
    from ..checkpoints import cache_directory

    if engine["cache_gigabytes"] <= 0:
        return EmbeddingCache()
    folder = engine["cache_directory"]
    where = cache_directory() / "embeddings" if folder is None else Path(folder).expanduser()
    return EmbeddingCache(where, disk_bytes=int(engine["cache_gigabytes"] * 2**30))


class _Stopped(Exception):
    """A download is not wanted any more."""


def load_predictor(
    engine: Mapping[str, Any],
    cancelled: Callable[[], bool] = lambda: False,
    report: Callable[[Progress], object] = lambda progress: None,
) -> Generator[Progress, None, Predictor | None]:
    """Load the model that the settings name; on any thread.

    Parameters
    ----------
    engine : mapping
        The settings' section of that name.
    cancelled : callable
        Asked during a download.
    report : callable
        Takes the Progress of a download.

    Yields
    ------
    Progress
        Before each step that takes time.

    Returns
    -------
    Predictor or None
        None if it was cancelled.

    Raises
    ------
    CheckpointError, DownloadError, ParameterError, ResourceError
        As `load_model`.
    """
    names = ("model", "device", "precision", "cache_directory", "cache_gigabytes")
    key = tuple(engine[name] for name in names)
    with _lock:
        found = _predictors.get(key)
    if found is not None:
        return found
    source = engine["model"]
    yield Progress(0, 1, message=f"loading {Path(source).name}")
    from ..checkpoints import load_checkpoint
    from ..engine import choose_device, choose_precision

    where = choose_device(engine["device"])
    choose_precision(engine["precision"], where)

    def fetching(step: Progress) -> None:
        if cancelled():
            raise _Stopped
        report(step)

    try:
        checkpoint = load_checkpoint(source, progress=fetching)
    except _Stopped:
        return None
    yield Progress(1, 1, message="preparing")
    model = Model.from_checkpoint(checkpoint, where, engine["precision"])
    predictor = Predictor(model, embedding_cache(engine))
    with _lock:
        return _predictors.setdefault(key, predictor)
