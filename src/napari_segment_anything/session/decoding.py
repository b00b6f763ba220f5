"""Decoding of drafts: what is asked for, decoding itself, on any thread, and the masks it gives."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from ..engine import (
    Ask,
    Embedding,
    EmbeddingKey,
    EmbeddingStore,
    PlacedMask,
    PlaneSource,
    Predictor,
    Segmenter,
    View,
    Views,
    Window,
)
from ..engine.segmenter import BATCH
from ..progress import Progress
from .objects import Draft, DraftPoint, ObjectPrompts, lookup
from .precompute import WindowList
from .schema import Plane, Point
from .settings import SessionSettings

CAPACITY = 1 << 27
"""Bytes of masks and logits that are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedObject:
    """Masks of one object.

    Parameters
    ----------
    key : int
        The draft's key.
    prompts : ObjectPrompts
        What was decoded.
    asked, window : Window
        The window of the request, and the pixels that the masks were decoded in.
    masks : tuple of PlacedMask
        A mask for each candidate.
    scores : tuple of float
        Predicted IoU of each.
    best : int
        Index of the candidate that is used unless another is chosen.
    logits : float32 array (candidates, 4h, 4w) or None
        Low-resolution masks, which the next prompt refines; None in a batch.
    view : View or None
        From where they were decoded; None for a mask drawn by hand.
    """

    key: int
    prompts: ObjectPrompts
    asked: Window
    window: Window
    masks: tuple[PlacedMask, ...]
    scores: tuple[float, ...]
    best: int
    logits: np.ndarray | None = None
    view: View | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreviewObject:
    """An object in progress as it would be committed.

    Parameters
    ----------
    decoded : DecodedObject
    chosen : int
        Index of the candidate that is used.
    mask : PlacedMask
        What a commit writes: the candidate, or a mask drawn by hand.
    score : float or None
        Predicted IoU; None for a mask drawn by hand.
    """

    decoded: DecodedObject
    chosen: int
    mask: PlacedMask
    score: float | None

    @property
    def key(self) -> int:
        """The draft's key."""
        return self.decoded.key


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Masks of the draft.

    Parameters
    ----------
    revision : int
    plane : tuple of int
    objects : tuple of PreviewObject
        In the order of the draft's keys; at least one.
    """

    revision: int
    plane: tuple[int, ...]
    objects: tuple[PreviewObject, ...]
    extent: Window | None = field(init=False)
    """The smallest window that holds every mask; None if all are empty."""
    window: Window = field(init=False)
    """Where the masks lie: a single object's window, or what holds every mask of a batch."""

    def __post_init__(self) -> None:
        masks = [item.mask.window for item in self.objects if not item.mask.empty]
        extent, window = None, self.objects[0].decoded.window
        if masks:
            extent = reduce(Window.union, masks)
            window = extent.union(window) if len(self.objects) == 1 else extent
        object.__setattr__(self, "extent", extent)
        object.__setattr__(self, "window", window)

    @property
    def mask(self) -> np.ndarray:
        """All objects together: bool (height, width) of `window`."""
        return self.labels > 0

    @property
    def labels(self) -> np.ndarray:
        """Object number 1, 2, ... in the order of `objects`: int32 (height, width) of `window`.

        Where two overlap, the higher score is in front.
        """
        return self.labels_in(self.window)

    def labels_in(self, window: Window) -> np.ndarray:
        """Return the `labels` of another window: int32 (height, width)."""
        result = np.zeros(window.shape, np.int32)
        for index in np.argsort([item.score or 0.0 for item in self.objects], kind="stable"):
            self.objects[index].mask.paste(result, index + 1, window.row, window.col)
        return result

    @property
    def candidates(self) -> np.ndarray:
        """Every candidate of the first object: bool (c, height, width) of `window`."""
        window = self.window
        return np.stack([mask.within(window) for mask in self.objects[0].decoded.masks])

    @property
    def scores(self) -> tuple[float, ...]:
        """Predicted IoU of the first object's candidates."""
        return self.objects[0].decoded.scores

    @property
    def chosen(self) -> int:
        """Index of the first object's candidate that is shown."""
        return self.objects[0].chosen

    @property
    def score(self) -> float | None:
        """Predicted IoU of what is shown of the first object; None if it was drawn by hand."""
        return self.objects[0].score


@dataclass(frozen=True, slots=True, eq=False)
class DecodeItem:
    """One object to decode: its prompts, also as the segmenter takes them.

    Parameters
    ----------
    key : int
    prompts : ObjectPrompts
    ask : Ask
        With the window to decode in, and logits to refine, if any.
    reuse : DecodedObject, optional
        Masks of the same prompts, which need not be decoded again.
    """

    key: int
    prompts: ObjectPrompts
    ask: Ask
    reuse: DecodedObject | None = None


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
    views : Views
        The plane, with embeddings by view.
    fed_by : int or None
        The revision whose masks are refined.
    epoch : int
        Changes with the model and the settings.
    """

    revision: int
    plane: tuple[int, ...]
    items: tuple[DecodeItem, ...]
    segmenter: Segmenter
    views: Views
    fed_by: int | None = None
    epoch: int = 0

    @property
    def is_encoded(self) -> bool:
        """Whether it needs the mask decoder only, which is fast."""
        plan = self.segmenter.plan(self.views.shape)
        return all(item.reuse or self.views.find(plan.first_view(item.ask)) for item in self.items)


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
    nbytes: int = field(init=False)
    """Of masks and logits."""

    def __post_init__(self) -> None:
        bits = sum(len(mask.bits) for item in self.objects for mask in item.masks)
        logits = sum(item.logits.nbytes for item in self.objects if item.logits is not None)
        object.__setattr__(self, "nbytes", bits + logits)

    def preview(self) -> Preview:
        """Return the masks as a preview, each object's best candidate chosen."""
        shown = [
            PreviewObject(item, item.best, item.masks[item.best], item.scores[item.best])
            for item in self.objects
        ]
        return Preview(self.revision, self.plane, tuple(shown))


def decode(
    request: DecodeRequest, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Progress, None, DecodeResult | None]:
    """Decode a request, on any thread; several may run at a time.

    Parameters
    ----------
    request : DecodeRequest
        From `Session.request` or `Session.hover_request`.
    cancelled : callable
        Asked before every step that takes time.

    Yields
    ------
    Progress
        Before every step.

    Returns
    -------
    DecodeResult or None
        For `Session.accept`; None if it was cancelled.
    """
    began = time.perf_counter()
    done: dict[int, DecodedObject] = {
        item.key: replace(item.reuse, key=item.key) for item in request.items if item.reuse
    }
    waiting = [item for item in request.items if item.reuse is None]
    found = yield from request.segmenter.steps(
        request.views,
        [item.ask for item in waiting],
        cancelled,
        peek=request.revision < 0,
    )
    if found is None:
        return None
    for number, (item, each) in enumerate(zip(waiting, found, strict=True)):
        if number and number % BATCH == 0:
            yield Progress(number, len(waiting), message="drawing")
            if cancelled():
                return None
        # logits of a batch would be large, and nobody goes on with them
        logits = each.logits if len(request.items) == 1 else None
        done[item.key] = DecodedObject(
            item.key, item.prompts, each.asked, each.window,
            each.masks, each.scores, each.best, logits, each.view,
        )  # fmt: skip
    return DecodeResult(
        request.revision,
        request.plane,
        request.segmenter.predictor.model.fingerprint,
        tuple(done[item.key] for item in request.items),
        request.fed_by,
        time.perf_counter() - began,
        request.epoch,
    )


class DecodingChain:
    """Decodes a session's drafts, each refining the masks of earlier ones.

    Parameters
    ----------
    predictor : Predictor
    source : PlaneSource
        The image.
    settings : SessionSettings
    """

    def __init__(
        self, predictor: Predictor, source: PlaneSource, settings: SessionSettings
    ) -> None:
        self.source = source
        self.results: dict[int, DecodeResult] = {}
        """By the draft's revision, the latest last."""
        self.store = EmbeddingStore[EmbeddingKey, Embedding]()
        self.revisions = itertools.count(1)
        """Numbers for drafts whose masks have to be decoded."""
        self._prepare(predictor, settings)
        self._shown: tuple[Draft, DecodeResult | None, Preview | None] | None = None
        self._epoch = 0
        self._precomputed: dict[Plane, WindowList] = {}

    def _prepare(self, predictor: Predictor, settings: SessionSettings) -> None:
        segmenter = Segmenter(
            predictor,
            multimask=settings.multimask,
            min_mask_region_area=settings.min_mask_region_area,
            window_size=settings.window_size,
        )
        self.predictor, self.settings, self._segmenter = predictor, settings, segmenter
        self.plan = segmenter.plan(self.source.shape)

    def use(self, predictor: Predictor) -> None:
        """Decode with another model from now on."""
        self._prepare(predictor, self.settings)
        self._precomputed.clear()
        self.forget()

    def configure(self, settings: SessionSettings) -> bool:
        """Change the settings; return whether masks have to be decoded anew."""
        anew = replace(settings, overwrite=False) != replace(self.settings, overwrite=False)
        self._prepare(self.predictor, settings)
        if anew:
            self.forget()
        return anew

    def forget(self) -> None:
        """Drop all results; those of running requests will not be accepted."""
        self._epoch += 1
        self._shown = None
        self.results.clear()
        self.store.clear()

    # -- what to decode --------------------------------------------------------------------------

    def window_of(
        self, plane: Plane, prompts: ObjectPrompts, current: Window | None = None
    ) -> Window:
        """Return the first window of an object: its current or a precomputed one, if one fits."""
        ask, cache, known = prompts.ask(), self.predictor.cache, []
        if cache is not None and cache.directory is not None:
            if plane not in self._precomputed:
                model = self.predictor.model
                self._precomputed[plane] = WindowList(cache, self.source, plane, model)
            known = self._precomputed[plane].around(ask.extent())
        return self.plan.window(ask, current, known)

    def next_window(self, before: Draft, after: Draft) -> Window | None:
        """Return the window of a changed draft: the same as before, as long as it fits."""
        prompts = after.prompts.get(0)
        if after.batch or prompts is None:
            return before.window
        result = self.results.get(before.revision)
        current = result.objects[0].asked if result and result.objects else before.window
        return self.window_of(after.plane, prompts, current)

    def request(self, draft: Draft | None) -> DecodeRequest | None:
        """Return a snapshot of what has to be decoded for a draft; None if nothing has."""
        if draft is None or self.results.get(draft.revision):
            return None
        wanted = {
            key: prompts
            for key, prompts in draft.prompts.items()
            if prompts.decodable and lookup(draft.painted, key) is None
        }
        if not wanted:
            return None
        items: list[DecodeItem] = []
        fed_by = None
        for key, prompts in wanted.items():
            reuse = self._decoded(draft.plane, prompts) if draft.batch else None
            window = draft.window
            if window is None or draft.batch:
                window = self.plan.window(prompts.ask()) if reuse is None else reuse.asked
            ask, fed_by = self._fed(draft, prompts.ask(window))
            items.append(DecodeItem(key, prompts, ask, reuse))
        views = Views(self.predictor, self.source, plane=draft.plane, store=self.store)
        return DecodeRequest(
            draft.revision, draft.plane, tuple(items), self._segmenter, views, fed_by, self._epoch
        )

    def hover_request(self, plane: Plane, point: Point) -> DecodeRequest:
        """Return a request for the mask under a point, which changes nothing."""
        window = self.window_of(plane, ObjectPrompts((point,), (True,)))
        draft = Draft(plane, -1, points=(DraftPoint(point, True, 0),), window=window)
        return self.request(draft)  # type: ignore[return-value] # a point can be decoded

    def _fed(self, draft: Draft, ask: Ask) -> tuple[Ask, int | None]:
        """Add the logits to refine, of the latest mask of some of the prompts, if there is one."""
        ancestors = () if draft.batch or draft.masks else draft.ancestors
        for revision, candidate in reversed(ancestors):
            result = self.results.get(revision)
            if result is None or not result.objects:
                continue
            item = result.objects[0]
            if item.logits is None or item.view is None or item.asked != draft.window:
                break
            chosen = item.best if candidate is None else min(candidate, len(item.masks) - 1)
            if item.masks[chosen].empty or not ask.fits(item.view.window):
                break
            return replace(ask, feed=item.logits[chosen], feed_view=item.view), revision
        return ask, None

    def _decoded(self, plane: Plane, prompts: ObjectPrompts) -> DecodedObject | None:
        """Return an object that was decoded from the same prompts on a plane, the latest one."""
        results = [each for each in reversed(self.results.values()) if each.plane == plane]
        same = (item for each in results for item in each.objects if item.prompts == prompts)
        return next(same, None)

    # -- what was decoded ------------------------------------------------------------------------

    def accepts(self, draft: Draft | None, result: DecodeResult | None) -> bool:
        """Whether a result belongs to a draft, is not stale, and was not accepted before."""
        return (
            result is not None
            and draft is not None
            and result.revision == draft.revision
            and result.epoch == self._epoch
            and self.results.get(result.revision) is None
        )

    def keep(self, result: DecodeResult) -> None:
        """Keep a result; the oldest are dropped when all take too much memory.

        What is kept depends only on the results, so that a replay finds the same ones.
        """
        self.results[result.revision] = result
        while len(self.results) > 1 and sum(r.nbytes for r in self.results.values()) > CAPACITY:
            del self.results[next(iter(self.results))]

    def preview(self, draft: Draft | None) -> Preview | None:
        """Return the masks of a draft; None as long as they are not decoded."""
        if draft is None:
            return None
        result, last = self.results.get(draft.revision), self._shown
        if last is not None and last[0] is draft and last[1] is result:
            return last[2]
        preview = None
        decoded = {} if result is None else {item.key: item for item in result.objects}
        shown = []
        for key, prompts in draft.prompts.items():
            painted, found = lookup(draft.painted, key), decoded.get(key)
            if painted is not None:
                if found is None:
                    window = painted.window
                    found = DecodedObject(key, prompts, window, window, (painted,), (), 0)
                shown.append(PreviewObject(found, found.best, painted, None))
            elif found is not None:
                chosen = lookup(draft.candidates, key)
                if chosen is None or chosen >= len(found.masks):
                    chosen = found.best
                shown.append(
                    PreviewObject(found, chosen, found.masks[chosen], found.scores[chosen])
                )
            elif prompts.decodable:
                break
        else:
            if shown:
                preview = Preview(draft.revision, draft.plane, tuple(shown))
        self._shown = (draft, result, preview)
        return preview

    def shows_other(self, before: Draft | None, after: Draft | None) -> bool:
        """Whether a change of drafts changes the preview at once, before anything is decoded."""
        if after is None or before is None or after.plane != before.plane:
            return True
        if self.results.get(after.revision) or after.painted != before.painted:
            return True
        return not any(prompts.decodable for prompts in after.prompts.values())
