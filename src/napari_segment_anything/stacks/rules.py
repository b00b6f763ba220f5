"""Rules by which an object is followed to the next plane, or ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..engine import Embedding, PlacedMask
from ..parameters import FOLLOWING, check_values
from .embeddings import Place
from .seeds import Seed


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
        None if it ends here; empty if it is not here, but may return.
    score : float
        Predicted IoU.
    end : str
        Why it ends: "score", "overlap", "area", "likeness" or "empty"; "" if not.
    recent : object
        What the follower wants to be given on the next plane, with the `Trail`.
    """

    mask: PlacedMask | None
    score: float
    end: str = ""
    recent: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """An object that is to be found on the next plane.

    Parameters
    ----------
    step : int
        +1 or -1: the direction in which planes are followed.
    last : PlacedMask
        The object on the plane before.
    seed : int
        The plane it was prompted for on, and is followed from.
    prompted : mapping of int to object
        What `ObjectFollower.know` returned for that plane, and for other planes with prompts; for
        all of them if the follower remembers, and for the next ones if it looks ahead.
    recent : object
        From `Followed`, of the plane before in this direction; None at first.
    """

    step: int
    last: PlacedMask
    seed: int
    prompted: Mapping[int, Any]
    recent: Any

    @property
    def known(self) -> Any:
        """What is known of the object from the plane that it is followed from."""
        return self.prompted[self.seed]

    @property
    def ahead(self) -> Any:
        """What is known from the next prompted plane in this direction; None if there is none."""
        later = [plane for plane in self.prompted if (plane - self.seed) * self.step > 0]
        return self.prompted[min(later, key=lambda p: p * self.step)] if later else None


class ObjectFollower(Protocol):
    """A way to find objects on the next plane.

    Parameters
    ----------
    remembers : bool
        Whether an object is found from several planes and all of its prompts, rather than from the
        plane before and the prompts it is followed from. Then it is seen from one view on all
        planes, it may leave and return, and it is followed anew if any of its prompts change.
    looks_ahead : bool
        Whether an object is found from the next plane with prompts, too. Then the planes between
        two of them are followed anew if either changes.
    """

    remembers: bool
    looks_ahead: bool

    def know(
        self,
        embedding: Embedding,
        place: Place,
        masks: Sequence[PlacedMask],
        seeds: Sequence[Seed],
    ) -> Iterable[Any]:
        """Describe objects on the plane with their prompts, to recognise them on others.

        Parameters
        ----------
        embedding : Embedding
            Of the plane, or a window that holds all of them.
        place : Place
            What that is of.
        masks : sequence of PlacedMask
            The objects, in pixels of the plane.
        seeds : sequence of Seed
            What these come from.

        Returns
        -------
        iterable
            For each object what `follow` takes as `known`; may be found while it is iterated over.
        """
        ...

    def follow(
        self, embedding: Embedding, place: Place, trails: Sequence[Trail], rules: Rules
    ) -> list[Followed]:
        """Find objects on a plane; they have no influence on each other.

        Parameters
        ----------
        embedding : Embedding
            Of the plane, or a window that holds all objects.
        place : Place
            What that is of.
        trails : sequence of Trail
            The objects.
        rules : Rules
        """
        ...
