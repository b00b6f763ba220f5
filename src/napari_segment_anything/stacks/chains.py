"""Chains: an object followed from a plane with prompts in one direction; and how two meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..engine import PlacedMask

EDGE, MET = "edge", "prompts"
"""Why a chain ended, where the object itself did not: the stack ends, or prompts follow."""
ABSENT = "absent"
"""Why an object is not on a plane although its chain has not ended."""


class Link(NamedTuple):
    """A plane of a chain."""

    plane: int
    mask: PlacedMask
    score: float


class ChainKey(NamedTuple):
    """Object, plane it was prompted for, and +1 or -1."""

    number: int
    seed: int
    step: int


@dataclass(slots=True)
class Chain:
    """An object followed from its seed, plane by plane.

    Parameters
    ----------
    start : PlacedMask
        On the plane with prompts.
    limit : int
        First plane it does not go to.
    links : list of Link
        Without the seed itself; with an empty mask where the object is not, but may return.
    end : str
        Why it ended: `EDGE`, `MET`, or the reason of `Followed`; "" while it continues.
    at_end : float
        Predicted IoU on the plane where it ended.
    ahead : PlacedMask or None
        On the plane `limit`, if there are prompts for it and the follower looks ahead.
    """

    start: PlacedMask
    limit: int
    links: list[Link] = field(default_factory=list)
    end: str = ""
    at_end: float = float("nan")
    ahead: PlacedMask | None = None

    @property
    def last(self) -> PlacedMask:
        """The mask to continue from."""
        return self.links[-1].mask if self.links else self.start

    @property
    def absent_from(self) -> int | None:
        """First of the planes at its end that the object is not on; None if it is on the last."""
        first = None
        for link in reversed(self.links):
            if not link.mask.empty:
                break
            first = link.plane
        return first

    def leads_to(self, limit: int, ahead: PlacedMask | None) -> bool:
        """Return whether it was followed towards the same mask on the same plane, or to none.

        Parameters
        ----------
        limit : int
            First plane it does not go to.
        ahead : PlacedMask or None
            As `Chain.ahead`.
        """
        return self.ahead == ahead and (ahead is None or self.limit == limit)

    def cut(self, limit: int, step: int) -> Chain:
        """Return a copy that ends before the plane `limit`, which may lie farther than before.

        Parameters
        ----------
        limit : int
            First plane it does not go to.
        step : int
            Its direction, +1 or -1.
        """
        links = [link for link in self.links if (limit - link.plane) * step > 0]
        lost = self.end not in (EDGE, MET, "") and len(links) == len(self.links)
        if lost:
            seed_side = links[-1].plane + step if links else None
            lost = seed_side is None or (limit - seed_side) * step > 0
        return Chain(
            self.start,
            limit,
            links,
            self.end if lost else "",
            self.at_end if lost else float("nan"),
            self.ahead,
        )


def join(
    seeds: Mapping[int, tuple[PlacedMask, float]],
    forward: Mapping[int, Chain],
    backward: Mapping[int, Chain],
) -> dict[int, tuple[PlacedMask, float]]:
    """Put the chains of one object together.

    Between two planes with prompts both chains are followed. The object changes from one to the
    other where their masks agree best; among planes with equal agreement, nearest to the middle.
    That it is absent, they may agree as well.

    Parameters
    ----------
    seeds : mapping of plane to (PlacedMask, score)
    forward, backward : mapping of plane to Chain
        From the seed on that plane.

    Returns
    -------
    dict of plane to (PlacedMask, score)
        In order of planes, without those that it is absent from.
    """
    found: dict[int, tuple[PlacedMask, float]] = dict(seeds)
    places = sorted(seeds)
    for plane, after in zip([None, *places], [*places, None], strict=True):
        up = [] if plane is None else _links(forward.get(plane))
        down = [] if after is None else _links(backward.get(after))
        if plane is None or after is None or not up or not down:
            kept = up or down
        else:
            kept = _meet(up, down, (plane + after) / 2)
        found.update({link.plane: (link.mask, link.score) for link in kept if not link.mask.empty})
    return dict(sorted(found.items()))


def _links(chain: Chain | None) -> list[Link]:
    return [] if chain is None else chain.links


def _meet(up: Sequence[Link], down: Sequence[Link], middle: float) -> list[Link]:
    first = {link.plane: link for link in up}
    second = {link.plane: link for link in down}
    both = sorted(first.keys() & second.keys())
    if not both:
        return [*up, *down]
    change = max(
        both,
        key=lambda plane: (
            round(_agreement(first[plane].mask, second[plane].mask), 1),
            -abs(plane - middle),
        ),
    )
    return [link for link in up if link.plane <= change] + [
        link for link in down if link.plane > change
    ]


def _agreement(first: PlacedMask, second: PlacedMask) -> float:
    return 1.0 if first.empty and second.empty else first.iou(second)
