"""Prompts to masks, each object seen at a size the model is good at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .embedding import Embedding
from .parts import prompted_parts
from .predictor import Prediction, Predictor
from .prompt_input import PADDING
from .prompts import Prompts
from .view import View
from .windows import Window


class Views:
    """Embeddings of an image from several views; the last ones are kept.

    Parameters
    ----------
    predictor : Predictor
    image : array-like, or sequence of array-likes
        As for `Predictor.embed`.
    kept : int
        Views kept in memory, beside the whole image.
    **options
        Of `Predictor.embed`: channel_axis, channels, contrast_limits.
    """

    def __init__(self, predictor: Predictor, image: Any, kept: int = 8, **options: Any) -> None:
        self.predictor, self.image, self._count = predictor, image, kept
        self.whole = predictor.embed(image, **options)
        self._options = {**options, "contrast_limits": self.whole.limits}
        self._kept: OrderedDict[View, Embedding] = OrderedDict()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.whole.image_shape

    def __call__(self, view: View) -> Embedding:
        """Return the embedding of a view."""
        if view == View(Window.full(self.shape)):
            return self.whole
        if view in self._kept:
            self._kept.move_to_end(view)
            return self._kept[view]
        found = self.predictor.embed(
            self.image, window=view.window, span=view.span, **self._options
        )
        self._kept[view] = found
        if len(self._kept) > self._count:
            self._kept.popitem(last=False)
        return found


def predict_in_focus(
    predictor: Predictor,
    views: Views,
    prompts: Prompts,
    multimask: bool = True,
) -> Iterator[tuple[np.ndarray, Prediction, View]]:
    """Predict masks, from a view of its own for each object that needs one.

    An object with a box is looked at from where the model sees a thing of that size best. Others
    are decoded in the whole image first; where the best mask is too small or too large there,
    they are decoded again from a better view. A model that carries no `Focus` sees all objects
    in the whole image.

    Parameters
    ----------
    predictor : Predictor
    views : Views
        Of the image.
    prompts : Prompts
        In coordinates of the image.
    multimask : bool
        As for `Predictor.predict`.

    Yields
    ------
    which : int array (k,)
        Which objects; each comes once.
    prediction : Prediction
        Theirs; masks have the shape of its window.
    view : View
        Where they were decoded.
    """
    model = predictor.model
    whole = View(Window.full(views.shape))
    prompts.check(whole.window, views.shape)  # views leave out negative points that they do not see
    if model.focus is None or not len(prompts):
        yield np.arange(len(prompts)), predictor.predict(views.whole, prompts, multimask), whole
        return
    work = _Looking(predictor, views, prompts, multimask)
    work.look(whole)
    for view, found in work.groups().items():
        masks, scores, logits = (
            np.stack([getattr(item.prediction, name)[item.row] for item in found.values()])
            for name in ("masks", "scores", "logits")
        )
        window = next(iter(found.values())).prediction.window
        yield np.array(list(found)), Prediction(masks, scores, logits, window), view


@dataclass(frozen=True, slots=True)
class _Found:
    """One row of a prediction."""

    prediction: Prediction
    row: int
    view: View

    @property
    def score(self) -> float:
        return float(self.prediction.scores[self.row].max())


class _Looking:
    """Looks for objects, from one view after another."""

    def __init__(
        self,
        predictor: Predictor,
        views: Views,
        prompts: Prompts,
        multimask: bool,
    ) -> None:
        self.predictor, self.views, self.shape = predictor, views, views.shape
        self.prompts, self.multimask = prompts, multimask
        self.found: dict[int, _Found] = {}

    def look(self, whole: View) -> None:
        """Find all objects."""
        focus, side = self.predictor.model.focus, self.predictor.model.image_size
        assert focus is not None
        views: dict[View, list[int]] = {}
        for index in range(len(self.prompts)):
            view = whole
            if self.prompts.has_box[index]:
                view = focus.view(self.prompts.boxes[index], self.shape, side, whole)
            views.setdefault(view, []).append(index)
        self.found.update(self._decode(views))
        unsized = [i for i in self.found if not self.prompts.has_box[i]]
        views = {}
        for index in unsized:
            box = self._extent(self.found[index], index)
            if box is not None:
                view = focus.view(box, self.shape, side, whole)
                if view != whole:
                    views.setdefault(view, []).append(index)
        self.found.update(self._decode(views))
        views = {}
        for index in unsized:
            item = self.found[index]
            if item.score < focus.unsure:
                point = self.prompts.points[index][self.prompts.labels[index] == 1].mean(axis=0)
                for view in focus.farther(point, self.shape, side, whole):
                    if view.side > item.view.side:
                        views.setdefault(view, []).append(index)
        for view, members in views.items():
            for index, item in self._decode({view: members}).items():
                box = self._extent(item, index)
                if focus.believes(box, item.score, side, view, self.found[index].score):
                    self.found[index] = item

    def groups(self) -> dict[View, dict[int, _Found]]:
        """What was found, by view."""
        groups: dict[View, dict[int, _Found]] = {}
        for index, item in sorted(self.found.items()):
            groups.setdefault(item.view, {})[index] = item
        return groups

    def _decode(self, views: dict[View, list[int]]) -> dict[int, _Found]:
        found = {}
        for view, members in views.items():
            prompts = self.prompts[members].within(view.window)
            prediction = self.predictor.predict(self.views(view), prompts, self.multimask)
            for row, index in enumerate(members):
                found[index] = _Found(prediction, row, view)
        return found

    def _extent(self, item: _Found, index: int) -> tuple[float, float, float, float] | None:
        """Box around an object's best mask and positive points; None if the mask is empty."""
        found, window = item.prediction, item.prediction.window
        mask = found.masks[item.row, int(found.scores[item.row].argmax())]
        real = self.prompts.labels[index] != PADDING
        points, labels = self.prompts.points[index][real], self.prompts.labels[index][real]
        origin = np.array([window.row, window.col])
        if self.predictor.model.prompted_parts_only:
            mask = prompted_parts(mask, points - origin, labels)
        rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return None
        corners = np.array([[rows[0], cols[0]], [rows[-1], cols[-1]]], np.float64)
        return around(corners + origin, points[labels == 1])


def around(*points: np.ndarray) -> tuple[float, float, float, float]:
    """Box that holds all points: arrays (n, 2) of (row, column)."""
    every = np.concatenate([np.asarray(each, np.float64).reshape(-1, 2) for each in points])
    low, high = every.min(axis=0), every.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
