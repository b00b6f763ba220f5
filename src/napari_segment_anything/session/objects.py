"""Objects that own their prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..engine import PlacedMask, Window
from ..errors import PromptError
from .regions import mask_from, mask_json

Point = tuple[float, float]
Box = tuple[float, float, float, float]

SCRIBBLE_POINTS = 6
SCRIBBLE_SPACING = 4.0


@dataclass(frozen=True, slots=True)
class Scribble:
    """A line drawn inside an object, or outside of it.

    Parameters
    ----------
    line : tuple of (row, column)
        Its vertices.
    positive : bool
        Inside the object, or not.
    """

    line: tuple[Point, ...]
    positive: bool = True

    def points(self) -> list[Point]:
        """Return points along the line, evenly spaced: what the network is given.

        One for every `SCRIBBLE_SPACING` pixels, `SCRIBBLE_POINTS` at most, each in the middle of
        its share of the line, since ends of a drawn line often overshoot.
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
        A mask to refine.
    """

    points: tuple[Point, ...] = ()
    labels: tuple[bool, ...] = ()
    box: Box | None = None
    scribbles: tuple[Scribble, ...] = ()
    mask: PlacedMask | None = None

    def __len__(self) -> int:
        """Return the number of prompts; a scribble is one."""
        more = (self.box is not None) + (self.mask is not None)
        return len(self.points) + len(self.scribbles) + more

    @property
    def decodable(self) -> bool:
        """Whether there is something positive."""
        lines = any(scribble.positive for scribble in self.scribbles)
        return any(self.labels) or lines or self.box is not None or self.mask is not None

    @property
    def ambiguous(self) -> bool:
        """Whether it is one point and nothing else, which may mean several objects."""
        return len(self) == 1 and len(self.points) == 1

    def all_points(self) -> tuple[list[Point], list[bool]]:
        """Return points and labels, those along scribbles included."""
        points, labels = list(self.points), list(self.labels)
        for scribble in self.scribbles:
            sampled = scribble.points()
            points += sampled
            labels += [scribble.positive] * len(sampled)
        return points, labels

    def extent(self) -> tuple[float, float, float, float]:
        """Return (row_min, col_min, row_max, col_max) of all prompts."""
        points, _ = self.all_points()
        corners = list(points)
        if self.box is not None:
            corners += [self.box[:2], self.box[2:]]
        if self.mask is not None:
            corners += _corners(self.mask.window)
        array = np.asarray(corners, np.float64)
        low, high = array.min(0), array.max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def joined(self, other: ObjectPrompts) -> ObjectPrompts:
        """Return the prompts of both; of two boxes the one around them, of two masks none."""
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

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is empty is left out."""
        plain: dict[str, Any] = {}
        if self.points:
            plain["points"] = [list(point) for point in self.points]
            plain["labels"] = [int(label) for label in self.labels]
        if self.box is not None:
            plain["box"] = list(self.box)
        if self.scribbles:
            plain["scribbles"] = [
                {"line": [list(point) for point in item.line], "positive": item.positive}
                for item in self.scribbles
            ]
        if self.mask is not None:
            plain["mask"] = mask_json(self.mask)
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ObjectPrompts:
        """Read what `to_json` gave."""
        return cls(
            tuple(_point(point) for point in data.get("points", ())),
            tuple(bool(label) for label in data.get("labels", ())),
            None if data.get("box") is None else as_box(data["box"]),
            tuple(
                Scribble(tuple(_point(p) for p in item["line"]), bool(item["positive"]))
                for item in data.get("scribbles", ())
            ),
            None if data.get("mask") is None else mask_from(data["mask"]),
        )


@dataclass(frozen=True, slots=True)
class SessionObject:
    """An object and what made it.

    Parameters
    ----------
    id : int or None
        Its label; None for a draft.
    plane : tuple of int
        Where its prompts lie.
    prompts : ObjectPrompts
        None of them for an object drawn by hand.
    candidate : int or None
        The candidate chosen by hand; None for the best.
    scores : tuple of float
        Predicted IoU of each candidate.
    score : float or None
        Predicted IoU of the one that was taken; None for an object drawn by hand.
    fingerprint : str
        Of the model.
    seconds : float
        Spent on it, from its first prompt on.
    state : {"draft", "committed"}
    """

    id: int | None
    plane: tuple[int, ...]
    prompts: ObjectPrompts = field(default_factory=ObjectPrompts)
    candidate: int | None = None
    scores: tuple[float, ...] = ()
    score: float | None = None
    fingerprint: str = ""
    seconds: float = 0.0
    state: Literal["draft", "committed"] = "committed"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "id": self.id,
            "plane": list(self.plane),
            "prompts": self.prompts.to_json(),
            "candidate": self.candidate,
            "scores": list(self.scores),
            "score": self.score,
            "fingerprint": self.fingerprint,
            "seconds": self.seconds,
            "state": self.state,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SessionObject:
        """Read what `to_json` gave."""
        return cls(
            data["id"],
            tuple(data["plane"]),
            ObjectPrompts.from_json(data["prompts"]),
            data["candidate"],
            tuple(float(score) for score in data["scores"]),
            data["score"],
            data["fingerprint"],
            float(data["seconds"]),
            data["state"],
        )


def as_box(box: Any) -> Box:
    """Return a box as four floats.

    Raises
    ------
    PromptError
        If it is not four finite numbers that span an area.
    """
    values = _floats(box, 4, "a box is (row_min, col_min, row_max, col_max)")
    if not (values[0] < values[2] and values[1] < values[3]):
        raise PromptError(
            f"the box {tuple(values)} has no area; it is (row_min, col_min, row_max, col_max)"
        )
    return (values[0], values[1], values[2], values[3])


def as_point(point: Any, shape: tuple[int, int]) -> Point:
    """Return a point as two floats.

    Raises
    ------
    PromptError
        If it is not two finite numbers, or lies outside an image of shape (rows, columns).
    """
    row, col = _floats(point, 2, "a point is (row, column)")
    if not inside((row, col), shape):
        raise PromptError(
            f"the point at (row {row:g}, column {col:g}) lies outside the image, whose rows run "
            f"from 0 to {shape[0] - 1} and columns from 0 to {shape[1] - 1}"
        )
    return (row, col)


def inside(point: Point, shape: tuple[int, int]) -> bool:
    """Whether a point lies on the pixels of an image of shape (rows, columns)."""
    return all(-0.5 <= at <= size - 0.5 for at, size in zip(point, shape, strict=True))


def _point(point: Sequence[float]) -> Point:
    row, col = point
    return (float(row), float(col))


def _floats(values: Any, count: int, what: str) -> list[float]:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what}, not {values!r}") from error
    if array.shape != (count,) or not np.isfinite(array).all():
        raise PromptError(f"{what}, not {values!r}")
    return [float(value) for value in array]


def _corners(window: Window) -> list[Point]:
    return [
        (float(window.row), float(window.col)),
        (float(window.row + window.height - 1), float(window.col + window.width - 1)),
    ]
