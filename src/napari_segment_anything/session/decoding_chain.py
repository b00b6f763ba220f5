"""Decoding of drafts: in which window, which earlier mask is refined, which results are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..engine import PlaneSource, Predictor, Segmenter, View, Window
from .decoding import DecodeItem, DecodeRequest, DecodeResult, Embeddings
from .draft import Draft, lookup
from .objects import ObjectPrompts
from .precompute import WindowList
from .preview import DecodedObject, Preview, PreviewObject
from .schema import Plane, Point
from .settings import SessionSettings

CAPACITY = 1 << 27


class DecodedResults:
    """Results by the draft's revision; the oldest are dropped when they take too much memory.

    What is kept depends only on the results, so that a replay finds the same ones.

    Parameters
    ----------
    capacity : int
        Bytes of masks and logits.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._items: OrderedDict[int, DecodeResult] = OrderedDict()
        self._used = 0

    def add(self, result: DecodeResult) -> None:
        """Keep a result."""
        self._items[result.revision] = result
        self._used += result.nbytes
        while self._used > self._capacity and len(self._items) > 1:
            _, dropped = self._items.popitem(last=False)
            self._used -= dropped.nbytes

    def get(self, revision: int) -> DecodeResult | None:
        """Return a result, or None."""
        return self._items.get(revision)

    def same(self, plane: tuple[int, ...], prompts: ObjectPrompts) -> Iterator[DecodedObject]:
        """Yield objects decoded from the same prompts on a plane, the latest first."""
        for result in reversed(self._items.values()):
            if result.plane == plane:
                yield from (item for item in result.objects if item.prompts == prompts)

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()
        self._used = 0


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
        self.results = DecodedResults()
        self.store = Embeddings()
        self._prepare(predictor, settings)
        self._shown: tuple[Draft, DecodeResult | None, Preview | None] | None = None
        self._epoch = 0
        self._revisions = 0
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

    def next_revision(self) -> int:
        """Return a new number for a draft whose masks have to be decoded."""
        self._revisions += 1
        return self._revisions

    def window_of(self, plane: Plane, prompts: ObjectPrompts) -> Window:
        """Return the first window of an object: a precomputed one, if one fits."""
        return self.plan.window(prompts, None, self._known(plane, prompts))

    def next_window(self, before: Draft, after: Draft) -> Window | None:
        """Return the window of a changed draft: the same as before, as long as it fits."""
        prompts = after.objects().get(0)
        if after.batch or prompts is None:
            return before.window
        result = self.results.get(before.revision)
        current = result.objects[0].asked if result and result.objects else before.window
        return self.plan.window(prompts, current, self._known(after.plane, prompts))

    def request(self, draft: Draft | None) -> DecodeRequest | None:
        """Return a snapshot of what has to be decoded for a draft; None if nothing has."""
        if draft is None or self.results.get(draft.revision):
            return None
        wanted = {
            key: prompts
            for key, prompts in draft.objects().items()
            if prompts.decodable and lookup(draft.painted, key) is None
        }
        if not wanted:
            return None
        feed, view, fed_by = self._feed(draft)
        items: list[DecodeItem] = []
        for key, prompts in wanted.items():
            reuse = next(self.results.same(draft.plane, prompts), None) if draft.batch else None
            window = draft.window
            if window is None or draft.batch:
                window = self.plan.window(prompts) if reuse is None else reuse.asked
            items.append(DecodeItem(key, prompts, prompts.ask(window, feed, view), reuse))
        return DecodeRequest(
            draft.revision, draft.plane, tuple(items), self._segmenter, self.source, fed_by,
            self._epoch,
        )  # fmt: skip

    def hover_request(self, plane: Plane, point: Point) -> DecodeRequest:
        """Return a request for the mask under a point, which changes nothing."""
        prompts = ObjectPrompts((point,), (True,))
        item = DecodeItem(0, prompts, prompts.ask(self.window_of(plane, prompts)))
        return DecodeRequest(-1, plane, (item,), self._segmenter, self.source, None, self._epoch)

    def is_encoded(self, request: DecodeRequest) -> bool:
        """Whether a request needs the mask decoder only, which is fast."""
        views = request.views(self.store)
        return all(
            item.reuse or views.find(self.plan.first_view(item.ask)) for item in request.items
        )

    def _known(self, plane: Plane, prompts: ObjectPrompts) -> list[Window]:
        """Return precomputed windows around prompts."""
        cache = self.predictor.cache
        if cache is None or cache.directory is None:
            return []
        if plane not in self._precomputed:
            model = self.predictor.model
            self._precomputed[plane] = WindowList(cache, self.source, plane, model)
        return self._precomputed[plane].around(prompts.extent())

    def _feed(self, draft: Draft) -> tuple[np.ndarray | None, View | None, int | None]:
        """Return the logits to refine: of the latest mask of some of these prompts, if any."""
        nothing = (None, None, None)
        if draft.batch or draft.masks:
            return nothing
        for revision, candidate in reversed(draft.ancestors):
            result = self.results.get(revision)
            if result is None or not result.objects:
                continue
            item = result.objects[0]
            if item.logits is None or item.view is None or item.asked != draft.window:
                return nothing
            chosen = item.best if candidate is None else min(candidate, len(item.masks) - 1)
            ask = draft.objects()[0].ask()
            if item.masks[chosen].empty or not ask.fits(item.view.window):
                return nothing
            return item.logits[chosen], item.view, revision
        return nothing

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

    def preview(self, draft: Draft | None) -> Preview | None:
        """Return the masks of a draft; None as long as they are not decoded."""
        if draft is None:
            return None
        result = self.results.get(draft.revision)
        last = self._shown
        if last is None or last[0] is not draft or last[1] is not result:
            last = self._shown = (draft, result, self._preview(draft, result))
        return last[2]

    def _preview(self, draft: Draft, result: DecodeResult | None) -> Preview | None:
        decoded = {} if result is None else {item.key: item for item in result.objects}
        shown = []
        for key, prompts in draft.objects().items():
            painted, found = lookup(draft.painted, key), decoded.get(key)
            if painted is not None:
                if found is None:
                    window = painted.window
                    found = DecodedObject(key, prompts, window, window, (painted,), (), 0)
                shown.append(PreviewObject(found, found.best, painted))
            elif found is not None:
                chosen = lookup(draft.candidates, key)
                if chosen is None or chosen >= len(found.masks):
                    chosen = found.best
                shown.append(PreviewObject(found, chosen, None))
            elif prompts.decodable:
                return None
        return Preview(draft.revision, draft.plane, tuple(shown)) if shown else None

    def shows_other(self, before: Draft | None, after: Draft | None) -> bool:
        """Whether a change of drafts changes the preview at once, before anything is decoded."""
        if after is None or before is None or after.plane != before.plane:
            return True
        if self.results.get(after.revision) or after.painted != before.painted:
            return True
        return not any(prompts.decodable for prompts in after.objects().values())
