"""From a snapshot of prompts to masks: the part that takes time, on any thread."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..engine import (
    Embedding,
    Focus,
    PlaneSource,
    Predictor,
    Prompts,
    View,
    Window,
    binarise,
    mask_logits,
    prompted_parts,
)
from ..engine.focus import around
from ..engine.view import STEADY
from ..errors import ParameterError
from ..progress import Progress
from .cleaning import clean
from .objects import ObjectPrompts
from .planning import grown
from .preview import DecodedObject, Preview, PreviewObject
from .regions import Cutout

BATCH = 16
"""Objects decoded between two places where a run can be stopped."""


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
        """Where to decode first: where its mask came from, from where its box is seen best."""
        whole = View(self.window)
        if self.feed_view is not None:
            return self.feed_view
        box, focus = self.prompts.box, request.focus
        if focus is None or box is None:
            return whole
        return _view(request, self.prompts, box, whole)


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """A snapshot of all that decoding needs; made by `Session.request`.

    Parameters
    ----------
    revision : int
        Of the draft; negative for a look at what a point would give.
    plane : tuple of int
    items : tuple of DecodeItem
    predictor : Predictor
    source : PlaneSource
    multimask : "auto" or bool
    min_mask_region_area : float
    fed_by : int or None
        The revision whose masks are refined.
    epoch : int
        Changes with the model and the settings.
    focused : bool
        Whether objects may be looked at from closer or from farther; not if the user chose how
        large windows are.
    """

    revision: int
    plane: tuple[int, ...]
    items: tuple[DecodeItem, ...]
    predictor: Predictor
    source: PlaneSource
    multimask: Any
    min_mask_region_area: float
    fed_by: int | None = None
    epoch: int = 0
    focused: bool = True

    @property
    def focus(self) -> Focus | None:
        """Sizes that the model wants to see objects at; None if it is not to be asked."""
        return self.predictor.model.focus if self.focused else None


@dataclass(frozen=True, slots=True, eq=False)
class DecodeResult:
    """What `decode` returns.

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
    """Decode a request. Touches nothing but the store; several threads may run it.

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
    waiting = [(item, item.start(request)) for item in request.items if item.reuse is None]
    work = _Work(request, store, cancelled, len(waiting))
    if not (yield from work.decode(waiting, done)):
        return None
    again = []
    for item, view in waiting:
        better = _better(request, item, view, done[item.key])
        # a look at what a point would give never encodes
        if better != view and (request.revision >= 0 or store.has(request, better)):
            again.append((replace(item, feed=None, feed_view=None), better))
    if not (yield from work.decode(again, done, "encoding closer to the objects")):
        return None
    if request.revision >= 0 and not (yield from work.farther([i for i, _ in waiting], done)):
        return None
    if len(waiting) == 1:
        only = waiting[0][0]
        wider = _wider(request, done[only.key])
        if wider is not None:
            item = replace(only, window=wider, feed=None, feed_view=None)
            message = "encoding a larger window"
            if not (yield from work.decode([(item, View(wider))], done, message)):
                return None
    return DecodeResult(
        request.revision,
        request.plane,
        request.predictor.model.fingerprint,
        tuple(done[item.key] for item in request.items),
        request.fed_by,
        time.perf_counter() - began,
        request.epoch,
    )


class _Work:
    """Decodes objects view by view."""

    def __init__(
        self,
        request: DecodeRequest,
        store: EmbeddingStore,
        cancelled: Callable[[], bool],
        total: int,
    ) -> None:
        self.request, self.store, self.cancelled, self.total = request, store, cancelled, total
        self.count = 0

    def decode(
        self,
        items: Sequence[tuple[DecodeItem, View]],
        done: dict[int, DecodedObject],
        message: str = "encoding",
    ) -> Generator[Progress, None, bool]:
        """Put decoded objects into `done`; says whether it came to its end."""
        self.total = max(self.total, self.count + len(items))
        for view in dict.fromkeys(view for _, view in items):
            here = [item for item, place in items if place == view]
            encoded = self.store.has(self.request, view)
            yield Progress(self.count, self.total, message="decoding" if encoded else message)
            if self.cancelled():
                return False
            embedding = self.store.get(self.request, view)
            for start in range(0, len(here), BATCH):
                yield Progress(self.count, self.total, message="decoding")
                if self.cancelled():
                    return False
                part = here[start : start + BATCH]
                for item in _decode(self.request, embedding, view, part):
                    done[item.key] = item
                self.count += len(part)
        return True

    def farther(
        self, items: Sequence[DecodeItem], done: dict[int, DecodedObject]
    ) -> Generator[Progress, None, bool]:
        """Look from farther away for objects whose points gave nothing sure."""
        focus, side = self.request.focus, self.request.predictor.model.image_size
        for item in items:
            decoded = done[item.key]
            if focus is None or item.prompts.box is not None or item.feed is not None:
                continue
            if decoded.view is None or decoded.scores[decoded.best] >= focus.unsure:
                continue
            points, labels = item.prompts.all_points()
            positive = np.asarray(points, np.float64).reshape(-1, 2)[np.asarray(labels, bool)]
            if not len(positive):
                continue
            shape, first = self.request.source.shape, View(item.window)
            for view in focus.farther(positive.mean(axis=0), shape, side, first):
                if view.side <= decoded.view.side or not view.holds(around(positive)):
                    continue
                tried: dict[int, DecodedObject] = {}
                if not (yield from self.decode([(item, view)], tried, "looking from farther away")):
                    return False
                new, box = tried[item.key], _extent(tried[item.key])
                old = done[item.key]
                if focus.believes(box, new.scores[new.best], side, view, old.scores[old.best]):
                    done[item.key] = new
        return True


def _extent(decoded: DecodedObject) -> tuple[float, float, float, float] | None:
    """Outermost pixels of an object's best mask."""
    window = decoded.masks[decoded.best].window
    if window is None:
        return None
    return (
        float(window.row),
        float(window.col),
        float(window.row + window.height - 1),
        float(window.col + window.width - 1),
    )


def _better(request: DecodeRequest, item: DecodeItem, view: View, decoded: DecodedObject) -> View:
    """From where an object is seen better than it was; the same view if there is nothing to say."""
    box = _extent(decoded)
    if request.focus is None or box is None or item.prompts.box is not None:
        return view
    # an object that was looked at before is not moved for a little more or less
    slack = 1.0 if item.feed is None else STEADY
    return _view(request, item.prompts, box, view, slack)


def _view(
    request: DecodeRequest,
    prompts: ObjectPrompts,
    box: Sequence[float],
    current: View,
    slack: float = 1.0,
) -> View:
    if request.focus is None:
        return current
    points, labels = prompts.all_points()
    positive = np.asarray(points, np.float64).reshape(-1, 2)[np.asarray(labels, bool)]
    held = around(np.asarray(box, np.float64), positive)
    side = request.predictor.model.image_size
    return request.focus.view(held, request.source.shape, side, current, slack)


def _wider(request: DecodeRequest, decoded: DecodedObject) -> Window | None:
    cut = decoded.masks[decoded.best]
    if cut.window is None:
        return None
    shape, window = request.source.shape, decoded.window
    touching = 0
    for edge, line in (
        (cut.window.row == window.row > 0, cut.mask[0]),
        (cut.window.col == window.col > 0, cut.mask[:, 0]),
        (
            cut.window.row + cut.window.height == window.row + window.height < shape[0],
            cut.mask[-1],
        ),
        (
            cut.window.col + cut.window.width == window.col + window.width < shape[1],
            cut.mask[:, -1],
        ),
    ):
        touching += int(np.count_nonzero(line)) if edge else 0
    return grown(window, cut.window, touching, decoded.prompts, shape)


def _decode(
    request: DecodeRequest, embedding: Embedding, view: View, items: Sequence[DecodeItem]
) -> Iterable[DecodedObject]:
    for several in (True, False):
        chosen = [item for item in items if _several(request, item) is several]
        if chosen:
            yield from _decode_alike(request, embedding, view, chosen, several)


def _several(request: DecodeRequest, item: DecodeItem) -> bool:
    """Whether the candidates for ambiguous prompts come first (or alone)."""
    if request.multimask == "auto":
        return item.prompts.ambiguous and item.feed is None
    return bool(request.multimask)


def _decode_alike(
    request: DecodeRequest,
    embedding: Embedding,
    view: View,
    items: Sequence[DecodeItem],
    several: bool,
) -> Iterable[DecodedObject]:
    # not ambiguous, but a choice all the same: the mask for such prompts first, then the three
    all_four = not several and request.multimask == "auto"
    entries = [_entry(item, embedding) for item in items]
    prompts = Prompts.from_objects(entries).within(embedding.window)
    logits, scores = request.predictor.decode(
        embedding, prompts, multimask=several or all_four, return_all=all_four
    )
    count = int(scores.shape[1])
    threshold = request.predictor.model.mask_threshold
    iou = scores.cpu().numpy()
    for index, item in enumerate(items):
        masks = binarise(logits[index], embedding, threshold)
        cleaned = [clean(mask, request.min_mask_region_area) for mask in masks]
        if request.predictor.model.prompted_parts_only:
            cleaned = [_prompted(mask, item, embedding.window) for mask in cleaned]
        cuts = tuple(Cutout.of(mask, embedding.window) for mask in cleaned)
        values = tuple(float(value) for value in iou[index])
        order = [0] if all_four and not cuts[0].empty else range(count)
        best = max(order, key=lambda i: (not cuts[i].empty, values[i], -i))
        low = logits[index].cpu().numpy() if len(request.items) == 1 else None
        yield DecodedObject(
            item.key, item.prompts, item.window, embedding.window, cuts, values, best, low, view
        )


def _prompted(mask: np.ndarray, item: DecodeItem, window: Window) -> np.ndarray:
    points, labels = item.prompts.all_points()
    origin = np.array([window.row, window.col])
    box = item.prompts.box
    if box is not None:
        box = tuple(np.asarray(box) - np.tile(origin, 2))  # type: ignore[assignment]
    places = np.asarray(points, np.float64).reshape(-1, 2) - origin
    return prompted_parts(mask, places, np.asarray(labels, bool), box)


def _entry(item: DecodeItem, embedding: Embedding) -> dict[str, Any]:
    points, labels = item.prompts.all_points()
    entry: dict[str, Any] = {}
    if points:
        entry["points"], entry["labels"] = points, [int(label) for label in labels]
    if item.prompts.box is not None:
        entry["box"] = item.prompts.box
    if item.feed is not None:
        entry["mask"] = item.feed
    elif item.prompts.mask is not None:
        region = item.prompts.mask
        entry["mask"] = mask_logits(region.cutout.within(embedding.window), embedding)
        if item.prompts.box is None and not any(labels):
            # a mask alone says too little to the network: it never met one in training
            window = region.window
            entry["box"] = (
                window.row - 0.5,
                window.col - 0.5,
                window.row + window.height - 0.5,
                window.col + window.width - 0.5,
            )
    return entry
