"""From the object in progress to its preview."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np
import numpy.typing as npt

from ..engine import Segmenter, View, Window
from ..engine.focus import around
from ..engine.planning import choose_window, default_size
from ..errors import PromptError
from ..progress import Progress, finish
from .decoding import DecodeItem, DecodeRequest, DecodeResult, decode
from .draft import Draft, lookup
from .drafting import Drafting
from .objects import ObjectPrompts, as_point
from .preview import DecodedObject, Preview, PreviewObject
from .regions import window_json


class Predicting(Drafting):
    """Masks of a session; see `Session`."""

    def request(self) -> DecodeRequest | None:
        """Return a snapshot of what has to be decoded; None if nothing has."""
        draft = self._draft
        if draft is None or draft.revision in self._results:
            return None
        wanted = {
            key: prompts
            for key, prompts in draft.objects().items()
            if prompts.decodable and lookup(draft.painted, key) is None
        }
        if not wanted:
            return None
        feed, fed_by = self._feed(draft)
        items: list[DecodeItem] = []
        for key, prompts in wanted.items():
            reuse = next(self._results.same(draft.plane, prompts), None) if draft.batch else None
            window = draft.window
            if window is None or draft.batch:
                window = self._window(prompts) if reuse is None else reuse.asked
            logits, where = feed if feed is not None else (None, None)
            items.append(DecodeItem(key, prompts, window, logits, where, reuse))
        return self._make_request(draft.revision, draft.plane, items, fed_by)

    def hover_request(self, plane: Sequence[int], point: npt.ArrayLike) -> DecodeRequest:
        """Return a request for the mask under a point, which changes nothing.

        Raises
        ------
        PromptError
            If the point lies outside the image.
        """
        where = self.source.check_plane(plane)
        prompts = ObjectPrompts((as_point(point, self.source.shape),), (True,))
        window = self._window(prompts, self._embedded(where, prompts))
        item = DecodeItem(0, prompts, window)
        return self._make_request(-1, where, [item], None)

    def is_encoded(self, request: DecodeRequest) -> bool:
        """Whether a request needs the mask decoder only, which is fast."""
        return all(
            item.reuse is not None or self._store.has(request, item.start(request))
            for item in request.items
        )

    def decode(
        self, request: DecodeRequest, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[Progress, None, DecodeResult | None]:
        """Decode a request; on any thread, and several at a time.

        Parameters
        ----------
        request : DecodeRequest
            From `request` or `hover_request`.
        cancelled : callable
            Asked before every step that costs time.

        Yields
        ------
        Progress
            Before every step.

        Returns
        -------
        DecodeResult or None
            For `accept`; None if it was cancelled.
        """
        return decode(request, self._store, cancelled)

    def accept(self, result: DecodeResult | None) -> bool:
        """Take over what was decoded.

        Returns
        -------
        bool
            False if it is stale: prompts, model or settings have changed since, or it was but a
            look (`hover_request`).
        """
        draft = self._draft
        if result is None or draft is None or result.revision != draft.revision:
            return False
        if result.epoch != self._epoch or result.revision in self._results:
            return False
        self._record(
            {
                "do": "decode",
                "revision": result.revision,
                "fed_by": result.fed_by,
                "objects": [
                    [item.key, window_json(item.asked), list(item.scores), item.best]
                    for item in result.objects
                ],
                "seconds": round(result.seconds, 6),
            }
        )
        self._results.add(result)
        self.events.preview_changed.emit()
        return True

    def update(self) -> Preview | None:
        """Decode what has to be decoded, here and now, and return the preview."""
        request = self.request()
        if request is not None:
            self.accept(finish(self.decode(request)))
        return self.preview

    @property
    def preview(self) -> Preview | None:
        """Masks of what is in progress; None as long as they are not decoded."""
        draft = self._draft
        if draft is None:
            return None
        result = self._results.get(draft.revision)
        decoded = {} if result is None else {item.key: item for item in result.objects}
        shown = []
        for key, prompts in draft.objects().items():
            painted, found = lookup(draft.painted, key), decoded.get(key)
            if painted is not None:
                where = painted.window
                stub = DecodedObject(key, prompts, where, where, (painted,), (), 0)
                shown.append(PreviewObject(found or stub, (found or stub).best, painted))
            elif found is not None:
                chosen = draft.candidate(key)
                fits = chosen is not None and chosen < len(found.masks)
                shown.append(
                    PreviewObject(
                        found, chosen if chosen is not None and fits else found.best, None
                    )
                )
            elif prompts.decodable:
                return None
        return Preview(draft.revision, draft.plane, tuple(shown)) if shown else None

    def cycle(self, step: int = 1, draft: int | None = None) -> None:
        """Choose the next candidate, or the one before (-1).

        Raises
        ------
        PromptError
            If there is no preview.
        """
        preview = self.preview
        if preview is None:
            raise PromptError("there is no mask yet to choose another one for")
        items = {item.key: item for item in preview.objects}
        key = preview.objects[0].key if draft is None else draft
        if key not in items:
            raise PromptError(f"there is no object {key} in progress; there are {list(items)}")
        count = len(items[key].decoded.masks)
        self.choose((items[key].chosen + int(step)) % count, key)

    def _make_request(
        self, revision: int, plane: tuple[int, ...], items: list[DecodeItem], fed_by: int | None
    ) -> DecodeRequest:
        segmenter = Segmenter(
            self._predictor,
            multimask=self._multimask,
            min_mask_region_area=self._min_area,
            window_size=self.window_size,
        )
        return DecodeRequest(
            revision, plane, tuple(items), segmenter, self.source, fed_by, self._epoch
        )

    def _window(self, prompts: ObjectPrompts, known: Sequence[Window] = ()) -> Window:
        size = default_size(self.source.shape, self._predictor.model.image_size, self.window_size)
        return choose_window(prompts, self.source.shape, size, None, known)

    def _feed(self, draft: Draft) -> tuple[tuple[np.ndarray, View] | None, int | None]:
        """Return the logits of the latest mask made with part of a draft's prompts."""
        if draft.batch or draft.masks:
            return None, None
        for revision, candidate in reversed(draft.ancestors):
            result = self._results.get(revision)
            if result is None or not result.objects:
                continue
            item = result.objects[0]
            if item.logits is None or item.view is None or item.asked != draft.window:
                return None, None
            chosen = item.best if candidate is None else min(candidate, len(item.masks) - 1)
            if item.masks[chosen].empty:
                return None, None
            if not _shows(item.view, draft.objects()[0]):
                return None, None
            return (item.logits[chosen], item.view), revision
        return None, None


def _shows(view: View, prompts: ObjectPrompts) -> bool:
    """Whether all that says where the object is lies in a view; what it is not may lie outside."""
    points, labels = prompts.all_points()
    corners = [point for point, label in zip(points, labels, strict=True) if label]
    if prompts.box is not None:
        corners += [prompts.box[:2], prompts.box[2:]]
    return not corners or view.holds(around(np.array(corners)))
