"""Rules by which an object is followed to the next plane, or ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..engine import Embedding, PlacedMask
from ..parameters import FOLLOWING, check_values
from .embeddings import Place


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
        Weight of the last plane's outline against the network, in logits per radius of the object.
        0 uses the network's masks unchanged. Logits have full weight from a predicted IoU of 0.8
        on, and a tenth of it below 0.3.
    likeness_thresh : float
        It ends where its likeness to itself on the plane with prompts is lower; see
        `Reference.likeness`.

    Raises
    ------
    ParameterError
        If a value is out of range.
    """

    pred_iou_thresh: float = FOLLOWING["pred_iou_thresh"].default
    overlap_thresh: float = FOLLOWING["overlap_thresh"].default
    max_area_change: float = FOLLOWING["max_area_change"].default
    stiffness: float = FOLLOWING["stiffness"].default
    likeness_thresh: float = FOLLOWING["likeness_thresh"].default

    def __post_init__(self) -> None:
        check_values(FOLLOWING, asdict(self))


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


class ObjectFollower(Protocol):
    """A way to find objects on the next plane."""

    def know(
        self, embedding: Embedding, place: Place, masks: Sequence[PlacedMask]
    ) -> Sequence[Any]:
        """Describe objects on the plane with their prompts, to recognise them on others.

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
            For each object what `follow` takes as `known`.
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
            From `know`, for each object.
        rules : Rules
        """
        ...
