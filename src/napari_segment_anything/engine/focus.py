"""Prompts to masks, each object seen at a size the model is good at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .embedding import Embedding
from .parts import prompted_parts
from .predictor import Prediction, Predictor
from .prompt_input import PADDING
from .prompts import Prompts
from .view import View
from .windows import Window


def predict_in_focus(
    predictor: Predictor,
    embed: Callable[[View], Embedding],
    shape: tuple[int, int],
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
    embed : callable
        Gives the embedding of a view of the image.
    shape : (int, int)
        Rows and columns of the image.
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
    whole = View(Window.full(shape))
    if model.focus is None or not len(prompts):
        yield np.arange(len(prompts)), predictor.predict(embed(whole), prompts, multimask), whole
        return
    views: dict[View, list[int]] = {}
    unknown = []
    for index in range(len(prompts)):
        if prompts.has_box[index]:
            view = model.focus.view(prompts.boxes[index], shape, model.image_size, whole)
            views.setdefault(view, []).append(index)
        else:
            unknown.append(index)
    if unknown:
        found = predictor.predict(embed(whole), prompts[unknown], multimask)
        stay = []
        for row, index in enumerate(unknown):
            box = _extent(predictor, found, row, prompts, index)
            view = whole
            if box is not None:
                view = model.focus.view(box, shape, model.image_size, whole)
            if view == whole:
                stay.append(row)
            else:
                views.setdefault(view, []).append(index)
        if stay:
            masks, scores, logits = found.masks[stay], found.scores[stay], found.logits[stay]
            same = replace(found, masks=masks, scores=scores, logits=logits)
            yield np.array(unknown)[stay], same, whole
    for view, members in views.items():
        which = np.array(members)
        these = prompts[which].within(view.window)
        yield which, predictor.predict(embed(view), these, multimask), view


def _extent(
    predictor: Predictor, found: Prediction, row: int, prompts: Prompts, index: int
) -> tuple[float, float, float, float] | None:
    """Box around an object's best mask and positive points; None if the mask is empty."""
    mask = found.masks[row, int(found.scores[row].argmax())]
    real = prompts.labels[index] != PADDING
    points, labels = prompts.points[index][real], prompts.labels[index][real]
    if predictor.model.prompted_parts_only:
        mask = prompted_parts(mask, points, labels)
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    corners = np.array([[rows[0], cols[0]], [rows[-1], cols[-1]]], np.float64)
    return around(corners, points[labels == 1])


def around(*points: np.ndarray) -> tuple[float, float, float, float]:
    """Box that holds all points: arrays (n, 2) of (row, column)."""
    every = np.concatenate([np.asarray(each, np.float64).reshape(-1, 2) for each in points])
    low, high = every.min(axis=0), every.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
