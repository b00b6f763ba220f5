"""Objects that one side may have split or merged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..engine import NO_MASK, PlacedMask

LEFT_OUT = 0.25
"""A part of a given object is a hint if it is at least this share of it."""
COVERED = 0.5
"""Another object is a hint if more than this share of it is covered."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What a comparison suggests.

    Parameters
    ----------
    kind : {"", "empty", "merge", "split"}
        "empty": the model finds nothing. "merge": its mask covers most of other objects, so that
        they may be one. "split": it leaves out a large part, so that the object may be several.
    others : tuple of int
        Positions of the other objects of a merge.
    """

    kind: str = ""
    others: tuple[int, ...] = ()


def hints(before: Sequence[PlacedMask | None], after: Sequence[PlacedMask]) -> tuple[Hint, ...]:
    """Compare given with refined masks.

    Parameters
    ----------
    before : sequence of PlacedMask or None
        Given masks; None for objects that are boxes, of which the refined mask counts.
    after : sequence of PlacedMask
        Refined masks.
    """
    bodies = [new if old is None else old for old, new in zip(before, after, strict=True)]
    covered: dict[int, list[int]] = {}
    for index, other in _neighbours(after, bodies):
        if after[index].shared(bodies[other]) > COVERED * bodies[other].area:
            covered.setdefault(index, []).append(other)
    made = []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if new.empty:
            made.append(Hint("empty"))
        elif index in covered:
            made.append(Hint("merge", tuple(covered[index])))
        else:
            made.append(Hint("split" if old is not None and _leaves_out(old, new) else ""))
    return tuple(made)


def _leaves_out(old: PlacedMask, new: PlacedMask) -> bool:
    """Whether a connected part of a mask, with a core of its own, is missing in another."""
    if old.area - old.shared(new) < LEFT_OUT * old.area:
        return False
    left = old.mask & ~new.within(old.window)
    # a rim all around an object is no part of it
    parts, count = ndimage.label(ndimage.binary_opening(np.pad(left, 1), np.ones((3, 3))))
    return count > 0 and np.bincount(parts.ravel())[1:].max() >= LEFT_OUT * old.area


def _neighbours(
    masks: Sequence[PlacedMask], bodies: Sequence[PlacedMask]
) -> Iterator[tuple[int, int]]:
    """Pairs of a mask and another object's body whose boxes meet."""
    boxes = np.array([body.window.box for body in bodies], np.int64).reshape(-1, 4)
    real = np.array([body is not NO_MASK and not body.empty for body in bodies], bool)
    order = np.flatnonzero(real)[np.argsort(boxes[real, 0], kind="stable")]
    tops: NDArray[np.int64] = boxes[order, 0]
    tallest = int((boxes[order, 2] - tops).max(initial=0))
    for index, mask in enumerate(masks):
        if mask.empty:
            continue
        top, left, bottom, right = mask.window.box
        near = order[np.searchsorted(tops, top - tallest) : np.searchsorted(tops, bottom, "right")]
        low, high = boxes[near, :2], boxes[near, 2:]
        meets = (high >= (top, left)).all(axis=1) & (low <= (bottom, right)).all(axis=1)
        yield from ((index, int(other)) for other in near[meets] if other != index)
