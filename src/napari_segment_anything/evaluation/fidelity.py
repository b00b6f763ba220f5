"""How close a faster precision of a model stays to fp32, and how much faster it is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..automatic import segment_everything
from ..engine import Model, Predictor, Prompts
from ..measures import average_precision, mask_iou, overlap_table
from ..progress import Progress

_POINTS = 8
"""Points along each side of the grid that masks are compared at."""
_TURNS = 3


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Masks and times of a model beside those of the same model in fp32.

    Parameters
    ----------
    prompts : int
        Single points that both were asked for.
    iou_median, iou_low : float
        IoU of the masks that they give for a point: median, and 5th percentile. The candidate is
        the one that fp32 ranks best.
    same_best : float
        Share of points where both rank the same candidate best.
    ap : float
        Mean AP at IoU .50 to .95 of its objects in everything mode, with those of fp32 as truth.
    true_ap : (float, float) or None
        AP of fp32 and of this model on labels, if there are some.
    times_faster : dict of str to float
        Time of the image encoder in other precisions over its own, by their names.
    """

    prompts: int
    iou_median: float
    iou_low: float
    same_best: float
    ap: float
    true_ap: tuple[float, float] | None
    times_faster: dict[str, float]


def fidelity_steps(
    exact: Model,
    fast: Model,
    images: Sequence[Any],
    labels: Sequence[Any] = (),
    others: Sequence[Model] = (),
    **everything: Any,
) -> Generator[Progress, None, Fidelity]:
    """Compare a model with itself in fp32.

    Parameters
    ----------
    exact, fast : Model
        In fp32 and in the other precision.
    images : sequence of array-likes
        As for `Predictor.embed`.
    labels : sequence of int array
        Labels of the first images, if there are some.
    others : sequence of Model
        The model in further precisions, to compare times with.
    **everything
        Parameters of everything mode, such as `points_per_side`.

    Yields
    ------
    Progress
        In images.

    Returns
    -------
    Fidelity
    """
    ious: list[float] = []
    same: list[bool] = []
    agreement: list[float] = []
    true: list[tuple[float, float]] = []
    for number, image in enumerate(images):
        yield Progress(number, len(images), message="comparing masks")
        first, second = (_asked(model, image) for model in (exact, fast))
        for index, best in enumerate(first.best_index):
            a, b = (each.masks[index, best] for each in (first, second))
            ious.append(mask_iou(a, b) if a.any() or b.any() else 1.0)
        same += list(first.best_index == second.best_index)
        yield Progress(number, len(images), message="comparing objects")
        expected, found = (
            segment_everything(image, model, **everything).to_labels() for model in (exact, fast)
        )
        agreement.append(_ap(expected, found))
        if number < len(labels):
            true.append((_ap(labels[number], expected), _ap(labels[number], found)))
    yield Progress(len(images), len(images), message="timing")
    pair = tuple(float(np.mean(side)) for side in zip(*true, strict=True))
    return Fidelity(
        prompts=len(ious),
        iou_median=float(np.median(ious)),
        iou_low=float(np.percentile(ious, 5)),
        same_best=float(np.mean(same)),
        ap=float(np.mean(agreement)),
        true_ap=(pair[0], pair[1]) if pair else None,
        times_faster=_times_faster(fast, [exact, *others], images[0]),
    )


def _asked(model: Model, image: Any) -> Any:
    predictor = Predictor(model)
    embedding = predictor.embed(image)
    rows, cols = (
        (np.arange(_POINTS) + 0.5) * side / _POINTS - 0.5 for side in embedding.image_shape
    )
    grid = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
    return predictor.predict(embedding, Prompts.each_point(grid))


def _ap(truth: Any, found: Any) -> float:
    return float(average_precision(overlap_table(truth, found)).mean())


def _times_faster(fast: Model, others: Sequence[Model], image: Any) -> dict[str, float]:
    """Median ratio of processor time, in turns: other work on the machine disturbs all alike."""
    predictors = [Predictor(model) for model in (fast, *others)]
    ratios: list[list[float]] = [[] for _ in others]
    for turn in range(_TURNS + 1):
        seconds = []
        for predictor in predictors:
            began = time.process_time()
            predictor.embed(image)
            seconds.append(time.process_time() - began)
        if turn:  # the first makes kernels
            for kept, other in zip(ratios, seconds[1:], strict=True):
                kept.append(other / seconds[0])
    found = zip(others, ratios, strict=True)
    return {model.precision: statistics.median(kept) for model, kept in found}
