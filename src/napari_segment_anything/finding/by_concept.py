"""Words, examples or both by SAM 3, which finds masks itself."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ..engine import PlacedMask, PlaneSource, Predictor, Window
from ..families.concepts import ConceptFinder
from ..progress import Progress
from .comparing import LEAST
from .finder import Sightings, plane_rle
from .query import Query
from .views import read_rgb


@dataclass(frozen=True, slots=True)
class ConceptSearch:
    """Asks SAM 3. Without words, it finds only in views that show an example.

    Parameters
    ----------
    model : ConceptFinder
    """

    model: ConceptFinder
    takes: frozenset[str] = frozenset({"words", "examples"})
    elsewhere: bool = False

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def threshold(self) -> float:
        """Score from which on a mask is probably right, as published."""
        return self.model.threshold

    @property
    def frame(self) -> int:
        """The model's."""
        return self.model.frame

    def learn(
        self,
        query: Query,
        masks: Sequence[PlacedMask],
        source: PlaneSource,
        predictor: Predictor,
    ) -> Generator[Progress, None, Query]:
        """Keep the query: SAM 3 reads it together with the image."""
        yield Progress(0, 1, message="reading words")
        return query

    def look(
        self, learned: Query, source: PlaneSource, predictor: Predictor, window: Window
    ) -> Generator[Progress, None, Sightings]:
        """Ask for all instances in a window."""
        yield Progress(0, 1, message="asking SAM 3")
        first = np.array([window.row, window.col] * 2, np.float64)
        boxes = learned.boxes - first
        last = np.array(window.shape) - 1
        boxes = boxes[(boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= last).all(axis=1)]
        if not learned.words and not len(boxes):
            nothing = np.zeros(0, np.float32)
            return Sightings((), nothing, nothing, nothing)
        found = self.model.find(read_rgb(source, window), learned.words, boxes, LEAST)
        masks = (
            PlacedMask.of(found.mask(i, window.shape), window.row, window.col)
            for i in range(len(found))
        )
        kept = {i: plane_rle(mask, source.shape) for i, mask in enumerate(masks) if not mask.empty}
        unknown = np.full(len(kept), np.nan, np.float32)
        return Sightings(tuple(kept.values()), found.scores[list(kept)], unknown, unknown)
