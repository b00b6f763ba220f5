"""From prompts to final masks, as Python, sessions, the command line and evaluation share it.

`Predictor` gives the network's own masks in one window. All else is decided here, once: which view
is encoded, which of the network's masks is taken, what is cleaned away, and which connected
parts of a mask are meant. An object's masks depend on the image and its own prompts, not on the
objects it is segmented together with.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..progress import Progress, finish
from ..reading import require
from .ask import Ask
from .embedding import Embedding, Views
from .encode_plan import EncodePlan, View
from .masks import draw_masks
from .parts import clean, prompted_parts
from .predictor import Predictor
from .prompts import Prompts
from .windows import PlacedMask, Window

DECODING = "decoding"
"""Message of a step that needs the mask decoder only, which is fast."""
BATCH = 16
"""Objects decoded between two places where a run can be stopped."""

_Steps = Generator[Progress, None, bool]
"""Work in steps; returns False if it was cancelled."""


@dataclass(slots=True, eq=False)
class Segmented:
    """Masks of one object: the network's candidates from one view.

    Parameters
    ----------
    ask : Ask
        The prompts.
    view : View
        The view in which it was decoded.
    embedding : Embedding
        Maps logits to pixels; without features.
    logits : float32 array (candidates, 4h, 4w)
        Of the network, to refine.
    scores : tuple of float
        Predicted IoU of each candidate.
    preferred : tuple of int
        Candidates in order of preference.
    segmenter : Segmenter
        Makes final masks of the logits.
    """

    ask: Ask
    view: View
    embedding: Embedding
    logits: np.ndarray
    scores: tuple[float, ...]
    preferred: tuple[int, ...]
    segmenter: Segmenter
    asked: Window = field(init=False)
    """The window that was decoded first, or the larger one for a mask that was cut off."""
    best: int = field(init=False)
    """The candidate to take: it agrees with most points, of several the one that is preferred.

    Points tell what is meant more reliably than predicted IoU does: with the candidate for
    unambiguous prompts alone, masks stop improving at the fourth click.
    """
    _drawn: dict[int, PlacedMask] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best, least = self.preferred[0], len(self.ask.points) + 1
        for index in self.preferred:
            mask = self.candidate(index)
            missed = mask.holds(self.ask.points) != self.ask.inside
            # an empty mask is worst
            misses = len(missed) + 1 if mask.empty else int(np.count_nonzero(missed))
            if misses < least:
                self.best, least = index, misses
            if not least:
                break

    def __repr__(self) -> str:
        return f"<Segmented: score {self.score:.3f}, {self.mask!r}>"

    def candidate(self, index: int) -> PlacedMask:
        """Return a candidate's final mask, drawn on first use."""
        if index not in self._drawn:
            logits, embedding = self.logits[index][None], self.embedding
            [drawn] = draw_masks(logits, embedding, self.segmenter.predictor.model.mask_threshold)
            self._drawn[index] = self.segmenter.finished(drawn, self.ask, embedding.image_shape)
        return self._drawn[index]

    @property
    def masks(self) -> tuple[PlacedMask, ...]:
        """The final mask of each candidate."""
        return tuple(self.candidate(index) for index in range(len(self.scores)))

    @property
    def mask(self) -> PlacedMask:
        """The mask to take."""
        return self.candidate(self.best)

    @property
    def score(self) -> float:
        """Its predicted IoU."""
        return self.scores[self.best]

    @property
    def window(self) -> Window:
        """The pixels of the image that were decoded."""
        return self.embedding.window


class Segmenter:
    """Turns prompts into final masks.

    Parameters
    ----------
    predictor : Predictor
    multimask : "auto" or bool
        "auto": for a single point the best of three (whole, part, subpart); for other prompts the
        mask meant for unambiguous ones, with the three as alternatives. True: always the three.
        False: always the one. Of several, one that disagrees with a point is taken only if all do.
    min_mask_region_area : float, optional
        Holes and islands smaller than this are removed; by default the model's own value.
    window_size : int, optional
        Side of the windows to encode, in pixels; the view is then not adapted to the object's
        size. By default the whole image up to two frames of the model, else windows of one frame,
        and then a view in which the object has a good size.

    Raises
    ------
    ParameterError
        If a value is none of these, or a model is given for the predictor.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        multimask: bool | str = "auto",
        min_mask_region_area: float | None = None,
        window_size: int | None = None,
    ) -> None:
        if not hasattr(predictor, "model"):
            require(predictor, Predictor, "the predictor", "make one with Predictor(model)")
        if multimask != "auto" and not isinstance(multimask, bool):
            raise ParameterError(f"multimask is 'auto', True or False, not {multimask!r}")
        if min_mask_region_area is None:
            carried = predictor.model.everything_defaults("grid")
            min_mask_region_area = float(carried.get("min_mask_region_area", 0))
        if not 0 <= float(min_mask_region_area) < float("inf"):
            raise ParameterError(
                f"min_mask_region_area is a number of pixels, not {min_mask_region_area!r}"
            )
        self.predictor, self.multimask, self.window_size = predictor, multimask, window_size
        self.min_mask_region_area = float(min_mask_region_area)

    def __repr__(self) -> str:
        return f"<Segmenter: {self.predictor.model!r}>"

    def plan(self, shape: tuple[int, int]) -> EncodePlan:
        """Return what to encode for prompts of an image of shape (rows, columns)."""
        model = self.predictor.model
        return EncodePlan(shape, model.image_size, model.focus, self.window_size)

    def segment(
        self, image: Any, prompts: Prompts | Iterable[Ask], **options: Any
    ) -> list[Segmented]:
        """Segment objects of an image.

        Parameters
        ----------
        image : array-like, sequence of array-likes, or Views
            As for `Predictor.embed`.
        prompts : Prompts or iterable of Ask
            In pixels of the image.
        **options
            Of `Predictor.embed`: channel_axis, channels, contrast_limits.

        Returns
        -------
        list of Segmented
            One for each object.

        Raises
        ------
        PromptError
            If a prompt lies outside the image.
        """
        views = image if isinstance(image, Views) else Views(self.predictor, image, **options)
        if isinstance(prompts, Prompts):  # views leave out points that they do not see
            prompts.check(Window.full(views.shape), views.shape)
            prompts = Ask.each(prompts)
        asks = list(prompts)
        for ask in asks:
            require(ask, Ask, "a prompt", "make prompts with Prompts.from_points or .from_boxes")
        return finish(self.steps(views, asks)) or []

    def steps(
        self,
        views: Views,
        asks: Sequence[Ask],
        cancelled: Callable[[], bool] = lambda: False,
        *,
        peek: bool = False,
    ) -> Generator[Progress, None, list[Segmented] | None]:
        """Segment objects in steps, on any thread.

        Parameters
        ----------
        views : Views
            The image.
        asks : sequence of Ask
            Prompts of each object, in pixels of the image.
        cancelled : callable
            Asked before every step that costs time.
        peek : bool
            Encode only the first view of each object.

        Yields
        ------
        Progress
            Before every step.

        Returns
        -------
        list of Segmented or None
            None if it was cancelled.

        Raises
        ------
        PromptError
            If a prompt lies outside the image.
        """
        search = _Search(self, views, asks, cancelled)
        plan, found = search.plan, search.found
        first = {i: plan.first_view(ask) for i, ask in enumerate(asks)}
        if not (yield from search.decode(first, found, "encoding", fed=True)):
            return None
        closer: dict[int, View] = {}
        for i, ask in enumerate(asks):
            # a box gave the size before; words alone may mean another object in a closer view
            mask = found[i].mask
            if ask.box is None and (ask.text is None or ask.located) and not mask.empty:
                view = plan.better_view(ask, mask.window.box, first[i])
                if view != first[i] and not (peek and views.find(view) is None):
                    closer[i] = view
        if not (yield from search.decode(closer, found, "encoding closer to the objects")):
            return None
        wider: dict[int, Window] = {}
        if not peek:
            if not (yield from search.farther()):
                return None
            for i, ask in enumerate(asks):
                window = plan.wider(found[i].mask, found[i].window, ask)
                if window is not None:
                    wider[i] = window
            larger = {i: View(window) for i, window in wider.items()}
            if not (yield from search.decode(larger, found, "encoding a larger window")):
                return None
        for i, ask in enumerate(asks):
            found[i].asked = wider.get(i) or plan.first_window(ask)
        return [found[i] for i in range(len(asks))]

    def candidates(self, embedding: Embedding, view: View, asks: Sequence[Ask]) -> list[Segmented]:
        """Decode objects from one view.

        Parameters
        ----------
        embedding : Embedding
            Of `view`.
        view : View
        asks : sequence of Ask

        Returns
        -------
        list of Segmented
            One for each object; objects have no influence on each other.
        """
        features = embedding.features.new_empty((1, 0, *embedding.features.shape[-2:]))
        bare = replace(embedding, features=features, heads={})
        seen = [ask.seen_in(embedding) for ask in asks]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, ask in enumerate(asks):
            # whether the candidates for ambiguous prompts are the ones to choose from
            several = ask.ambiguous if self.multimask == "auto" else bool(self.multimask)
            kinds = ((name, array.shape) for name, array in seen[i].items())
            groups.setdefault((several, *kinds), []).append(i)
        found: dict[int, Segmented] = {}
        for (several, *_), chosen in groups.items():
            # prompts that are not ambiguous: their own mask first, the other three as alternatives
            all_four = not several and self.multimask == "auto"
            arrays = {name: np.stack([seen[i][name] for i in chosen]) for name in seen[chosen[0]]}
            logits, scores, _ = self.predictor.decode_group(
                embedding, arrays, several or all_four, all_four
            )
            low, iou = (each.float().cpu().numpy() for each in (logits, scores))
            for at, i in enumerate(chosen):
                order = np.argsort(-iou[at], kind="stable").tolist()
                if all_four:
                    order.remove(0)
                    order.insert(0, 0)
                found[i] = Segmented(
                    asks[i], view, bare, low[at], tuple(iou[at].tolist()), tuple(order), self
                )
        return [found[i] for i in range(len(asks))]

    def finished(self, mask: PlacedMask, ask: Ask, shape: tuple[int, int]) -> PlacedMask:
        """Return a mask without small holes and islands, and without parts that prompts leave out.

        Parameters
        ----------
        mask : PlacedMask
            As the network draws it.
        ask : Ask
            What it was prompted with.
        shape : (int, int)
            Rows and columns of the image.
        """
        mask, _ = clean(mask, shape, self.min_mask_region_area)
        if mask.empty or not self.predictor.model.prompted_parts_only:
            return mask
        row, col = mask.window.row, mask.window.col
        points = np.clip(np.floor(ask.points + 0.5), 0, np.array(shape) - 1) - (row, col)
        box = None if ask.box is None else tuple(np.subtract(ask.box, (row, col, row, col)))
        return PlacedMask.of(prompted_parts(mask.mask, points, ask.inside, box), row, col)


class _Search:
    """Decodes objects: from their first view, from closer, from farther, in larger windows."""

    def __init__(
        self,
        segmenter: Segmenter,
        views: Views,
        asks: Sequence[Ask],
        cancelled: Callable[[], bool],
    ) -> None:
        self.segmenter, self.views, self.asks, self.cancelled = segmenter, views, asks, cancelled
        self.plan = segmenter.plan(views.shape)
        self.found: dict[int, Segmented] = {}
        self.done, self.total = 0, len(asks)

    def decode(
        self,
        views: Mapping[int, View],
        into: dict[int, Segmented],
        message: str,
        fed: bool = False,
    ) -> _Steps:
        """Decode objects, those of one view together; with `fed`, refine the logits they have."""
        self.total = max(self.total, self.done + len(views))
        for view in dict.fromkeys(views.values()):
            here = [index for index, place in views.items() if place == view]
            embedding = self.views.find(view)
            yield Progress(self.done, self.total, message=DECODING if embedding else message)
            if self.cancelled():
                return False
            embedding = embedding or self.views(view)
            for start in range(0, len(here), BATCH):
                yield Progress(self.done, self.total, message=DECODING)
                if self.cancelled():
                    return False
                part = here[start : start + BATCH]
                asks = [self.asks[i] if fed else self.asks[i].unfed() for i in part]
                into.update(
                    zip(part, self.segmenter.candidates(embedding, view, asks), strict=True)
                )
                self.done += len(part)
        return True

    def farther(self) -> _Steps:
        """Try views from farther away for objects whose masks score low."""
        focus = self.plan.focus
        if focus is None:
            return True
        untried = {
            i: self.plan.farther_views(ask)
            for i, ask in enumerate(self.asks)
            if ask.box is None and ask.feed is None and len(ask.positive)
            if self.found[i].score < focus.unsure
        }
        while any(untried.values()):
            views = {
                i: view
                for i, left in untried.items()
                if left and (view := left.pop(0)).side > self.found[i].view.side
            }
            found: dict[int, Segmented] = {}
            if not (yield from self.decode(views, found, "looking from farther away")):
                return False
            for i, new in found.items():
                before = self.found[i].score
                if self.plan.accepts_farther(new.mask, new.score, new.view, before):
                    self.found[i] = new
        return True
