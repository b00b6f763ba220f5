"""Examples by the features of the model that segments; no other model is needed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..automatic import CandidateTable
from ..automatic.candidates import placed
from ..engine import PlacedMask, PlaneSource, Predictor, Window
from ..formats.rle import RLE
from ..progress import Progress
from .comparing import LEAST, likeness
from .finder import Sightings
from .pool import candidate_steps
from .query import Query
from .traits import Traits, describe_objects


@dataclass(frozen=True, slots=True)
class OwnFeatures:
    """Compares the candidates of everything mode with examples.

    Parameters
    ----------
    frame : int
        Of the model that segments.
    mode : str
        Of everything mode.
    parameters : mapping
        Of everything mode.
    threshold : float
        Chosen on training images (benchmarks/similar.py).
    """

    frame: int
    mode: str = "auto"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str = "own features"
    takes: frozenset[str] = frozenset({"examples"})
    threshold: float = 0.3
    elsewhere: bool = True

    def learn(
        self,
        query: Query,
        masks: Sequence[PlacedMask],
        source: PlaneSource,
        predictor: Predictor,
    ) -> Generator[Progress, None, Traits]:
        """Describe the examples."""
        return (yield from describe_objects(masks, source, predictor))

    def look(
        self, learned: Traits, source: PlaneSource, predictor: Predictor, window: Window
    ) -> Generator[Progress, None, Sightings]:
        """Segment everything, and compare it."""
        table, chosen = yield from candidate_steps(
            source, predictor, self.mode, window, **self.parameters
        )
        masks = plane_masks(table, chosen, source.shape)
        placed_masks = [placed(mask) for mask in masks]
        traits = yield from describe_objects(placed_masks, source, predictor, window)
        found = table.candidates
        scores = found.predicted_iou[chosen], found.stability_score[chosen]
        alike = likeness(learned, traits, *scores).astype(np.float32)
        good = np.flatnonzero(alike >= LEAST)
        return Sightings(
            tuple(masks[i] for i in good), alike[good], scores[0][good], scores[1][good]
        )


def plane_masks(table: CandidateTable, chosen: list[int], shape: tuple[int, int]) -> list[RLE]:
    """Return the masks of candidates of a window in the whole plane.

    Parameters
    ----------
    table : CandidateTable
        Of a window of the plane.
    chosen : list of int
        Positions of candidates that have a mask.
    shape : (int, int)
        Rows and columns of the plane.
    """
    masks = (table.candidates.masks[i] for i in chosen)
    return [mask.place(table.origin, shape) for mask in masks if mask is not None]
