"""Prompts to final masks: what every face shows, writes and measures.

`Predictor` gives the network's own masks in one window. All that lies around that is here, once:
where to look from, which of the network's masks is taken, what is cleaned away, and which parts
of a mask are meant. An object's masks depend on the image and its own prompts, and not on the
objects it is segmented together with.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ParameterError, PromptError
from ..progress import Progress, finish
from .cleaning import clean
from .embedding import Embedding
from .focus import Seen, Views, around
from .masks import draw_masks, mask_logits
from .parts import prompted_parts
from .placed_mask import NO_MASK, PlacedMask
from .planning import choose_window, default_size, grown
from .predictor import Predictor
from .prompt_input import PADDING
from .prompts import Prompts
from .view import STEADY, Focus, View
from .windows import Window

BATCH = 16
"""Objects decoded between two places where a run can be stopped."""


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Prompts of one object, in pixels of the image.

    Parameters
    ----------
    points : float array (k, 2)
        (row, column).
    inside : bool array (k,)
        Whether a point lies in the object.
    box : four floats, optional
        row_min, col_min, row_max, col_max.
    mask : PlacedMask, optional
        A mask drawn by hand, to refine.
    window : Window, optional
        Where to look first; chosen by the prompts otherwise.
    feed : float32 array (4h, 4w), optional
        Logits of an earlier mask of the object, to refine.
    feed_view : View, optional
        Where these logits were decoded.
    """

    points: np.ndarray
    inside: np.ndarray
    box: Sequence[float] | None = None
    mask: PlacedMask | None = None
    window: Window | None = None
    feed: np.ndarray | None = None
    feed_view: View | None = None

    @classmethod
    def each(cls, prompts: Prompts) -> list[Ask]:
        """Take prompts apart into those of single objects."""
        asks = []
        for index in range(len(prompts)):
            real = prompts.labels[index] != PADDING
            fed = prompts.masks is not None and bool(prompts.has_masks[index])
            asks.append(
                cls(
                    prompts.points[index][real].astype(np.float64),
                    prompts.labels[index][real] == 1,
                    tuple(map(float, prompts.boxes[index])) if prompts.has_box[index] else None,
                    feed=prompts.masks[index] if fed and prompts.masks is not None else None,
                )
            )
        return asks

    @property
    def positive(self) -> np.ndarray:
        """Points in the object: (k, 2)."""
        found: np.ndarray = self.points[self.inside]
        return found

    @property
    def _more(self) -> bool:
        return any(each is not None for each in (self.box, self.mask, self.feed))

    @property
    def ambiguous(self) -> bool:
        """Whether it is one point and nothing else, which may mean several objects."""
        return len(self.points) == 1 and not self._more

    def extent(self) -> tuple[float, float, float, float]:
        """Return row_min, col_min, row_max, col_max of all prompts."""
        corners = [self.points]
        if self.box is not None:
            corners.append(np.reshape(self.box, (2, 2)))
        if self.mask is not None and not self.mask.empty:
            corners.append(np.reshape(self.mask.window.box, (2, 2)))
        if not sum(map(len, corners)):
            raise PromptError("logits alone do not say where an object is; give a point or a box")
        return around(*corners)


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """Masks of one object.

    Parameters
    ----------
    masks : tuple of PlacedMask
        A mask for each candidate, final; all but the best may be left out as empty.
    scores : tuple of float
        Predicted IoU of each.
    best : int
        The candidate to take.
    logits : float32 array (candidates, 4h, 4w)
        Of the network, to refine.
    view : View
        Where it was decoded.
    window : Window
        The pixels that it was decoded in.
    asked : Window
        Where it was looked for first, or the larger window that a cut off mask needed.
    """

    masks: tuple[PlacedMask, ...]
    scores: tuple[float, ...]
    best: int
    logits: np.ndarray
    view: View
    window: Window
    asked: Window

    @property
    def mask(self) -> PlacedMask:
        """The mask to take."""
        return self.masks[self.best]

    @property
    def score(self) -> float:
        """Its predicted IoU."""
        return self.scores[self.best]


class Segmenter:
    """Turns prompts into final masks.

    Parameters
    ----------
    predictor : Predictor
    multimask : "auto" or bool
        "auto": for a single point the best of three (whole, part, subpart); for other prompts the
        mask that is meant for these, with the three besides to choose from. True: three always.
        False: the one.
    min_mask_region_area : float, optional
        Holes and islands smaller than this are cleaned away; by default what the model carries.
    window_size : int, optional
        Side of the windows to look in, in pixels; objects are then not looked at from closer or
        from farther away. By default the whole image up to two frames of the model, else windows
        of one frame, and then from where the model sees the object best.

    Raises
    ------
    ParameterError
        If a value is none of these.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        multimask: Any = "auto",
        min_mask_region_area: float | None = None,
        window_size: int | None = None,
    ) -> None:
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

    @property
    def focus(self) -> Focus | None:
        """Sizes that the model wants to see objects at; None if it is not to be asked."""
        return self.predictor.model.focus if self.window_size is None else None

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
        seen = image if isinstance(image, Views) else Views(self.predictor, image, **options)
        if isinstance(prompts, Prompts):  # views leave out points that they do not see
            prompts.check(Window.full(seen.shape), seen.shape)
            asks = Ask.each(prompts)
        else:
            asks = list(prompts)
        found = finish(self.steps(seen, asks))
        return [] if found is None else found

    def first_view(self, ask: Ask, shape: tuple[int, int]) -> View:
        """Where to decode first: where its mask came from, or from where its box is seen best."""
        if ask.feed_view is not None:
            return ask.feed_view
        whole = View(self._first_window(ask, shape))
        if self.focus is None or ask.box is None:
            return whole
        return self._from_where(ask, ask.box, whole, shape)

    def steps(
        self,
        seen: Seen,
        asks: Sequence[Ask],
        cancelled: Callable[[], bool] = lambda: False,
        *,
        candidates: bool = True,
        peek: bool = False,
    ) -> Generator[Progress, None, list[Segmented] | None]:
        """Segment objects in steps, on any thread.

        Parameters
        ----------
        seen : Seen
            The image.
        asks : sequence of Ask
        cancelled : callable
            Asked before every step that costs time.
        candidates : bool
            Whether to make all masks, or only the best.
        peek : bool
            Encode nothing but where an object is looked for first.

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
        work = _Work(self, seen, asks, cancelled, peek)
        if not (yield from work.run()):
            return None
        done: list[Segmented] = []
        for start in range(0, len(asks), BATCH):
            if start:
                yield Progress(len(asks), len(asks), message="drawing")
                if cancelled():
                    return None
            part = range(start, min(start + BATCH, len(asks)))
            done.extend(work.finished(index, candidates) for index in part)
        return done

    def _first_window(self, ask: Ask, shape: tuple[int, int]) -> Window:
        if ask.window is not None:
            return ask.window
        size = default_size(shape, self.predictor.model.image_size, self.window_size)
        return choose_window(ask, shape, size)

    def _from_where(
        self,
        ask: Ask,
        box: Sequence[float],
        current: View,
        shape: tuple[int, int],
        slack: float = 1.0,
    ) -> View:
        if self.focus is None:
            return current
        held = around(np.asarray(box, np.float64), ask.positive)
        return self.focus.view(held, shape, self.predictor.model.image_size, current, slack)

    def _several(self, ask: Ask) -> bool:
        """Whether the candidates for ambiguous prompts come first (or alone)."""
        return ask.ambiguous if self.multimask == "auto" else bool(self.multimask)

    def _final(self, cut: PlacedMask, ask: Ask, shape: tuple[int, int]) -> PlacedMask:
        """Clean a mask and cut it to what is meant."""
        cut = clean(cut, shape, self.min_mask_region_area)
        if cut.empty or not self.predictor.model.prompted_parts_only:
            return cut
        row, col = cut.window.row, cut.window.col
        origin = np.array([row, col], np.float64)
        last = np.array(shape) - 1
        points = np.clip(np.floor(ask.points + 0.5), 0, last) - origin
        box = None if ask.box is None else tuple(np.asarray(ask.box) - np.tile(origin, 2))
        return PlacedMask.of(prompted_parts(cut.mask, points, ask.inside, box), row, col)


@dataclass(slots=True, eq=False)
class _Look:
    """What the network says of an object from one view; masks are drawn when they are needed."""

    segmenter: Segmenter
    ask: Ask
    shape: tuple[int, int]
    view: View
    embedding: Embedding
    logits: np.ndarray
    scores: np.ndarray
    preferred: tuple[int, ...]
    drawn: dict[int, PlacedMask]

    def mask(self, index: int) -> PlacedMask:
        """A candidate's final mask."""
        if index not in self.drawn:
            threshold = self.segmenter.predictor.model.mask_threshold
            [cut] = draw_masks(self.logits[index][None], self.embedding, threshold)
            self.drawn[index] = self.segmenter._final(cut, self.ask, self.shape)
        return self.drawn[index]

    @property
    def best(self) -> int:
        """The first of the preferred masks that is not empty."""
        return next((i for i in self.preferred if not self.mask(i).empty), self.preferred[0])

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """Outermost pixels of the best mask."""
        mask = self.mask(self.best)
        return None if mask.empty else mask.window.box


class _Work:
    """Looks at objects, from one view after another."""

    def __init__(
        self,
        segmenter: Segmenter,
        seen: Seen,
        asks: Sequence[Ask],
        cancelled: Callable[[], bool],
        peek: bool,
    ) -> None:
        self.segmenter, self.seen, self.asks = segmenter, seen, asks
        self.cancelled, self.peek = cancelled, peek
        self.shape = seen.shape
        self.looks: dict[int, _Look] = {}
        self.wider: dict[int, Window] = {}
        self.count, self.total = 0, len(asks)

    def run(self) -> Generator[Progress, None, bool]:
        """Look at all objects; says whether it came to its end."""
        segmenter = self.segmenter
        first = {i: segmenter.first_view(ask, self.shape) for i, ask in enumerate(self.asks)}
        if not (yield from self._look(first, self.looks, "encoding", fed=True)):
            return False
        better = {i: self._better(i) for i in first}
        again = {
            i: view
            for i, view in better.items()
            if view != first[i] and (not self.peek or self.seen.has(view))
        }
        if not (yield from self._look(again, self.looks, "encoding closer to the objects")):
            return False
        if not self.peek and not (yield from self._farther()):
            return False
        if self.peek:
            return True
        self.wider = {i: window for i in first if (window := self._wider(i)) is not None}
        wanted = {i: View(window) for i, window in self.wider.items()}
        return (yield from self._look(wanted, self.looks, "encoding a larger window"))

    def finished(self, index: int, candidates: bool) -> Segmented:
        """Return what was found for an object."""
        look = self.looks[index]
        best = look.best
        masks = tuple(
            look.mask(i) if candidates or i == best else NO_MASK for i in range(len(look.scores))
        )
        asked = self.wider.get(index)
        if asked is None:
            asked = self.segmenter._first_window(self.asks[index], self.shape)
        return Segmented(
            masks,
            tuple(float(score) for score in look.scores),
            best,
            look.logits,
            look.view,
            look.embedding.window,
            asked,
        )

    def _look(
        self, views: Mapping[int, View], looks: dict[int, _Look], message: str, fed: bool = False
    ) -> Generator[Progress, None, bool]:
        """Put what is seen from views into `looks`; objects of one view together."""
        self.total = max(self.total, self.count + len(views))
        for view in dict.fromkeys(views.values()):
            here = [index for index, place in views.items() if place == view]
            encoded = self.seen.has(view)
            yield Progress(self.count, self.total, message="decoding" if encoded else message)
            if self.cancelled():
                return False
            embedding = self.seen(view)
            for start in range(0, len(here), BATCH):
                yield Progress(self.count, self.total, message="decoding")
                if self.cancelled():
                    return False
                part = here[start : start + BATCH]
                self._decode(part, view, embedding, looks, fed)
                self.count += len(part)
        return True

    def _decode(
        self,
        which: Sequence[int],
        view: View,
        embedding: Embedding,
        looks: dict[int, _Look],
        fed: bool,
    ) -> None:
        asks = {
            i: self.asks[i] if fed else replace(self.asks[i], feed=None, feed_view=None)
            for i in which
        }
        bare = _without_features(embedding)
        for several in (True, False):
            chosen = [i for i in which if self.segmenter._several(asks[i]) is several]
            if not chosen:
                continue
            # not ambiguous, but a choice all the same: the mask for such prompts, then the three
            all_four = not several and self.segmenter.multimask == "auto"
            entries = [_entry(asks[i], embedding) for i in chosen]
            prompts = Prompts.from_objects(entries).within(embedding.window)
            low, iou = self.segmenter.predictor.decode(
                embedding, prompts, multimask=several or all_four, return_all=all_four
            )
            logits, scores = low.float().cpu().numpy(), iou.float().cpu().numpy()
            for row, i in enumerate(chosen):
                order = sorted(range(scores.shape[1]), key=lambda k: (-scores[row, k], k))
                if all_four:
                    order.remove(0)
                    order.insert(0, 0)
                looks[i] = _Look(
                    self.segmenter, asks[i], self.shape, view, bare,
                    logits[row], scores[row], tuple(order), {},
                )  # fmt: skip

    def _better(self, index: int) -> View:
        """From where an object is seen better than it was; the same view if nothing says so."""
        look, ask = self.looks[index], self.asks[index]
        box = None if self.segmenter.focus is None or ask.box is not None else look.box
        if box is None:
            return look.view
        # an object that was looked at before is not moved for a little more or less
        slack = 1.0 if ask.feed is None else STEADY
        return self.segmenter._from_where(ask, box, look.view, self.shape, slack)

    def _farther(self) -> Generator[Progress, None, bool]:
        """Look from farther away for objects whose points gave nothing sure."""
        focus, side = self.segmenter.focus, self.segmenter.predictor.model.image_size
        if focus is None:
            return True
        unsure: dict[int, list[View]] = {}
        for index, ask in enumerate(self.asks):
            look = self.looks[index]
            if ask.box is not None or ask.feed is not None or not len(ask.positive):
                continue
            if look.scores[look.best] < focus.unsure:
                first = View(self.segmenter._first_window(ask, self.shape))
                unsure[index] = focus.farther(ask.positive.mean(axis=0), self.shape, side, first)
        for turn in range(max(map(len, unsure.values()), default=0)):
            views = {
                index: several[turn]
                for index, several in unsure.items()
                if turn < len(several)
                and several[turn].side > self.looks[index].view.side
                and several[turn].holds(around(self.asks[index].positive))
            }
            tried: dict[int, _Look] = {}
            if not (yield from self._look(views, tried, "looking from farther away")):
                return False
            for index, new in tried.items():
                score, before = new.scores[new.best], self.looks[index]
                known = before.scores[before.best]
                if focus.believes(new.box, float(score), side, views[index], float(known)):
                    self.looks[index] = new
        return True

    def _wider(self, index: int) -> Window | None:
        """Return a larger window for a mask that its window cuts off."""
        look = self.looks[index]
        cut, window = look.mask(look.best), look.embedding.window
        if cut.empty:
            return None
        inner, pixels = cut.window, cut.mask
        touching = 0
        for edge, line in (
            (inner.row <= window.row > 0, pixels[0]),
            (inner.col <= window.col > 0, pixels[:, 0]),
            (
                inner.row + inner.height >= window.row + window.height < self.shape[0],
                pixels[-1],
            ),
            (
                inner.col + inner.width >= window.col + window.width < self.shape[1],
                pixels[:, -1],
            ),
        ):
            touching += int(np.count_nonzero(line)) if edge else 0
        return grown(window, inner, touching, self.asks[index], self.shape)


def _entry(ask: Ask, embedding: Embedding) -> dict[str, Any]:
    """An object as `Prompts.from_objects` takes it."""
    entry: dict[str, Any] = {}
    if len(ask.points):
        entry["points"], entry["labels"] = ask.points, ask.inside.astype(np.int8)
    if ask.box is not None:
        entry["box"] = ask.box
    if ask.feed is not None:
        entry["mask"] = ask.feed
    elif ask.mask is not None and not ask.mask.empty:
        entry["mask"] = mask_logits(ask.mask.within(embedding.window), embedding)
        if ask.box is None and not len(ask.positive):
            # a mask alone says too little to the network: it never met one in training
            row0, col0, row1, col1 = ask.mask.window.box
            entry["box"] = (row0 - 0.5, col0 - 0.5, row1 + 0.5, col1 + 0.5)
    return entry


def _without_features(embedding: Embedding) -> Embedding:
    """Return what maps logits to pixels, so that features need not be kept."""
    nothing = embedding.features.new_empty((1, 0, *embedding.features.shape[-2:]))
    return replace(embedding, features=nothing, heads={})
