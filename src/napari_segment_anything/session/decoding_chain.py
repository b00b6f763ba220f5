"""Decoding of drafts: in which window, which earlier mask is refined, which results are kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from ..engine import (
    Ask,
    Embedding,
    EmbeddingKey,
    EmbeddingStore,
    PlaneSource,
    Predictor,
    Segmenter,
    Views,
    Window,
)
from .decoding import (
    DecodedObject,
    DecodeItem,
    DecodeRequest,
    DecodeResult,
    Preview,
    PreviewObject,
)
from .draft import Draft, DraftPoint, lookup
from .objects import ObjectPrompts
from .precompute import WindowList
from .schema import Plane, Point
from .settings import SessionSettings

CAPACITY = 1 << 27
"""Bytes of masks and logits that are kept."""


class DecodedResults(dict[int, DecodeResult]):
    """Results by the draft's revision; the oldest are dropped when they take too much memory.

    What is kept depends only on the results, so that a replay finds the same ones.
    """

    def add(self, result: DecodeResult) -> None:
        """Keep a result."""
        self[result.revision] = result
        while len(self) > 1 and sum(kept.nbytes for kept in self.values()) > CAPACITY:
            del self[next(iter(self))]

    def same(self, plane: tuple[int, ...], prompts: ObjectPrompts) -> Iterator[DecodedObject]:
        """Yield objects decoded from the same prompts on a plane, the latest first."""
        for result in reversed(self.values()):
            if result.plane == plane:
                yield from (item for item in result.objects if item.prompts == prompts)


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
        cache, known = self.predictor.cache, []
        if cache is not None and cache.directory is not None:
            if plane not in self._precomputed:
                model = self.predictor.model
                self._precomputed[plane] = WindowList(cache, self.source, plane, model)
            known = self._precomputed[plane].around(prompts.extent())
        return self.plan.window(prompts, current, known)

    def next_window(self, before: Draft, after: Draft) -> Window | None:
        """Return the window of a changed draft: the same as before, as long as it fits."""
        prompts = after.objects().get(0)
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
            for key, prompts in draft.objects().items()
            if prompts.decodable and lookup(draft.painted, key) is None
        }
        if not wanted:
            return None
        items: list[DecodeItem] = []
        fed_by = None
        for key, prompts in wanted.items():
            reuse = next(self.results.same(draft.plane, prompts), None) if draft.batch else None
            window = draft.window
            if window is None or draft.batch:
                window = self.plan.window(prompts) if reuse is None else reuse.asked
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
        result, last = self.results.get(draft.revision), self._shown
        if last is not None and last[0] is draft and last[1] is result:
            return last[2]
        preview = None
        decoded = {} if result is None else {item.key: item for item in result.objects}
        shown = []
        for key, prompts in draft.objects().items():
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
                shown.append(PreviewObject.of(found, chosen))
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
        return not any(prompts.decodable for prompts in after.objects().values())
