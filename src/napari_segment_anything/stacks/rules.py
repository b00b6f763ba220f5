"""When an object that is followed goes on to the next plane, and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..engine import Embedding, PlacedMask
from ..errors import ParameterError
from .embeddings import Place

PRED_IOU_THRESH = 0.15
OVERLAP_THRESH = 0.15
MAX_AREA_CHANGE = 6.0
STIFFNESS = 12.0
LIKENESS_THRESH = 0.35


@dataclass(frozen=True, slots=True)
class Rules:
    """How an object is followed, and when it ends.

    Parameters
    ----------
    pred_iou_thresh : float
        It ends where the predicted IoU of its mask is below this.
    overlap_thresh : float
        It ends where its mask has a smaller IoU than this with that on the last plane.
    max_area_change : float
        It ends where its area is more than this many times larger or smaller.
    stiffness : float
        How much the last plane's outline counts against what the network says: logits per
        radius of the object. 0 takes the network's masks as they are. Logits count in full from
        a predicted IoU of 0.8, and hardly at 0.3.
    likeness_thresh : float
        It ends where it looks less like it did on the plane it was prompted for on; see
        `Reference.likeness`.

    Raises
    ------
    ParameterError
        If a value is out of range.
    """

    pred_iou_thresh: float = PRED_IOU_THRESH
    overlap_thresh: float = OVERLAP_THRESH
    max_area_change: float = MAX_AREA_CHANGE
    stiffness: float = STIFFNESS
    likeness_thresh: float = LIKENESS_THRESH

    def __post_init__(self) -> None:
        for name in ("pred_iou_thresh", "overlap_thresh", "likeness_thresh"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"{name} lies between 0 and 1, not {getattr(self, name)}")
        if not self.max_area_change > 1:
            raise ParameterError(f"max_area_change is above 1, not {self.max_area_change}")
        if not 0 <= self.stiffness < np.inf:
            raise ParameterError(f"stiffness is 0 or more, not {self.stiffness}")


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of an object on the next plane.

    Parameters
    ----------
    mask : PlacedMask or None
        None if it ends here.
    score : float
        Predicted IoU.
    end : str
        Why it ends: "score", "overlap", "area", "likeness" or "empty"; "" if not.
    """

    mask: PlacedMask | None
    score: float
    end: str = ""


class Follower(Protocol):
    """A way to find objects on the next plane."""

    def know(
        self, embedding: Embedding, place: Place, masks: Sequence[PlacedMask]
    ) -> Sequence[Any]:
        """Look at objects on the plane they were prompted for on, to know them again.

        Parameters
        ----------
        embedding : Embedding
            Of the plane, or a window that holds all of them.
        place : Place
            What that is of.
        masks : sequence of PlacedMask
            The objects, in pixels of the plane.

        Returns
        -------
        sequence
            What `follow` takes as `known`, for each object.
        """
        ...

    def follow(
        self,
        embedding: Embedding,
        place: Place,
        last: Sequence[PlacedMask],
        known: Sequence[Any],
        rules: Rules,
    ) -> list[Followed]:
        """Find objects on a plane; they have no influence on each other.

        Parameters
        ----------
        embedding : Embedding
            Of the plane, or a window that holds all of `last`.
        place : Place
            What that is of.
        last : sequence of PlacedMask
            The objects on the plane before.
        known : sequence
            What `know` said of them.
        rules : Rules
        """
        ...
