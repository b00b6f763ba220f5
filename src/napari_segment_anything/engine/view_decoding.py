"""Candidates that the network gives for objects from one view, and the masks drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .ask import Ask
from .embedding import Embedding
from .masks import draw_masks
from .placed_mask import PlacedMask
from .predictor import Predictor
from .view import View

Finish = Callable[[PlacedMask, Ask], PlacedMask]
"""Turns the network's mask of an object into the final one."""


@dataclass(slots=True, eq=False)
class ViewCandidates:
    """The network's candidates for one object from one view.

    Parameters
    ----------
    ask : Ask
        The prompts.
    view : View
        Where.
    embedding : Embedding
        Maps logits to pixels; without features, to save memory.
    logits : float32 array (candidates, 4h, 4w)
    scores : float32 array (candidates,)
        Predicted IoU.
    preferred : tuple of int
        Candidates in order of preference.
    threshold : float
        A mask is where upsampled logits exceed this.
    finish : callable
        See `Finish`.
    """

    ask: Ask
    view: View
    embedding: Embedding
    logits: np.ndarray
    scores: np.ndarray
    preferred: tuple[int, ...]
    threshold: float
    finish: Finish
    best: int = field(init=False)
    """The candidate that agrees with most points, of several the one that is preferred.

    Points tell what is meant more reliably than predicted IoU does: with the candidate for
    unambiguous prompts alone, masks stop improving at the fourth click.
    """
    _drawn: dict[int, PlacedMask] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best, least = self.preferred[0], len(self.ask.points) + 1
        for index in self.preferred:
            mask = self.mask(index)
            missed = mask.holds(self.ask.points) != self.ask.inside
            # an empty mask is worst
            misses = len(missed) + 1 if mask.empty else int(np.count_nonzero(missed))
            if misses < least:
                self.best, least = index, misses
            if not least:
                break

    def mask(self, index: int) -> PlacedMask:
        """Return a candidate's final mask, drawn on first use."""
        if index not in self._drawn:
            [drawn] = draw_masks(self.logits[index][None], self.embedding, self.threshold)
            self._drawn[index] = self.finish(drawn, self.ask)
        return self._drawn[index]

    @property
    def score(self) -> float:
        """Predicted IoU of the best candidate."""
        return float(self.scores[self.best])

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Outermost pixels of the best mask; None if it is empty."""
        mask = self.mask(self.best)
        return None if mask.empty else mask.window.box


def decode_view(
    predictor: Predictor,
    embedding: Embedding,
    view: View,
    asks: Sequence[Ask],
    multimask: bool | str,
    finish: Finish,
) -> list[ViewCandidates]:
    """Decode objects from one view.

    Parameters
    ----------
    predictor : Predictor
    embedding : Embedding
        Of `view`.
    view : View
    asks : sequence of Ask
    multimask : "auto" or bool
        As for `Segmenter`.
    finish : callable
        See `Finish`.

    Returns
    -------
    list of ViewCandidates
        One for each object; objects have no influence on each other.
    """
    features = embedding.features.new_empty((1, 0, *embedding.features.shape[-2:]))
    bare = replace(embedding, features=features, heads={})
    seen = [ask.seen_in(embedding) for ask in asks]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, ask in enumerate(asks):
        # whether the candidates for ambiguous prompts are the ones to choose from
        several = ask.ambiguous if multimask == "auto" else bool(multimask)
        kinds = ((name, array.shape) for name, array in seen[i].items())
        groups.setdefault((several, *kinds), []).append(i)
    found: dict[int, ViewCandidates] = {}
    for (several, *_), chosen in groups.items():
        # prompts that are not ambiguous: their own mask first, the other three as alternatives
        all_four = not several and multimask == "auto"
        arrays = {name: np.stack([seen[i][name] for i in chosen]) for name in seen[chosen[0]]}
        logits, scores, _ = predictor.decode_group(embedding, arrays, several or all_four, all_four)
        each = zip(chosen, logits.float().cpu().numpy(), scores.float().cpu().numpy(), strict=True)
        for i, low, iou in each:
            order = np.argsort(-iou, kind="stable").tolist()
            if all_four:
                order.remove(0)
                order.insert(0, 0)
            threshold = predictor.model.mask_threshold
            found[i] = ViewCandidates(
                asks[i], view, bare, low, iou, tuple(order), threshold, finish
            )
    return [found[i] for i in range(len(asks))]
