"""A mask as the rectangle that holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .windows import Window


def bounds(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Return the smallest rows and columns that hold every True pixel; None if there is none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    cols = np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def intersection(first: Window, second: Window) -> tuple[slice, slice] | None:
    """Return rows and columns, in image pixels, that two windows share; None if none."""
    top, left = max(first.row, second.row), max(first.col, second.col)
    bottom = min(first.row + first.height, second.row + second.height)
    right = min(first.col + first.width, second.col + second.width)
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


def union(first: Window, second: Window) -> Window:
    """Return the smallest window that holds two."""
    row, col = min(first.row, second.row), min(first.col, second.col)
    bottom = max(first.row + first.height, second.row + second.height)
    right = max(first.col + first.width, second.col + second.width)
    return Window(row, col, bottom - row, right - col)


def moved(where: tuple[slice, slice], window: Window) -> tuple[slice, slice]:
    """Turn rows and columns of the image into those of a window."""
    rows, cols = where
    return (
        slice(rows.start - window.row, rows.stop - window.row),
        slice(cols.start - window.col, cols.stop - window.col),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A mask as the rectangle that holds it; nothing outside of it is True.

    Parameters
    ----------
    window : Window or None
        Where, in full-resolution pixels; None for an empty mask.
    mask : bool array (height, width)
    """

    window: Window | None
    mask: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, window: Window) -> Cutout:
        """Cut a mask bool (height, width), which lies at `window`, to its bounds."""
        where = bounds(mask)
        if where is None:
            return cls(None, np.zeros((0, 0), bool))
        rows, cols = where
        part = np.array(mask[where])
        return cls(Window(window.row + rows.start, window.col + cols.start, *part.shape), part)

    @property
    def empty(self) -> bool:
        """Whether no pixel is True."""
        return self.window is None

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    def within(self, window: Window) -> np.ndarray:
        """Return the mask as seen in another window: bool (height, width)."""
        result = np.zeros(window.shape, bool)
        where = None if self.window is None else intersection(self.window, window)
        if self.window is not None and where is not None:
            result[moved(where, window)] = self.mask[moved(where, self.window)]
        return result
