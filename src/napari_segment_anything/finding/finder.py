"""What finds the instances of a concept in a view of a plane."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engine import PlacedMask, PlaneSource, Predictor, Window
from ..formats.rle import RLE, encode
from ..progress import Progress
from .query import Query


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """What a finder found in a view: n masks, which may overlap.

    Parameters
    ----------
    masks : tuple of RLE
        Of the whole plane.
    likeness : float32 array (n,)
        How probable it is that each is what was looked for, 0 to 1.
    predicted_iou, stability : float32 array (n,)
        Scores of the model that segmented it; NaN if there is none.
    """

    masks: tuple[RLE, ...]
    likeness: NDArray[np.float32]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]


def plane_rle(mask: PlacedMask, shape: tuple[int, int]) -> RLE:
    """Return a mask as run lengths of the whole plane, of shape (rows, columns)."""
    return encode(mask.mask).place((mask.window.row, mask.window.col), shape)


class Finder(Protocol):
    """Finds instances of a concept; it keeps no state of images."""

    @property
    def name(self) -> str:
        """The `source` of what it finds."""

    @property
    def takes(self) -> frozenset[str]:
        """What it understands: "words", "examples"."""

    @property
    def threshold(self) -> float:
        """Likeness from which on it is probably right."""

    @property
    def frame(self) -> int:
        """Side in pixels of the part of an image that it sees at full resolution."""

    @property
    def elsewhere(self) -> bool:
        """Whether examples may lie in another view or image than what is found."""

    def learn(
        self,
        query: Query,
        masks: Sequence[PlacedMask],
        source: PlaneSource,
        predictor: Predictor,
    ) -> Generator[Progress, None, Any]:
        """Work out once what to compare with, from words and from examples in a plane.

        Parameters
        ----------
        query : Query
        masks : sequence of PlacedMask
            Of the examples, in their order.
        source : PlaneSource
            The plane that examples lie in.
        predictor : Predictor
            Of the model that segments.

        Returns
        -------
        object
            For `look`.
        """
        ...

    def look(
        self, learned: Any, source: PlaneSource, predictor: Predictor, window: Window
    ) -> Generator[Progress, None, Sightings]:
        """Find instances in a window of a plane.

        Parameters
        ----------
        learned : object
            From `learn`.
        source : PlaneSource
            The plane.
        predictor : Predictor
        window : Window
        """
        ...
