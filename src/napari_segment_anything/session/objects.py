"""Objects and their prompts: committed ones, and those in progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from ..engine import Ask, PlacedMask, Window
from ..errors import PromptError
from .schema import (
    Box,
    Flag,
    Index,
    Label,
    Line,
    Number,
    Plane,
    Point,
    RecordedMask,
    Text,
    window_json,
)

T = TypeVar("T")
Keyed: TypeAlias = tuple[tuple[int, T], ...]

SCRIBBLE_POINTS = 6
SCRIBBLE_SPACING = 4.0


@dataclass(frozen=True, slots=True)
class Scribble:
    """A line drawn inside an object, or outside.

    Parameters
    ----------
    line : tuple of (row, column)
        Its vertices.
    positive : bool
        Inside the object, or not.
    """

    line: Line
    positive: bool = True

    def points(self) -> list[Point]:
        """Return evenly spaced points along the line, which the network is given.

        There is one for every `SCRIBBLE_SPACING` pixels, at most `SCRIBBLE_POINTS`, each in the
        middle of its part of the line, since the ends of a drawn line often overshoot.
        """
        line = np.asarray(self.line, np.float64)
        steps = np.hypot(*np.diff(line, axis=0).T) if len(line) > 1 else np.zeros(0)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        length = float(along[-1])
        if length == 0:
            return [(float(line[0, 0]), float(line[0, 1]))]
        count = int(np.clip(round(length / SCRIBBLE_SPACING), 1, SCRIBBLE_POINTS))
        at = (np.arange(count) + 0.5) * (length / count)
        rows, cols = (np.interp(at, along, line[:, axis]) for axis in (0, 1))
        return [(float(row), float(col)) for row, col in zip(rows, cols, strict=True)]


@dataclass(frozen=True, slots=True)
class ObjectPrompts:
    """The prompts of one object, in full-resolution (row, column) of its plane.

    Parameters
    ----------
    points : tuple of (row, column)
    labels : tuple of bool
        One for each point: inside the object, or not.
    box : (row_min, col_min, row_max, col_max), optional
    scribbles : tuple of Scribble
    mask : PlacedMask, optional
        A region to refine.
    """

    points: tuple[Point, ...] = ()
    labels: tuple[Flag, ...] = ()
    box: Box | None = None
    scribbles: tuple[Scribble, ...] = ()
    mask: RecordedMask | None = None

    def __post_init__(self) -> None:
        if len(self.points) != len(self.labels):
            raise PromptError(f"{len(self.points)} points and {len(self.labels)} labels of points")
        if self.box is not None:
            _require_area(self.box)

    def __len__(self) -> int:
        """Return the number of prompts; a scribble is one."""
        more = (self.box is not None) + (self.mask is not None)
        return len(self.points) + len(self.scribbles) + more

    @property
    def decodable(self) -> bool:
        """Whether there is a positive prompt."""
        lines = any(scribble.positive for scribble in self.scribbles)
        return any(self.labels) or lines or self.box is not None or self.mask is not None

    def all_points(self) -> tuple[list[Point], list[bool]]:
        """Return all points and their labels, including those along scribbles."""
        points, labels = list(self.points), list(self.labels)
        for scribble in self.scribbles:
            sampled = scribble.points()
            points += sampled
            labels += [scribble.positive] * len(sampled)
        return points, labels

    def ask(self, window: Window | None = None) -> Ask:
        """Return the prompts as the segmenter takes them, to decode in a window first."""
        points, labels = self.all_points()
        places, inside = np.asarray(points, np.float64).reshape(-1, 2), np.asarray(labels, bool)
        return Ask(places, inside, self.box, self.mask, window)

    def extent(self) -> tuple[float, float, float, float]:
        """Return (row_min, col_min, row_max, col_max) of all prompts."""
        return self.ask().extent()

    def joined(self, other: ObjectPrompts) -> ObjectPrompts:
        """Return the prompts of both, with the box around two boxes, and without two masks."""
        boxes = [box for box in (self.box, other.box) if box is not None]
        box = boxes[0] if boxes else None
        if len(boxes) == 2:
            one, two = boxes
            low = (min(one[0], two[0]), min(one[1], two[1]))
            box = (*low, max(one[2], two[2]), max(one[3], two[3]))
        return ObjectPrompts(
            self.points + other.points,
            self.labels + other.labels,
            box,
            self.scribbles + other.scribbles,
            self.mask if other.mask is None else (other.mask if self.mask is None else None),
        )


@dataclass(frozen=True, slots=True)
class SuggestedMask:
    """A mask that a model suggests, as a session takes it.

    Parameters
    ----------
    number : int
        Its number among the suggestions of the image.
    mask : PlacedMask
    score : float
        Predicted IoU.
    """

    number: Index
    mask: RecordedMask
    score: Number


MadeBy: TypeAlias = Literal["person", "suggestion", "corrected", "imported"]


@dataclass(frozen=True, slots=True)
class SessionObject:
    """An object, its prompts, and how it was made.

    Parameters
    ----------
    id : int or None
        Its label; None for a draft.
    plane : tuple of int
        Where its prompts lie.
    prompts : ObjectPrompts
        Empty for an object drawn by hand.
    candidate : int or None
        The candidate that the user chose; None for the best.
    scores : tuple of float
        Predicted IoU of each candidate.
    score : float or None
        Predicted IoU of the mask; None for an object drawn by hand.
    fingerprint : str
        Of the model.
    seconds : float
        Spent on it, from its first prompt.
    state : {"draft", "committed"}
    class_name : str
        What the object is; empty if nobody has said so.
    made_by : {"person", "suggestion", "corrected", "imported"}
        By a person's prompts; a suggestion taken as it was, or corrected; or read from a file.
    suggestion : int or None
        Number of the suggestion that it was made from.
    """

    id: Label | None
    plane: Plane
    prompts: ObjectPrompts = field(default_factory=ObjectPrompts)
    candidate: Index | None = None
    scores: tuple[Number, ...] = ()
    score: Number | None = None
    fingerprint: Text = ""
    seconds: Number = 0.0
    state: Literal["draft", "committed"] = "committed"
    class_name: Text = ""
    made_by: MadeBy = "person"
    suggestion: Index | None = None

    @property
    def changed_by_hand(self) -> SessionObject:
        """The same object; one that no person had touched is a corrected one."""
        untouched = self.made_by in ("suggestion", "imported")
        return replace(self, made_by="corrected") if untouched else self


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


@dataclass(frozen=True)
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

    @cached_property
    def prompts(self) -> dict[int, ObjectPrompts]:
        """Prompts of each object by its key; every negative prompt belongs to one object."""
        boxes, masks = dict(self.boxes), dict(self.masks)
        points: dict[int | None, list[DraftPoint]] = {None: []}
        lines: dict[int | None, list[Scribble]] = {None: []}
        for point in self.points:
            points.setdefault(point.key, []).append(point)
        for key, scribble in self.scribbles:
            lines.setdefault(key, []).append(scribble)
        keys = {*points, *lines, *boxes, *masks, *dict(self.painted)}
        own = {
            key: ObjectPrompts(
                tuple(point.position for point in points.get(key, ())),
                tuple(point.positive for point in points.get(key, ())),
                boxes.get(key),
                tuple(lines.get(key, ())),
                masks.get(key),
            )
            for key in sorted(key for key in keys if key is not None)
        }
        for point in points[None] if own else ():
            near = _nearest(own, [point.position])
            at = (*own[near].points, point.position)
            own[near] = replace(own[near], points=at, labels=(*own[near].labels, point.positive))
        for scribble in lines[None] if own else ():
            near = _nearest(own, scribble.points())
            own[near] = replace(own[near], scribbles=(*own[near].scribbles, scribble))
        return own

    @property
    def keys(self) -> tuple[int, ...]:
        """Keys of the objects, in the order in which they were begun."""
        return tuple(self.prompts)

    def key_of(self, point: DraftPoint) -> int | None:
        """Return the key of the object that a point belongs to."""
        own = {} if point.key is not None else self.prompts
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


def as_box(box: Any) -> Box:
    """Return a box as four floats; raise a `PromptError` unless they span an area."""
    values = _floats(box, 4, "a box is (row_min, col_min, row_max, col_max)")
    found = (values[0], values[1], values[2], values[3])
    _require_area(found)
    return found


def _require_area(box: Box) -> None:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise PromptError(f"the box {box} has no area; it is (row_min, col_min, row_max, col_max)")


def as_point(point: Any) -> Point:
    """Return a point as two floats; raise a `PromptError` if it is not two finite numbers."""
    row, col = _floats(point, 2, "a point is (row, column)")
    return (row, col)


def require_inside(point: Point, shape: tuple[int, int]) -> None:
    """Check that a point lies on an image of shape (rows, columns).

    Raises
    ------
    PromptError
        If it does not.
    """
    if not inside(point, shape):
        raise PromptError(
            f"the point at (row {point[0]:g}, column {point[1]:g}) lies outside the image, whose "
            f"rows run from 0 to {shape[0] - 1} and columns from 0 to {shape[1] - 1}"
        )


def inside(point: Point, shape: tuple[int, int]) -> bool:
    """Whether a point lies on the pixels of an image of shape (rows, columns)."""
    return all(-0.5 <= at <= size - 0.5 for at, size in zip(point, shape, strict=True))


def drawn_mask(mask: Any, window: Window) -> PlacedMask:
    """Take a mask that a user drew.

    Parameters
    ----------
    mask : bool array (height, width)
    window : Window
        Where it lies, in full-resolution pixels.

    Raises
    ------
    PromptError
        If it is not boolean, is empty, or has another shape than the window.
    """
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise PromptError(f"a mask is boolean, not {array.dtype}; compare labels with an id")
    if array.shape != window.shape:
        raise PromptError(f"the mask has shape {array.shape}, its window {window.shape}")
    placed = PlacedMask.of(array, window.row, window.col)
    if placed.empty:
        raise PromptError("the mask is empty; draw or choose something")
    return placed


def as_rows(values: Any, width: int, what: str) -> list[Any]:
    """Return rows of `width` finite numbers; `what` they are begins the message of an error.

    Raises
    ------
    PromptError
        If they are no such rows.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} must be numbers: {error}") from error
    if array.size == 0:
        return []
    array = np.atleast_2d(array)
    if array.ndim != 2 or array.shape[1] != width or not np.isfinite(array).all():
        raise PromptError(f"{what}: an array (n, {width}) of finite numbers, not {array.shape}")
    return list(array.tolist())


def _floats(values: Any, count: int, what: str) -> list[float]:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what}, not {values!r}") from error
    if array.shape != (count,) or not np.isfinite(array).all():
        raise PromptError(f"{what}, not {values!r}")
    return [float(value) for value in array]
