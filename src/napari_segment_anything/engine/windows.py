"""Windows: the rectangle of a (large) image that is encoded, and how coordinates map to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ParameterError

if TYPE_CHECKING:
    from ..network import FrameFit


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the full-resolution image, in whole pixels.

    Parameters
    ----------
    row, col : int
        First row and column.
    height, width : int
        Numbers of rows and columns, at least 1.

    Raises
    ------
    ParameterError
        If it has no pixels or starts at a negative row or column.
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("row", "col", "height", "width"):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, int(value))
            except (TypeError, ValueError, OverflowError) as error:
                raise ParameterError(
                    f"the {name} of a window is a whole number, not {value!r:.50}"
                ) from error
        if self.height < 1 or self.width < 1 or self.row < 0 or self.col < 0:
            raise ParameterError(
                f"a window needs a non-negative origin and at least one pixel, not {self}"
            )

    @classmethod
    def full(cls, shape: Sequence[int]) -> Window:
        """Return the window that is the whole image of shape (rows, columns)."""
        return cls(0, 0, shape[0], shape[1])

    @classmethod
    def around(
        cls, point: Iterable[float], shape: Sequence[int], size: int | Sequence[int]
    ) -> Window:
        """Return a window centred on a point, moved and clipped to lie inside the image.

        Parameters
        ----------
        point : two floats
            (row, column); for one outside the image, the nearest window is returned.
        shape : two ints
            Rows and columns of the image.
        size : int or two ints
            Side, or (height, width), in pixels.
        """
        height, width = (size, size) if isinstance(size, (int, np.integer)) else size
        starts, sides = [], []
        for centre, extent, side in zip(point, shape[:2], (height, width), strict=True):
            if not math.isfinite(centre):
                raise ParameterError(f"a window cannot be centred on {centre}")
            side = min(int(side), int(extent))
            start = math.floor(float(centre) - (side - 1) / 2 + 0.5)
            starts.append(min(max(start, 0), int(extent) - side))
            sides.append(side)
        return cls(starts[0], starts[1], sides[0], sides[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return (self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, to index an array with."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    @property
    def box(self) -> tuple[int, int, int, int]:
        """row_min, col_min, row_max, col_max of the outermost pixels."""
        return (self.row, self.col, self.row + self.height - 1, self.col + self.width - 1)

    def holds(self, box: Sequence[float]) -> bool:
        """Whether (row_min, col_min, row_max, col_max) of prompts is inside."""
        return (
            box[0] >= self.row - 0.5
            and box[1] >= self.col - 0.5
            and box[2] <= self.row + self.height
            and box[3] <= self.col + self.width
        )

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """Row and column slices of an array that shows a window around this one."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)

    def intersection(self, other: Window) -> Window | None:
        """Return the pixels that two windows share; None if there are none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def grown(self, pixels: int) -> Window:
        """Return the window with a margin on all sides, none beyond row and column 0."""
        up, left = min(pixels, self.row), min(pixels, self.col)
        height, width = self.height + up + pixels, self.width + left + pixels
        return Window(self.row - up, self.col - left, height, width)

    def union(self, other: Window) -> Window:
        """Return the smallest window that holds two."""
        row, col = min(self.row, other.row), min(self.col, other.col)
        bottom = max(self.row + self.height, other.row + other.height)
        right = max(self.col + self.width, other.col + other.width)
        return Window(row, col, bottom - row, right - col)

    def clip(self, shape: Sequence[int]) -> Window:
        """Return the part inside an image of shape (rows, columns).

        Raises
        ------
        ParameterError
            If no pixel of the window lies in the image.
        """
        inside = self.intersection(Window.full(shape))
        if inside is None:
            raise ParameterError(
                f"{self} lies outside the image of {shape[0]} rows and {shape[1]} columns"
            )
        return inside


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What to read for a window, and which part of the full-resolution image it covers.

    Parameters
    ----------
    level : int
        Pyramid level to read, 0 the full resolution.
    rows, cols : slice
        What to read there, in that level's pixels.
    window : Window
        The full-resolution pixels this covers: the wanted window, grown to whole pixels of
        the level.
    canvas : tuple of int
        Rows and columns that the pixels read stand for, in full-resolution pixels. Equal to
        the window's shape, but for a level whose last pixels reach over the image's edge (or
        stop short of it).
    """

    level: int
    rows: slice
    cols: slice
    window: Window
    canvas: tuple[int, int]


def frame_side(
    shape: Sequence[int], image_size: int, span: float | None = None, fit: FrameFit = "pad"
) -> tuple[int, int]:
    """Return rows and columns of an image in the frame.

    Parameters
    ----------
    shape : sequence of int
        Rows and columns of the image.
    image_size : int
        Frame side in pixels.
    span : float, optional
        Pixels of the image along the side of the frame, at least its long side.
    fit : {"pad", "stretch"}
        "pad" resizes the image so that its long side is the frame's, with the published rounding,
        int(side * scale + 0.5), but never below one pixel; "stretch" to the whole frame, unless
        there is a span.
    """
    if fit == "stretch" and span is None:
        return (image_size, image_size)
    scale = image_size * 1.0 / max(shape[0], shape[1], span or 0)
    return (
        max(1, int(shape[0] * scale + 0.5)),
        max(1, int(shape[1] * scale + 0.5)),
    )


def level_factor(full: int, reduced: int) -> float:
    """Return how many full-resolution pixels one pixel of a reduced axis stands for.

    The whole number with which ceil(full / factor) or floor(full / factor) gives the reduced
    length where there is one; otherwise the ratio of the lengths.
    """
    whole = round(full / reduced)
    if whole >= 1 and reduced in (-(-full // whole), full // whole):
        return float(whole)
    # lengths halved several times, each time rounded
    for candidate in (math.ceil(full / reduced), full // reduced):
        if candidate >= 1 and reduced in (-(-full // candidate), full // candidate):
            return float(candidate)
    return full / reduced


def choose_level(
    shapes: Sequence[tuple[int, int]],
    side: Sequence[int],
    image_size: int,
    fit: FrameFit = "pad",
) -> int:
    """Return the coarsest level at which a window still fills the frame.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of each level, the full resolution first.
    side : two ints
        Height and width of the window in full-resolution pixels, or its longer side alone.
    image_size : int
        Frame side of the image encoder in pixels.
    fit : {"pad", "stretch"}
        Whether the window's longer side fills the frame, or each of them.
    """
    best, filling = 0, max if fit == "pad" else min
    for level, shape in enumerate(shapes):
        factors = (level_factor(shapes[0][axis], shape[axis]) for axis in (0, 1))
        reduced = filling(length / factor for length, factor in zip(side, factors, strict=False))
        if reduced >= image_size - 0.5:
            best = level
    return best


def plan_window(
    shapes: Sequence[tuple[int, int]],
    window: Window | None,
    image_size: int,
    level: int | None = None,
    span: int | None = None,
    fit: FrameFit = "pad",
) -> WindowPlan:
    """Decide what to read to embed a window.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of each pyramid level, the full resolution first.
    window : Window or None
        In full-resolution pixels, clipped to the image; None is the whole image.
    image_size : int
        Frame side of the image encoder in pixels.
    level : int, optional
        The level to read; by default the coarsest at which the window fills the frame.
    span : int, optional
        Pixels of the image along the side of the frame, if more than the window has.
    fit : {"pad", "stretch"}
        As for `frame_side`.

    Raises
    ------
    ParameterError
        If the window lies outside the image or the level does not exist.
    """
    window = Window.full(shapes[0]) if window is None else window.clip(shapes[0])
    if level is None:
        seen = window.shape if span is None else (max(span, *window.shape),)
        level = choose_level(shapes, seen, image_size, fit)
    elif not 0 <= level < len(shapes):
        raise ParameterError(f"level {level} does not exist: the image has {len(shapes)}")
    if level == 0:
        return WindowPlan(0, *window.slices, window, window.shape)
    reads, starts, sides, canvas = [], [], [], []
    for axis, (start, side) in enumerate(zip((window.row, window.col), window.shape, strict=True)):
        full, reduced = shapes[0][axis], shapes[level][axis]
        factor = level_factor(full, reduced)
        first = min(int(start / factor), reduced - 1)
        last = min(max(math.ceil((start + side) / factor), first + 1), reduced)
        begin = min(round(first * factor), full - 1)
        end = full if last == reduced else min(round(last * factor), full)
        reads.append(slice(first, last))
        starts.append(begin)
        sides.append(max(end - begin, 1))
        canvas.append(max(1, round((last - first) * factor)))
    return WindowPlan(
        level,
        reads[0],
        reads[1],
        Window(starts[0], starts[1], sides[0], sides[1]),
        (canvas[0], canvas[1]),
    )
