"""How far an image is: its state, its notes, and where a person has looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..errors import ParameterError

State: TypeAlias = Literal["todo", "in_progress", "complete", "skipped", "flagged"]
STATES: tuple[State, ...] = ("todo", "in_progress", "complete", "skipped", "flagged")
_Number = Annotated[float, Field(ge=-1e9, le=1e9)]
_Seconds = Annotated[float, Field(ge=0, le=1e9)]
_Text = Annotated[str, Field(max_length=10_000)]
Point: TypeAlias = tuple[_Number, _Number]
Polygon: TypeAlias = Annotated[tuple[Point, ...], Field(min_length=3)]


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """What ``state.json`` holds.

    Parameters
    ----------
    state : {"todo", "in_progress", "complete", "skipped", "flagged"}
    note : str
        Why it is flagged, or anything else.
    complete_regions : tuple of polygons
        Where every object is labelled; each polygon is its corners, (row, column) in pixels.
    negatives : tuple of (row, column)
        Points that a person marked as background.
    seconds : float
        Spent on the image, without pauses.
    held_out : bool or None
        Whether it is kept from learning, to measure with; None if that was not decided.
    objects : dict of str to int
        Objects of each class; the class of objects without one is "".
    who : str
        Who wrote it last.
    opened, finished : str
        When it was first opened, and last completed, skipped or flagged (ISO 8601, UTC).
    """

    state: State = "todo"
    note: _Text = ""
    complete_regions: tuple[Polygon, ...] = ()
    negatives: tuple[Point, ...] = ()
    seconds: _Seconds = 0.0
    held_out: bool | None = None
    objects: dict[_Text, int] = field(default_factory=dict)
    who: _Text = ""
    opened: _Text = ""
    finished: _Text = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, without those that are at their default."""
        values = asdict(self)
        default = asdict(ImageStatus())
        return {"version": 1} | {k: v for k, v in values.items() if v != default[k]}

    def seen(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Where a person has looked for every object.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the image.

        Returns
        -------
        bool array (rows, columns)
        """
        from skimage.draw import polygon

        where = np.full(shape, self.state == "complete")
        if self.state != "complete":
            for corners in self.complete_regions:
                rows, cols = np.array(corners, np.float64).T
                where[polygon(rows, cols, shape)] = True
        return where


def as_region(region: Any) -> tuple[Point, ...]:
    """Return a region as corners.

    Parameters
    ----------
    region : (row_min, col_min, row_max, col_max), or array-like (corners, 2)
        A rectangle or a polygon, in pixels.

    Raises
    ------
    ParameterError
        If it is neither, or has no area.
    """
    try:
        array = np.asarray(region, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"a region is a rectangle or a polygon: {error}") from error
    if array.shape == (4,):
        top, left, bottom, right = array
        array = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    good = array.ndim == 2 and array.shape[1] == 2 and len(array) >= 3
    if not good or not (np.abs(array) < 1e9).all() or not np.ptp(array, axis=0).all():
        raise ParameterError(
            "a region is a rectangle (row_min, col_min, row_max, col_max) with an area, or the "
            f"corners of a polygon, (corners, 2); got shape {array.shape}"
        )
    return tuple((float(row), float(col)) for row, col in array)


def as_points(points: Any) -> tuple[Point, ...]:
    """Return points, array-like (n, 2), as pairs of (row, column).

    Raises
    ------
    ParameterError
        If they are not finite numbers of that shape.
    """
    try:
        array = np.asarray(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"points are an array (n, 2) of row and column: {error}") from error
    if not (np.abs(array) < 1e9).all():
        raise ParameterError("points are finite numbers")
    return tuple((float(row), float(col)) for row, col in array)


def check_state(state: str) -> State:
    """Return a state; raise `ParameterError` if there is none of that name."""
    if state not in STATES:
        raise ParameterError(f"a state is one of {', '.join(STATES)}, not {state!r}")
    return state


def totals(statuses: Sequence[ImageStatus]) -> Mapping[str, int]:
    """Number of images in each state."""
    return {state: sum(s.state == state for s in statuses) for state in STATES}
