"""Repeat a recorded session without a viewer, decoding every mask anew."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from ..checkpoints.catalogue import find_entry
from ..engine import EmbeddingCache, Model, PlaneSource, Predictor, load_model
from ..engine.policy import policy_difference
from ..errors import ImageError, ParameterError
from ..limits import ARRAY_BYTES, THREADS
from ..progress import Progress, finish
from .journal import Journal, model_record, recorded_objects
from .objects import SessionObject
from .recovery import at, check_image
from .session import Session
from .session_actions import ChangeModel, Decoded, Recovered
from .target import ArrayTarget

ModelSource: TypeAlias = Model | Callable[[Mapping[str, Any]], Model] | None


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """The result of `replay`.

    Parameters
    ----------
    labels : int array
        Axes as the image has them, without channels.
    objects : dict of int to SessionObject
    events, decoded : int
        Numbers of all events, and of those that decoded masks.
    differing_pixels : int
        Pixels that differ from the recorded labels.
    seconds : float
    model : dict
        Name, fingerprint and precision.
    policy_note : str or None
        How the policy that the masks were decoded by differs from the present one.
    """

    labels: np.ndarray
    objects: dict[int, SessionObject]
    events: int
    decoded: int
    differing_pixels: int
    seconds: float
    model: dict[str, Any]
    policy_note: str | None = None

    @property
    def identical(self) -> bool:
        """Whether the labels are the recorded ones."""
        return self.differing_pixels == 0


def recorded_model(recorded: Mapping[str, Any]) -> str:
    """Return the recorded name of a model, if that is in the catalogue.

    A journal may come from anybody, so it cannot make the program open a file or fetch a URL.

    Raises
    ------
    ParameterError
        If the name is not in the catalogue.
    """
    name = str(recorded["name"])
    if find_entry(name) is None:
        raise ParameterError(
            f"the journal was made with the model {name!r}, which has no name in the catalogue: "
            "give the model's file or URL yourself (model=, or --model)"
        )
    return name


def replay(
    path: str | os.PathLike[str],
    image: Any,
    model: ModelSource = None,
    *,
    labels: np.ndarray | None = None,
    other_image: bool = False,
    other_model: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> Replay:
    """Repeat everything in a journal, decoding every mask anew.

    On the same machine with the same model the labels are identical to the recorded ones.

    Parameters
    ----------
    path : path
        The journal.
    image : PlaneSource, array-like, or sequence of array-likes
        The image; axes and channels of an array (or of the levels of a pyramid) are as recorded.
    model : Model, or callable, optional
        The model, or a function of a recorded {"name", "fingerprint", "precision"} that returns
        it; by default it is loaded by its recorded name.
    labels : int array, optional
        The labels as they were before the session; required if there were any.
    other_image, other_model : bool
        Allow another image, or another model, than the recorded ones.
    on_progress : callable, optional
        Called with every Progress.

    Raises
    ------
    FormatError
        If the journal is damaged, or an event cannot be repeated.
    ImageError, ParameterError
        If it is another image, another model, or labels are missing.
    """
    steps = replay_steps(
        path, image, model, labels=labels, other_image=other_image, other_model=other_model
    )
    return finish(steps, on_progress)


def replay_steps(
    path: str | os.PathLike[str],
    image: Any,
    model: ModelSource = None,
    *,
    labels: np.ndarray | None = None,
    other_image: bool = False,
    other_model: bool = False,
) -> Generator[Progress, None, Replay]:
    """Do what `replay` does, as a generator of one Progress per event."""
    began = time.perf_counter()
    header, events = Journal.read(path)
    source = _source(header, image)
    if not other_image:
        check_image(header, source)
    shape, displayed = _layout(source)
    start = _initial(header, shape, labels)
    decoded = 0
    with ExitStack() as stack:
        stack.enter_context(_threads(int(header["model"].get("threads", 0))))
        models = _Predictors(model, other_model, stack)
        yield Progress(0, len(events), message="loading the model")
        predictor = models.get(header["model"])
        done = ArrayTarget(start.copy(), displayed=displayed)
        session = Session(predictor, source, done, **header["settings"])
        session.state.objects.begin_at(int(header["target"]["largest"]) + 1)
        for number, event in enumerate(events, start=1):
            yield Progress(number - 1, len(events), message="replaying")
            with at(session, event, number):
                action = event.action
                if isinstance(action, Decoded):
                    session.update()
                    decoded += 1
                elif isinstance(action, ChangeModel):
                    session.set_predictor(models.get(action.model))
                else:
                    session.repeat(event)
                    if isinstance(action, Recovered):
                        session.set_predictor(models.get(action.model))
        used = model_record(session.predictor)
    recorded = ArrayTarget(start, displayed=displayed)
    recorded_objects(events, recorded)
    return Replay(
        done.array,
        session.objects,
        len(events),
        decoded,
        int(np.count_nonzero(done.array != recorded.array)),
        time.perf_counter() - began,
        used,
        models.policy_note,
    )


def _source(header: Mapping[str, Any], image: Any) -> PlaneSource:
    if isinstance(image, PlaneSource):
        return image
    recorded = header["image"]
    several = isinstance(image, Sequence) and not hasattr(image, "shape")
    levels = list(image) if several else [image]
    count = int(recorded.get("levels", 1))
    if len(levels) < count:
        raise ImageError(
            f"the journal was made with a pyramid of {count} levels, this image has {len(levels)}; "
            "masks would differ"
        )
    shape = tuple(recorded["shape"])
    if tuple(levels[0].shape) != shape:
        raise ImageError(
            f"this is another image than the recorded one: its shape is {tuple(levels[0].shape)}, "
            f"not {shape}"
        )
    channels = recorded["channels"]
    return PlaneSource(
        levels[:count],
        displayed=tuple(recorded["displayed"]),
        channel_axis=recorded["channel_axis"],
        rgb=recorded["rgb"],
        channels=None if channels is None else tuple(channels),
        contrast_limits=recorded["contrast_limits"],
        name=recorded["name"],
        path=recorded["path"],
    )


def _layout(source: PlaneSource) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Return shape and displayed axes of an image's labels: those of the image without channels."""
    colour = len(source.data_shape) - 1 if source.rgb else source.channel_axis
    axes = [axis for axis in range(len(source.data_shape)) if axis != colour]
    row, col = (axes.index(axis) for axis in source.displayed)
    return tuple(source.data_shape[axis] for axis in axes), (row, col)


def _initial(
    header: Mapping[str, Any], shape: tuple[int, ...], labels: np.ndarray | None
) -> np.ndarray:
    """Return the labels as they were before the session, checked against the journal."""
    recorded = header["target"]
    dtype = np.dtype(recorded["dtype"])
    ARRAY_BYTES.check(
        math.prod(shape) * dtype.itemsize, "the journal's labels are too large for a replay"
    )
    if labels is None:
        if int(recorded["largest"]) > 0:
            raise ParameterError(
                "there were labels before the session began; give them, as they were, as labels"
            )
        return np.zeros(shape, dtype)
    given = np.asarray(labels)
    wanted = tuple(n for n in shape if n > 1)
    if tuple(n for n in given.shape if n > 1) != wanted:
        raise ParameterError(f"the labels have shape {given.shape}, the image needs {shape}")
    if int(given.max(initial=0)) != int(recorded["largest"]):
        raise ParameterError(
            f"the largest label is {int(given.max(initial=0))}, when the session began it was "
            f"{recorded['largest']}; give the labels as they were then"
        )
    return given.reshape(shape).astype(dtype)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with a number of threads, since the rounding of sums depends on it."""
    THREADS.check(count, "the journal asks for too many threads", ParameterError)
    before = torch.get_num_threads()
    if count > 0 and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


class _Predictors:
    """Makes a predictor for each recorded model, once."""

    def __init__(self, model: ModelSource, other: bool, stack: ExitStack) -> None:
        self._model, self._other, self._stack = model, other, stack
        self._made: dict[tuple[str, ...], Predictor] = {}
        self.policy_note: str | None = None

    def get(self, recorded: Mapping[str, Any]) -> Predictor:
        key = tuple(str(recorded[name]) for name in ("fingerprint", "precision", "embeddings"))
        model = self._made[key].model if key in self._made else self._load(recorded)
        self.policy_note = self.policy_note or policy_difference(recorded.get("policy"), model)
        if key in self._made:
            return self._made[key]
        if not self._other:
            for name in ("fingerprint", "precision"):
                found = getattr(model, name)
                if found != recorded[name]:
                    raise ParameterError(
                        f"the journal was made with the model {recorded['name']} ({name} "
                        f"{recorded[name][:12]}), not with {model.name} ({found[:12]}); its masks "
                        "would differ. Choose that model, or allow another one"
                    )
        cache = None
        if recorded["embeddings"] == "half":  # a cache on disk rounds embeddings
            folder = self._stack.enter_context(tempfile.TemporaryDirectory())
            cache = EmbeddingCache(folder)
        self._made[key] = Predictor(model, cache)
        return self._made[key]

    def _load(self, recorded: Mapping[str, Any]) -> Model:
        if isinstance(self._model, Model):
            return self._model
        if self._model is not None:
            return self._model(recorded)
        return load_model(recorded_model(recorded), precision=recorded["precision"])
