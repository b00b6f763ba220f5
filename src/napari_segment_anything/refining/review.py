"""Which objects are most worth a look: how probable it is that the refined mask is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# Log odds that no true object has an IoU above .5 with the refined mask: a logistic regression on
# training images, rounded (benchmarks/refine.py --fit). The IoU of given and refined masks adds
# nothing to the model's own scores there.
WEIGHTS = {"score": 12.0, "stability": 4.0, "merge": 1.0}
_BIAS = -4.8


def evidence(
    predicted_iou: NDArray[np.float64],
    stability: NDArray[np.float64],
    agreement: NDArray[np.float64],
    kinds: NDArray[np.str_],
) -> dict[str, NDArray[np.float64]]:
    """What speaks against each object: float64 (n,) each, by name.

    Parameters
    ----------
    predicted_iou, stability : float64 array (n,)
        Of the refined mask; NaN where there is none.
    agreement : float64 array (n,)
        IoU of what was given with it.
    kinds : str array (n,)
        Of hints.
    """
    return {
        "score": 1 - np.nan_to_num(predicted_iou),
        "stability": 1 - np.nan_to_num(stability),
        "change": 1 - agreement,
        "merge": (kinds == "merge").astype(float),
    }


def doubts(found: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Probability that each object is wrong, from its `evidence`: float64 (n,)."""
    odds = _BIAS + sum(weight * found[name] for name, weight in WEIGHTS.items())
    result: NDArray[np.float64] = 1 / (1 + np.exp(-odds))
    return result
