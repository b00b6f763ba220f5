"""Which suggestions are most worth a look: how probable it is that one needs a correction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..finding import CandidatePool, Traits
from .suggestions import Suggestion, Suggestions, best_matches

if TYPE_CHECKING:
    from .project import Project

REASONS = {
    "score": "low score",
    "stability": "unstable outline",
    "crops": "not the same in crops of another size",
    "versions": "not the same by the model before",
    "unlike": "unlike the others",
    "seam": "on a seam of tiles",
}
# Log odds that the IoU is below .75: a logistic regression on training images, rounded
# (benchmarks/review.py --fit). The last two are not in those data: a judgement.
_WEIGHTS = {
    "score": 6.0,
    "stability": 9.5,
    "crops": 1.4,
    "unlike": 3.6,
    "versions": 2.0,
    "seam": 2.0,
}
_BIAS = -4.1
# Smallest spread of size, shape and brightness that counts as usual variation.
_USUAL = np.array([0.2, 0.1, 0.03, 0.05, 0.03, 0.02, 0.03])
_FAR = 6.0
_NOTABLE = 0.5
SEAMS = {1: 0.3, 2: 1.0, 3: 1.0, 4: 0.3}
"""Doubt for each kind of seam of a large run: merged, ambiguous, cut, redecoded."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A suggestion in the queue.

    Parameters
    ----------
    key : str
        Its image.
    id : int
        Its number there.
    worth : float
        Estimated probability that it needs a correction.
    reasons : tuple of str
        Why, the strongest reason first, in words.
    """

    key: str
    id: int
    worth: float
    reasons: tuple[str, ...]


def with_doubts(
    made: Suggestions, pool: CandidatePool, before: Suggestions | None = None
) -> Suggestions:
    """Record for new suggestions what speaks against them, beside the model's scores.

    Parameters
    ----------
    made : Suggestions
        Of a run of everything mode.
    pool : CandidatePool
        Of the same run.
    before : Suggestions, optional
        Of another version of the model.
    """
    if not len(made) or not len(pool):
        return made
    masks = [item.mask for item in made]
    own = best_matches(masks, pool.masks)[1]
    doubts = [dict(item.doubts) for item in made]
    layer = pool.layer[own]
    agreement = np.full(len(masks), np.nan)
    for number in np.unique(pool.layer):
        there = np.flatnonzero(pool.layer == number)
        iou, _ = best_matches(masks, [pool.masks[i] for i in there])
        agreement = np.fmax(agreement, np.where(layer == number, np.nan, iou))
    strange = unlikeness(pool.traits[own])
    for found, agrees, far in zip(doubts, agreement.tolist(), strange.tolist(), strict=True):
        found["unlike"] = far
        if math.isfinite(agrees):
            found["crops"] = 1 - agrees
    old = [item for item in before or () if item.source == "everything"]
    if old and {item.fingerprint for item in old} != {item.fingerprint for item in made}:
        iou, _ = best_matches(masks, [item.mask for item in old])
        for found, agrees in zip(doubts, iou.tolist(), strict=True):
            found["versions"] = 1 - agrees
    items = (replace(item, doubts=found) for item, found in zip(made, doubts, strict=True))
    return replace(made, items=tuple(items))


def unlikeness(traits: Traits) -> NDArray[np.float64]:
    """How far each object is from the median in size, shape and brightness: (n,), 0 to 1."""
    columns = np.concatenate([traits.size[:, None], traits.shape, traits.light], axis=1)
    apart = np.abs(columns - np.median(columns, axis=0))
    spread = 1.4826 * np.median(apart, axis=0) + _USUAL
    far = np.minimum(apart / spread, _FAR)
    values: NDArray[np.float64] = np.sqrt((far**2).mean(axis=1)).astype(np.float64) / _FAR
    return values


def worth(suggestion: Suggestion) -> float:
    """Estimate the probability that a suggestion needs a correction."""
    total = _BIAS + sum(_evidence(suggestion).values())
    return 1 / (1 + math.exp(-total))


def _evidence(suggestion: Suggestion) -> dict[str, float]:
    """What each doubt adds to the log odds."""
    known: Mapping[str, float] = {
        "score": 1 - suggestion.predicted_iou,
        "stability": 1 - suggestion.stability,
        **suggestion.doubts,
    }
    return {
        name: weight * known[name]
        for name, weight in _WEIGHTS.items()
        if math.isfinite(known.get(name, math.nan))
    }


def ranked(found: Sequence[tuple[str, Suggestion]]) -> tuple[ReviewItem, ...]:
    """Sort suggestions, given with the keys of their images, by what is most worth a look.

    Parameters
    ----------
    found : sequence of (str, Suggestion)
    """
    evidence = [_evidence(item) for _, item in found]
    usual = {
        name: float(np.median([each[name] for each in evidence if name in each] or [0.0]))
        for name in _WEIGHTS
    }
    queue = []
    for (key, item), each in zip(found, evidence, strict=True):
        more = {name: value - usual[name] for name, value in each.items()}
        names = sorted(more, key=lambda name: -more[name])
        reasons = tuple(REASONS[name] for name in names if more[name] > _NOTABLE)
        queue.append(ReviewItem(key, item.id, worth(item), reasons))
    return tuple(sorted(queue, key=lambda entry: (-entry.worth, entry.key, entry.id)))


def review_queue(
    project: Project, *, threshold: float | None = None, keys: Iterable[str] | None = None
) -> tuple[ReviewItem, ...]:
    """List the open suggestions of a project, those most worth a look first.

    Accept, correct or reject one with `Suggestions.decide`, and it leaves the queue.

    Parameters
    ----------
    project : Project
    threshold : float, optional
        Least score; by default the project's setting ``suggestion_score``.
    keys : iterable of str, optional
        Of the images; by default all that are neither complete nor skipped.

    Raises
    ------
    ParameterError
        If the project has no image of that key.
    FormatError
        If suggestions cannot be read.
    """
    least = float(project.settings["suggestion_score"]) if threshold is None else threshold
    if keys is None:
        keys = [i.key for i in project.images if i.state not in ("complete", "skipped")]
    found = []
    for key in keys:
        shown = project.image(key).suggestions().shown(least)
        found += [(key, item) for item in shown]
    return ranked(found)
