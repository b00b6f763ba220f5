"""Objects of another program as prompts, group by group, so that an image of any size will do."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch

from ..automatic.measure import measure
from ..engine import NO_MASK, Ask, Model, PlacedMask, Predictor, Segmented, Segmenter, Views
from ..measures import interior_point
from ..parameters import REFINING, check_values
from ..progress import Progress, finish, mapped
from .given import GivenObjects, given_objects
from .hints import hints
from .result import Refined

BEST = "mask"
"""The prompt that validates best where there is a mask (benchmarks/refine.py --fit)."""
_GROUP = 64
"""Objects decoded together; their logits, a megabyte each, are then dropped."""


def refine(image: Any, objects: Any, model: Model, **options: Any) -> Refined:
    """Refine boxes, masks or labels of another program.

    Each object prompts the model, and keeps its id, class and score. `Refined.review` says where
    the two disagree most. `refine_steps` does the same in steps that can be cancelled.

    Parameters
    ----------
    image : array-like, sequence of array-likes, PlaneSource or Views
        As for `Predictor.embed`; read window by window.
    objects : str, Path, array-like or sequence of Detection
        A CSV, COCO or GeoJSON file (see `read_detections`); a label image, also as a file, or a
        boolean mask, of the image's shape; or boxes (n, 4): row_min, col_min, row_max, col_max.
    model : Model
    **options
        Of `refine_steps`: prompt, components, min_mask_region_area, window_size, predictor,
        image_name; of `Predictor.embed`: channel_axis, channels, contrast_limits.

    Raises
    ------
    PromptError
        If objects cannot be read, there are none, or one lies outside the image.
    ParameterError
        If a parameter is out of range.
    """
    return finish(refine_steps(image, objects, model, **options))


def refine_steps(
    image: Any,
    objects: Any,
    model: Model,
    *,
    predictor: Predictor | None = None,
    prompt: str = "auto",
    components: bool = False,
    min_mask_region_area: float | None = None,
    window_size: int | None = None,
    image_name: str = "",
    **options: Any,
) -> Generator[Progress, None, Refined]:
    """Refine objects in steps, on any thread; closing the generator cancels.

    Parameters
    ----------
    image, objects, model
        As for `refine`.
    predictor : Predictor, optional
        Of the model, such as one with an `EmbeddingCache`.
    prompt : {"auto", "box", "mask", "box+mask"}
        What the model is prompted with where an object has a mask; "auto" is what validates best.
        Objects that are only boxes prompt with them.
    components : bool
        Take each connected part of a label image as an object, whatever its value. A boolean mask
        is always taken so.
    min_mask_region_area, window_size
        As for `Segmenter`.
    image_name : str
        File name of the image, to choose it in a COCO file with several.
    **options
        Of `Predictor.embed`: channel_axis, channels, contrast_limits.

    Yields
    ------
    Progress
        Before every step that costs time.

    Raises
    ------
    PromptError
        If objects cannot be read, there are none, or one lies outside the image.
    ParameterError
        If a parameter is out of range.
    """
    check_values(REFINING, {"prompt": prompt, "components": components})
    segmenter = Segmenter(
        predictor or Predictor(model),
        min_mask_region_area=min_mask_region_area,
        window_size=window_size,
    )
    yield Progress(0, 1, message="reading the image")
    views = image if isinstance(image, Views) else Views(segmenter.predictor, image, **options)
    given = yield from given_objects(
        objects, views.shape, image_name=image_name, components=components
    )
    kind = BEST if prompt == "auto" else prompt
    total = len(given)
    before: list[PlacedMask | None] = [None] * total
    masks = [NO_MASK] * total
    scores, stability = np.full(total, np.nan), np.full(total, np.nan)
    order = _order(segmenter, given)
    for start in range(0, total, _GROUP):
        part = order[start : start + _GROUP]
        for i in part:
            before[i] = given.mask(i)
        asks = [_ask(given.boxes[i], before[i], kind) for i in part]
        steps = segmenter.steps(views, asks)

        def overall(step: Progress, first: int = start, count: int = len(part)) -> Progress:
            return Progress(first + int(step.fraction * count), total, message=step.message)

        for i, found in zip(part, (yield from mapped(steps, overall)) or (), strict=True):
            masks[i], scores[i] = found.mask, found.score
            stability[i] = _stability(found, segmenter.predictor.model.mask_threshold)
    yield Progress(total, total, message="comparing")
    return Refined(
        given=given,
        before=tuple(before),
        masks=tuple(masks),
        predicted_iou=scores,
        stability=stability,
        hints=hints(before, masks),
        prompt=kind if any(mask is not None for mask in before) else "box",
        fingerprint=model.fingerprint,
    )


def _order(segmenter: Segmenter, given: GivenObjects) -> list[int]:
    """Objects in an order in which those of one view follow each other."""
    plan = segmenter.plan(given.shape)
    none = np.zeros((0, 2)), np.zeros(0, bool)

    def place(index: int) -> tuple[int, ...]:
        view = plan.first_view(Ask(*none, box=tuple(given.boxes[index])))
        return (view.side, view.window.row, view.window.col, index)

    return sorted(range(len(given)), key=place)


def _ask(box: np.ndarray, mask: PlacedMask | None, kind: str) -> Ask:
    """The prompts of an object. A mask alone has a point in it: so the network was trained."""
    points, corners = np.zeros((0, 2)), tuple(map(float, box))
    if mask is None or kind == "box":
        return Ask(points, np.zeros(0, bool), box=corners)
    if kind == "box+mask":
        return Ask(points, np.zeros(0, bool), box=corners, mask=mask)
    point = np.add(interior_point(np.pad(mask.mask, 1)), (mask.window.row - 1, mask.window.col - 1))
    return Ask(point[None].astype(np.float64), np.ones(1, bool), mask=mask)


def _stability(found: Segmented, threshold: float) -> float:
    logits = torch.from_numpy(found.logits[found.best][None])
    [measured] = measure(logits, found.embedding, threshold=threshold)
    return float(measured.stability)
