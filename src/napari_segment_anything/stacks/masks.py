"""Masks of single objects in a plane: kept small, compared and taken apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..engine import Embedding, patches

_EIGHT = np.ones((3, 3), bool)
_ON_TOP = 2.0


@dataclass(frozen=True, slots=True)
class PlaneMask:
    """One object's pixels in a plane: its bounding box, and a bit for each pixel in it.

    Two are equal if they are the same pixels.

    Parameters
    ----------
    row, col : int
        First row and column that hold a pixel of it.
    shape : (int, int)
        Rows and columns of the bounding box.
    bits : bytes
        The box's pixels, packed row by row.
    area : int
        Number of pixels, at least 1.
    """

    row: int
    col: int
    shape: tuple[int, int]
    bits: bytes
    area: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_], row: int = 0, col: int = 0) -> PlaneMask | None:
        """Take a mask whose first pixel lies at (row, col) of the plane; None if it is empty."""
        rows = np.flatnonzero(mask.any(axis=1))
        if not len(rows):
            return None
        cols = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
        cut = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        return cls(
            row + int(rows[0]),
            col + int(cols[0]),
            (cut.shape[0], cut.shape[1]),
            np.packbits(cut).tobytes(),
            int(np.count_nonzero(cut)),
        )

    @property
    def pixels(self) -> NDArray[np.bool_]:
        """Bool array of the bounding box."""
        count = self.shape[0] * self.shape[1]
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=count)
        return flat.astype(bool).reshape(self.shape)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """row_min, col_min, row_max, col_max; outermost pixels."""
        return (
            self.row,
            self.col,
            self.row + self.shape[0] - 1,
            self.col + self.shape[1] - 1,
        )

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where the bounding box lies in the plane."""
        return (
            slice(self.row, self.row + self.shape[0]),
            slice(self.col, self.col + self.shape[1]),
        )

    def within(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """Bool array of a rectangle of the plane."""
        out = np.zeros((height, width), bool)
        top, left = max(self.row, row), max(self.col, col)
        bottom = min(self.row + self.shape[0], row + height)
        right = min(self.col + self.shape[1], col + width)
        if top < bottom and left < right:
            out[top - row : bottom - row, left - col : right - col] = self.pixels[
                top - self.row : bottom - self.row, left - self.col : right - self.col
            ]
        return out

    def shared(self, other: PlaneMask) -> int:
        """Pixels that both have."""
        top, left = max(self.row, other.row), max(self.col, other.col)
        bottom = min(self.row + self.shape[0], other.row + other.shape[0])
        right = min(self.col + self.shape[1], other.col + other.shape[1])
        if top >= bottom or left >= right:
            return 0
        place = (top, left, bottom - top, right - left)
        return int(np.count_nonzero(self.within(*place) & other.within(*place)))

    def iou(self, other: PlaneMask) -> float:
        """Intersection over union."""
        shared = self.shared(other)
        return shared / (self.area + other.area - shared)


def cut_masks(
    logits: NDArray[np.float32],
    embedding: Embedding,
    threshold: float,
    offset: int,
    shape: tuple[int, int],
) -> list[PlaneMask | None]:
    """Upsample logits and cut out the masks.

    Parameters
    ----------
    logits : float32 array (n, 4h, 4w)
        As decoded.
    embedding : Embedding
        What they were decoded from.
    threshold : float
        The model's mask threshold.
    offset : int
        Mirrored pixels before the plane's first row and column.
    shape : (int, int)
        Rows and columns of the plane; what lies in the mirrored margin is left out.
    """
    pieces: dict[int, list[tuple[int, int, NDArray[np.bool_]]]] = {}
    for patch in patches(logits, embedding, threshold):
        row = embedding.window.row + patch.rows.start - offset
        col = embedding.window.col + patch.cols.start - offset
        values = patch.values > threshold
        top, left = max(0, -row), max(0, -col)
        values = values[top : max(top, shape[0] - row), left : max(left, shape[1] - col)]
        if values.size:
            pieces.setdefault(patch.index, []).append((row + top, col + left, values))
    found: list[PlaneMask | None] = []
    for index in range(len(logits)):
        parts = pieces.get(index)
        if parts is None:
            found.append(None)
        else:  # patches of one mask are bands of the same columns
            whole = np.concatenate([values for *_, values in parts])
            found.append(PlaneMask.of(whole, parts[0][0], parts[0][1]))
    return found


def overlapping_parts(mask: PlaneMask, last: PlaneMask) -> PlaneMask | None:
    """Keep the connected parts of a mask that share pixels with the last one."""
    pixels = mask.pixels
    parts, count = ndimage.label(pixels, _EIGHT)
    if count < 2:
        return mask
    before = last.within(mask.row, mask.col, *mask.shape)
    keep = np.zeros(count + 1, bool)
    keep[np.unique(parts[before])] = True
    keep[0] = False
    return PlaneMask.of(keep[parts], mask.row, mask.col)


def interior_point(mask: PlaneMask) -> tuple[int, int]:
    """(row, col) of the pixel of a mask that is farthest from its outline."""
    distance = ndimage.distance_transform_edt(np.pad(mask.pixels, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(int(distance.argmax()), mask.shape)
    return mask.row + int(row), mask.col + int(col)


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance from the outline, positive inside; pixels next to it have half a pixel."""
    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~padded)[1:-1, 1:-1]
    distance: NDArray[np.float64] = inside - outside - np.where(mask, 0.5, -0.5)
    return distance


def depth(mask: PlaneMask) -> NDArray[np.float32]:
    """How deep inside the mask each pixel of its box lies: 1 at the deepest, 0 outside."""
    distance = ndimage.distance_transform_edt(np.pad(mask.pixels, 1))[1:-1, 1:-1]
    result: NDArray[np.float32] = (distance / distance.max()).astype(np.float32)
    return result


def compose(
    objects: Iterable[tuple[int, PlaneMask, bool]], shape: Sequence[int]
) -> NDArray[np.uint32]:
    """Paint the objects of a plane.

    A pixel that several claim goes to the one it lies deeper inside of, relative to its size;
    to a mask that was prompted for before one that was not. The order of objects is
    of no consequence, but for exact ties, which go to the lower id.

    Parameters
    ----------
    objects : iterable of (int, PlaneMask, bool)
        Id, mask, and whether there were prompts for it on this plane.
    shape : (int, int)
        Rows and columns of the plane.
    """
    labels = np.zeros((shape[0], shape[1]), np.uint32)
    best: NDArray[np.float32] | None = None
    items = sorted(objects, key=lambda item: item[0])
    for number, mask, prompted in items:
        if len(items) == 1:
            labels[mask.slices][mask.pixels] = number
            break
        if best is None:
            best = np.zeros(labels.shape, np.float32)
        inside = depth(mask) + np.float32(_ON_TOP if prompted else 0.0)
        wins = mask.pixels & (inside > best[mask.slices])
        labels[mask.slices][wins] = number
        best[mask.slices][wins] = inside[wins]
    return labels
