"""Windows, which are rectangles of an image, and masks with their place in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError
from ..wording import counted


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
class PlacedMask:
    """The pixels of one object in a plane: its smallest window, with a bit for each pixel.

    Two are equal if they hold the same pixels. Made by `PlacedMask.of`.

    Parameters
    ----------
    window : Window
        In full-resolution pixels; of the empty mask, the plane's first pixel.
    bits : bytes
        The window's pixels row by row, packed as by `numpy.packbits`.
    """

    window: Window
    bits: bytes

    def __repr__(self) -> str:
        top, left = self.window.row, self.window.col
        bottom, right = top + self.window.height, left + self.window.width
        return f"<PlacedMask: {counted(self.area, 'pixel')} in [{top}:{bottom}, {left}:{right}]>"

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_], row: int = 0, col: int = 0) -> PlacedMask:
        """Crop and pack a mask.

        Parameters
        ----------
        mask : bool array (height, width)
        row, col : int
            Position of its first pixel in the plane; it may be negative, if all pixels outside of
            the plane are False.
        """
        rows = np.flatnonzero(mask.any(axis=1))
        if not rows.size:
            return NO_MASK
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        cols = np.flatnonzero(mask[top:bottom].any(axis=0))
        part = mask[top:bottom, cols[0] : cols[-1] + 1]
        return cls(Window(row + top, col + int(cols[0]), *part.shape), np.packbits(part).tobytes())

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The pixels: a new bool array (height, width) of `window`."""
        count = self.window.height * self.window.width
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=count)
        return flat.view(bool).reshape(self.window.shape)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int.from_bytes(self.bits, "big").bit_count()

    @property
    def empty(self) -> bool:
        """Whether it holds no pixel."""
        return not int.from_bytes(self.bits, "big")

    def crop(self, row: int, col: int, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Return a rectangle of the plane, which may reach over its edges: bool (height, width)."""
        result = np.zeros((height, width), bool)
        self.paste(result, True, row, col)
        return result

    def within(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return the mask as seen in another window: bool (height, width)."""
        return self.crop(window.row, window.col, window.height, window.width)

    def paste(
        self,
        array: npt.NDArray[Any],
        value: Any,
        row: int = 0,
        col: int = 0,
        free_only: bool = False,
    ) -> None:
        """Set the mask's pixels in an array, which is changed in place.

        Parameters
        ----------
        array : array (height, width)
            Pixels of the mask outside of it are ignored.
        value : scalar
        row, col : int
            Position of the array's first pixel in the plane.
        free_only : bool
            Set only pixels that are 0.
        """
        down, right = self.window.row - row, self.window.col - col
        rows = slice(max(down, 0), max(down + self.window.height, 0))
        cols = slice(max(right, 0), max(right + self.window.width, 0))
        part = array[rows, cols]
        if part.size:
            top, left = rows.start - down, cols.start - right
            pixels = self.mask[top : top + part.shape[0], left : left + part.shape[1]]
            part[pixels & (part == 0) if free_only else pixels] = value

    def holds(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Return whether each point lies in the mask: bool (k,) of (row, col) (k, 2)."""
        at = np.floor(points + 0.5).astype(np.int64) - (self.window.row, self.window.col)
        inside = ((at >= 0) & (at < self.window.shape)).all(axis=1)
        inside[inside] = self.mask[tuple(at[inside].T)]
        return inside

    def shared(self, other: PlacedMask) -> int:
        """Count the pixels that both hold."""
        window = self.window.intersection(other.window)
        if window is None:
            return 0
        return int(np.count_nonzero(self.within(window) & other.within(window)))

    def iou(self, other: PlacedMask) -> float:
        """Return intersection over union; of two empty masks 0."""
        shared = self.shared(other)
        return shared / max(self.area + other.area - shared, 1)


NO_MASK = PlacedMask(Window(0, 0, 1, 1), b"\0")
"""The empty mask."""
