"""A mask with its place in the plane: stored compactly, compared, drawn into arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .windows import Window


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
        result = np.zeros(window.shape, bool)
        self.paste(result, True, window.row, window.col)
        return result

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
