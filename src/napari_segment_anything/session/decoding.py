"""Decoding a snapshot of prompts: the part that takes time, on any thread."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..engine import Ask, Embedding, PlaneSource, Predictor, Segmenter, View, Window
from ..errors import ParameterError
from ..progress import Progress
from .objects import ObjectPrompts
from .preview import DecodedObject, Preview, PreviewObject


@dataclass(frozen=True, slots=True, eq=False)
class DecodeItem:
    """One object to decode: its prompts, its window, and logits to refine, if any."""

    key: int
    prompts: ObjectPrompts
    window: Window
    feed: np.ndarray | None = None
    feed_view: View | None = None
    reuse: DecodedObject | None = None

    def start(self, request: DecodeRequest) -> View:
        """Return the first view: that of the mask to refine, or the best one for its box."""
        return request.segmenter.first_view(self.ask(), request.source.shape)

    def ask(self) -> Ask:
        """Return the prompts as the segmenter takes them."""
        return self.prompts.ask(self.window, self.feed, self.feed_view)


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """A snapshot of everything that decoding needs; made by `Session.request`.

    Parameters
    ----------
    revision : int
        Of the draft; negative for a look at what a point would give.
    plane : tuple of int
    items : tuple of DecodeItem
    segmenter : Segmenter
    source : PlaneSource
    fed_by : int or None
        The revision whose masks are refined.
    epoch : int
        Changes with the model and the settings.
    """

    revision: int
    plane: tuple[int, ...]
    items: tuple[DecodeItem, ...]
    segmenter: Segmenter
    source: PlaneSource
    fed_by: int | None = None
    epoch: int = 0

    @property
    def predictor(self) -> Predictor:
        """The predictor that decodes."""
        return self.segmenter.predictor


@dataclass(frozen=True, slots=True, eq=False)
class DecodeResult:
    """The result of `decode`.

    Parameters
    ----------
    revision : int
        Of the draft it belongs to.
    plane : tuple of int
    fingerprint : str
        Of the model.
    objects : tuple of DecodedObject
    fed_by : int or None
    seconds : float
        Computing time.
    epoch : int
    """

    revision: int
    plane: tuple[int, ...]
    fingerprint: str
    objects: tuple[DecodedObject, ...]
    fed_by: int | None = None
    seconds: float = 0.0
    epoch: int = 0

    def preview(self) -> Preview:
        """Return the masks as a preview, each object's best candidate chosen."""
        return Preview(
            self.revision,
            self.plane,
            tuple(PreviewObject(item, item.best, None) for item in self.objects),
        )


class EmbeddingStore:
    """Embeddings of the windows used last; threads may share it.

    Parameters
    ----------
    capacity : int
        How many are kept.
    """

    def __init__(self, capacity: int = 24) -> None:
        if capacity < 1:
            raise ParameterError("an embedding store holds at least one embedding")
        self._capacity = capacity
        self._items: OrderedDict[tuple[Any, ...], Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, request: DecodeRequest, view: View) -> Embedding:
        """Return the embedding of a view, encoding it if it is not there."""
        key = self._key(request, view)
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
                return found
        embedding = request.predictor.embed(
            request.source.image(request.plane),
            window=view.window,
            span=view.span,
            **request.source.embed_arguments(request.plane),
        )
        with self._lock:
            self._items[key] = embedding
            while len(self._items) > self._capacity:
                self._items.popitem(last=False)
        return embedding

    def has(self, request: DecodeRequest, view: View) -> bool:
        """Whether a view is encoded."""
        with self._lock:
            return self._key(request, view) in self._items

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._items.clear()

    def __len__(self) -> int:
        return len(self._items)

    @staticmethod
    def _key(request: DecodeRequest, view: View) -> tuple[Any, ...]:
        model = request.predictor.model
        return (model.fingerprint, model.precision, request.plane, view)


def decode(
    request: DecodeRequest,
    store: EmbeddingStore,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Progress, None, DecodeResult | None]:
    """Decode a request. Changes only the store; several threads may run it.

    Parameters
    ----------
    request : DecodeRequest
        From `Session.request`.
    store : EmbeddingStore
        Where embeddings are kept.
    cancelled : callable
        Asked before every step that costs time.

    Yields
    ------
    Progress
        Before every step.

    Returns
    -------
    DecodeResult or None
        None if it was cancelled.
    """
    began = time.perf_counter()
    done: dict[int, DecodedObject] = {
        item.key: replace(item.reuse, key=item.key) for item in request.items if item.reuse
    }
    waiting = [item for item in request.items if item.reuse is None]
    asks = [item.ask() for item in waiting]
    found = yield from request.segmenter.steps(
        _Plane(request, store), asks, cancelled, peek=request.revision < 0
    )
    if found is None:
        return None
    for item, each in zip(waiting, found, strict=True):
        # logits of a batch would be large, and nobody goes on with them
        logits = each.logits if len(request.items) == 1 else None
        done[item.key] = DecodedObject(
            item.key, item.prompts, each.asked, each.window,
            each.masks, each.scores, each.best, logits, each.view,
        )  # fmt: skip
    return DecodeResult(
        request.revision,
        request.plane,
        request.predictor.model.fingerprint,
        tuple(done[item.key] for item in request.items),
        request.fed_by,
        time.perf_counter() - began,
        request.epoch,
    )


class _Plane:
    """The plane of a request, as the segmenter takes it."""

    def __init__(self, request: DecodeRequest, store: EmbeddingStore) -> None:
        self._request, self._store = request, store

    @property
    def shape(self) -> tuple[int, int]:
        return self._request.source.shape

    def __call__(self, view: View) -> Embedding:
        return self._store.get(self._request, view)

    def has(self, view: View) -> bool:
        return self._store.has(self._request, view)
