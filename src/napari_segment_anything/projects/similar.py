"""Find all like this, as suggestions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..finding import CandidatePool, Traits, likeness
from ..finding.comparing import LEAST
from .suggestions import Suggestions


def suggestions_pool(suggestions: Suggestions, traits: Traits, fingerprint: str) -> CandidatePool:
    """Make a pool of suggestions, which `traits` describe.

    Parameters
    ----------
    suggestions : Suggestions
    traits : Traits
        Of these, in their order.
    fingerprint : str
        Of the model.
    """
    return CandidatePool(
        suggestions.shape,
        tuple(item.mask for item in suggestions),
        np.array([item.predicted_iou for item in suggestions], np.float32),
        np.array([item.stability for item in suggestions], np.float32),
        np.zeros(len(suggestions), np.int16),
        traits,
        fingerprint,
    )


def similar_suggestions(
    pool: CandidatePool,
    examples: Traits,
    shape: tuple[int, int],
    *,
    labels: NDArray[np.integer] | None = None,
    version: str = "",
) -> Suggestions:
    """Suggest the candidates of an image that are like the examples; the score is the likeness.

    Parameters
    ----------
    pool : CandidatePool
        Of the image.
    examples : Traits
        Described by the same model.
    shape : tuple of int
        (rows, columns) of the image.
    labels : int array (rows, columns), optional
        Objects that are there already.
    version : str
        Of the model.
    """
    scores = likeness(examples, pool.traits, pool.predicted_iou, pool.stability)
    good = np.flatnonzero(scores >= LEAST)
    return Suggestions.from_masks(
        [pool.masks[i] for i in good],
        scores[good],
        shape,
        labels=labels,
        columns={
            "predicted_iou": pool.predicted_iou[good].tolist(),
            "stability": pool.stability[good].tolist(),
            "point": [pool.masks[i].box[:2] for i in good],
        },
        source="similar",
        version=version,
        fingerprint=pool.fingerprint,
    )
