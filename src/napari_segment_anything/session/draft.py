"""Objects in progress, as immutable values: undo restores the earlier draft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..engine import PlacedMask, Window
from ..errors import PromptError
from .objects import ObjectPrompts, Scribble, SuggestedMask
from .schema import Box, Plane, Point, window_json

T = TypeVar("T")
Keyed = tuple[tuple[int, T], ...]


@dataclass(frozen=True, slots=True)
class DraftPoint:
    """A point of a draft.

    Parameters
    ----------
    position : (row, column)
    positive : bool
    key : int or None
        Of its object; None for a negative point that belongs to the object with the nearest
        positive prompts.
    """

    position: Point
    positive: bool
    key: int | None


@dataclass(frozen=True, slots=True)
class Draft:
    """The object in progress, or several in a batch.

    Parameters
    ----------
    plane : tuple of int
        Where it lies.
    revision : int
        Changes whenever masks have to be decoded anew.
    batch : bool
        Whether every positive prompt is a separate object.
    points : tuple of DraftPoint
        In the order in which they were added.
    boxes, masks : tuple of (key, value)
    scribbles : tuple of (key or None, Scribble)
    painted : tuple of (key, PlacedMask)
        Masks drawn by hand, which replace the decoded ones.
    candidates : tuple of (key, int)
        Candidates that the user chose.
    editing : int or None
        The committed object that will be replaced.
    window : Window or None
        Where a single object is decoded.
    ancestors : tuple of (revision, candidate or None)
        Earlier drafts with some of these prompts, the latest last; their masks may be refined.
    seconds, started : float
        Seconds spent up to `started`, a time of the session.
    next_key : int
        The next object's key.
    suggested : SuggestedMask or None
        The suggestion that it began with.
    """

    plane: Plane
    revision: int
    batch: bool = False
    points: tuple[DraftPoint, ...] = ()
    boxes: Keyed[Box] = ()
    masks: Keyed[PlacedMask] = ()
    scribbles: tuple[tuple[int | None, Scribble], ...] = ()
    painted: Keyed[PlacedMask] = ()
    candidates: Keyed[int] = ()
    editing: int | None = None
    window: Window | None = None
    ancestors: tuple[tuple[int, int | None], ...] = ()
    seconds: float = 0.0
    started: float = 0.0
    next_key: int = 0
    suggested: SuggestedMask | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no prompt."""
        return not (self.points or self.boxes or self.masks or self.scribbles or self.painted)

    @property
    def keys(self) -> tuple[int, ...]:
        """Keys of the objects, in the order in which they were begun."""
        found = {point.key for point in self.points if point.key is not None}
        found |= {key for key, _ in self.boxes} | {key for key, _ in self.masks}
        found |= {key for key, _ in self.scribbles if key is not None}
        found |= {key for key, _ in self.painted}
        return tuple(sorted(found))

    def objects(self) -> dict[int, ObjectPrompts]:
        """Return the prompts of each object by its key; every negative prompt has one object."""
        points: dict[int, list[DraftPoint]] = {key: [] for key in self.keys}
        lines: dict[int, list[Scribble]] = {key: [] for key in points}
        for point in self.points:
            if point.key is not None:
                points[point.key].append(point)
        for key, scribble in self.scribbles:
            if key is not None:
                lines[key].append(scribble)
        boxes, masks = dict(self.boxes), dict(self.masks)
        own = {
            key: ObjectPrompts(
                tuple(point.position for point in mine),
                tuple(point.positive for point in mine),
                boxes.get(key),
                tuple(lines[key]),
                masks.get(key),
            )
            for key, mine in points.items()
        }
        for point in self.points if own else ():
            if point.key is None:
                near = _nearest(own, [point.position])
                at = (*own[near].points, point.position)
                labels = (*own[near].labels, point.positive)
                own[near] = replace(own[near], points=at, labels=labels)
        for free, scribble in self.scribbles if own else ():
            if free is None:
                near = _nearest(own, scribble.points())
                own[near] = replace(own[near], scribbles=(*own[near].scribbles, scribble))
        return own

    def key_of(self, point: DraftPoint) -> int | None:
        """Return the key of the object that a point belongs to."""
        own = {} if point.key is not None else self.objects()
        return _nearest(own, [point.position]) if own else point.key

    def key_or_first(self, key: int | None) -> int:
        """Return the key of an object, by default the first; raise a `PromptError` if not there."""
        return self.keys[0] if key is None else self.check_key(key)

    def key_for(self, key: int | None, positive: bool = True) -> tuple[Draft, int | None]:
        """Return the object that a new prompt belongs to; in a batch, a new one if none is given.

        Parameters
        ----------
        key : int or None
            The object that was given.
        positive : bool
            A negative prompt of a batch belongs to the nearest object: its key is None.

        Returns
        -------
        draft : Draft
            With the next key incremented, if there is a new object.
        key : int or None
        """
        if key is not None:
            if self.keys or self.batch:
                self.check_key(key)
            return self, key
        if not self.batch:
            return self, 0
        if not positive:
            return self, None
        return replace(self, next_key=self.next_key + 1), self.next_key

    def unpainted(self, key: int | None) -> Draft:
        """Make the mask drawn by hand of an object (of all, if None) its region to refine."""
        draft = self
        for own in [own for own, _ in self.painted] if key is None else [key]:
            drawn = lookup(self.painted, own)
            if drawn is not None:
                painted, masks = (
                    assign(draft.painted, own, None),
                    assign(draft.masks, own, drawn),
                )
                draft = replace(draft, painted=painted, masks=masks)
        return draft

    def check_index(self, index: int) -> int:
        """Return the index of a point; raise a `PromptError` if there is no such point."""
        if not 0 <= int(index) < len(self.points):
            raise PromptError(
                f"there is no point {index}; the object in progress has {len(self.points)}"
            )
        return int(index)

    def check_key(self, key: int) -> int:
        """Return the key of an object; raise a `PromptError` if there is no such object."""
        if key not in self.keys:
            raise PromptError(f"there is no object {key} in progress; there are {list(self.keys)}")
        return int(key)


def lookup(pairs: Keyed[T], key: int) -> T | None:
    """Return the value of a key, or None."""
    return next((value for own, value in pairs if own == key), None)


def assign(pairs: Keyed[T], key: int, value: T | None) -> Keyed[T]:
    """Return pairs with a value for a key, or without it if the value is None."""
    rest = tuple(pair for pair in pairs if pair[0] != key)
    return rest if value is None else (*rest, (key, value))


def _nearest(objects: dict[int, ObjectPrompts], points: Sequence[Point]) -> int:
    """Return the key of the object whose positive prompts are nearest to any of the points."""
    wanted = np.asarray(points, np.float64)
    owners = [key for key in objects if objects[key].decodable] or [*objects]
    return min(owners, key=lambda key: (_distance(objects[key], wanted), key))


def _distance(prompts: ObjectPrompts, wanted: np.ndarray) -> float:
    """Return the distance between points (k, 2) and an object's positive prompts."""
    distances = [float("inf")]
    found = prompts.ask().positive
    if len(found):
        distances.append(float(np.linalg.norm(wanted[:, None] - found[None], axis=-1).min()))
    boxes = [] if prompts.box is None else [prompts.box]
    if prompts.mask is not None:
        row, col, height, width = window_json(prompts.mask.window)
        boxes.append((row, col, row + height, col + width))
    for box in boxes:
        low, high = np.asarray(box[:2]), np.asarray(box[2:])
        away = np.abs(wanted - (low + high) / 2) - (high - low) / 2
        distances.append(float(np.linalg.norm(np.maximum(away, 0), axis=-1).min()))
    return min(distances)
