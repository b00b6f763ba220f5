"""How probable it is that a candidate is an object like the examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from .traits import Traits

LEAST = 0.05
"""Likeness below which candidates are dropped, whatever the threshold."""
# A logistic regression on training images (benchmarks/similar.py --fit), then adjusted by hand: it
# gives size no weight, since images with objects of very different sizes are rare among them.
WEIGHTS = {
    "embedding": -0.8,
    "size": -0.04,
    "shape": -0.12,
    "light": -0.34,
    "predicted_iou": 1.7,
    "stability": 3.7,
}
BIAS = -2.1
# How much objects of one kind differ, and how many examples that knowledge is worth.
_SIZE, _SHAPE, _LIGHT = 0.6, (0.4, 0.1, 0.15), (0.12, 0.08, 0.1)
_PRIOR = 3
_FAR = 16.0
_CLOSEST = 1e-3


def likeness(
    examples: Traits, candidates: Traits, predicted_iou: ArrayLike, stability: ArrayLike
) -> NDArray[np.float64]:
    """Estimate for each candidate the probability that it is an object like the examples.

    Parameters
    ----------
    examples : Traits
        One or a few objects, of this image or another one.
    candidates : Traits
        n candidates of one image, described by the same model.
    predicted_iou, stability : array-like (n,)
        The model's scores of the candidates; NaN counts as 0.

    Returns
    -------
    float64 array (n,)
        0 to 1, on the scale of a predicted IoU: half of the candidates at .5 are right.

    Raises
    ------
    ParameterError
        If there is no example.
    """
    parts = evidence(examples, candidates, predicted_iou, stability)
    total = BIAS + sum(WEIGHTS[name] * part for name, part in parts.items())
    probable: NDArray[np.float64] = 1 / (1 + np.exp(-np.asarray(total, np.float64)))
    return probable


def evidence(
    examples: Traits, candidates: Traits, predicted_iou: ArrayLike, stability: ArrayLike
) -> dict[str, NDArray[np.float64]]:
    """What `likeness` adds up, by the names of `WEIGHTS`; parameters are its own."""
    if not len(examples):
        raise ParameterError("give at least one object as example")
    ones, all_ = examples.embedding, candidates.embedding
    # of several examples the one that is closest, relative to how varied the image is
    apart, varied = np.zeros(0, np.float32), 1.0
    if len(candidates):
        apart = 1 - (all_ @ ones.T).max(axis=1)
        varied = max(1 - float((all_.mean(axis=0) ** 2).sum()), 0.02)
    scores = {
        "predicted_iou": np.log(np.clip(np.nan_to_num(predicted_iou), 0.02, 1)),
        "stability": np.nan_to_num(stability),
    }
    return {
        "embedding": np.log(np.maximum(apart / varied, _CLOSEST)).astype(np.float64),
        "size": _distance(examples.size[:, None], candidates.size[:, None], _SIZE),
        "shape": _distance(examples.shape, candidates.shape, _SHAPE),
        "light": _distance(examples.light, candidates.light, _LIGHT),
        **{name: np.asarray(score, np.float64) for name, score in scores.items()},
    }


def _distance(
    examples: NDArray[np.float32], candidates: NDArray[np.float32], usual: ArrayLike
) -> NDArray[np.float64]:
    """Mean squared distance from the examples' mean, in units of their spread."""
    count = len(examples)
    squares = ((examples - examples.mean(axis=0)) ** 2).sum(axis=0)
    variance = (_PRIOR * np.square(usual) + squares) / (_PRIOR + count - 1)
    apart: NDArray[np.float64] = (candidates - examples.mean(axis=0)) ** 2 / variance
    return np.minimum(apart, _FAR).mean(axis=1)
