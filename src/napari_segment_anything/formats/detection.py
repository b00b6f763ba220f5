"""An object that another program found: a box or a mask, with its class and score.

Boxes are (row_min, col_min, row_max, col_max) with pixel centres at integers, as everywhere here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PromptError
from .rle import RLE, encode

_LARGEST = 2**32 - 1

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Detection:
    """An object that another program found.

    Parameters
    ----------
    id : int
        From 1 to 2^32 - 1.
    box : four floats, optional
        row_min, col_min, row_max, col_max; by default that of the mask.
    mask : RLE, optional
        Of the rectangle of the image that begins at `corner`.
    corner : (int, int)
        Row and column of the mask's first pixel.
    class_name : str
    score : float
        Of the other program; NaN if there is none.

    Raises
    ------
    PromptError
        If it has neither a box nor a mask, the box has no area, or the id is none.
    """

    id: int
    box: Corners | None = None
    mask: RLE | None = None
    corner: tuple[int, int] = (0, 0)
    class_name: str = ""
    score: float = math.nan

    def __post_init__(self) -> None:
        if not 1 <= self.id <= _LARGEST:
            raise PromptError(f"object {self.id}: an id is a whole number from 1 to {_LARGEST}")
        if self.box is not None:
            check_box(self.box, f"object {self.id}")
        elif self.mask is None or not self.mask.area:
            raise PromptError(f"object {self.id} has neither a box nor a mask with pixels")


def check_box(corners: Sequence[float], where: str) -> Corners:
    """Return the corners of a box as floats.

    Parameters
    ----------
    corners : four floats
        row_min, col_min, row_max, col_max.
    where : str
        Start of the message.

    Raises
    ------
    PromptError
        If it has no area, or a number is not finite.
    """
    row_min, col_min, row_max, col_max = map(float, corners)
    if not (row_min < row_max and col_min < col_max and math.isfinite(sum(corners))):
        raise PromptError(
            f"{where}: the box has no area, from row {row_min:g}, column {col_min:g} to row "
            f"{row_max:g}, column {col_max:g}"
        )
    return row_min, col_min, row_max, col_max


def polygon(
    parts: Sequence[Sequence[NDArray[Any]]], shape: tuple[int, int], where: str
) -> dict[str, Any]:
    """Rasterise polygons: return the `mask` and `corner` of a `Detection`.

    Parameters
    ----------
    parts : sequence of sequences of float arrays (k, 2)
        The rings of each polygon, (row, column); the first is the outline, others are holes.
    shape : (int, int)
        Rows and columns of the image; what is outside is cut off.
    where : str
        Start of the message.

    Raises
    ------
    PromptError
        If no pixel of the image lies inside.
    """
    from skimage.draw import polygon as pixels_of

    outlines = np.concatenate([rings[0] for rings in parts])
    low = np.clip(np.floor(outlines.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(outlines.max(axis=0)) + 1, low, shape).astype(int)
    total = np.zeros(high - low, bool)
    for rings in parts if total.size else ():
        filled = np.zeros(total.shape, bool)
        for number, ring in enumerate(rings):
            rows, cols = (ring - low).T
            filled[pixels_of(rows, cols, total.shape)] = number == 0
        total |= filled
    if not total.any():
        raise PromptError(
            f"{where}: no pixel of the image, which has {shape[0]} rows and {shape[1]} columns, "
            "lies in its outline"
        )
    return {"mask": encode(total), "corner": (int(low[0]), int(low[1]))}


def rectangle(corners: NDArray[Any]) -> Corners | None:
    """Return the box of an axis-parallel rectangle, possibly closed; None for other polygons.

    Parameters
    ----------
    corners : float array (k, 2)
        (row, column).
    """
    ring = corners[:-1] if len(corners) == 5 and (corners[0] == corners[-1]).all() else corners
    straight = all(len(np.unique(ring[:, axis])) == 2 for axis in (0, 1))
    if len(ring) != 4 or not straight or len(np.unique(ring, axis=0)) != 4:
        return None
    low, high = ring.min(axis=0), ring.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def shape_detection(
    number: int, corners: NDArray[Any], kind: str, shape: tuple[int, int], where: str
) -> Detection:
    """Make an object of a shape of a Shapes layer.

    Parameters
    ----------
    number : int
        Its id.
    corners : float array (k, 2)
        (row, column).
    kind : str
        The layer's word: an ellipse is given by the corners of its box.
    shape : (int, int)
        Rows and columns of the image.
    where : str
        Start of messages.

    Raises
    ------
    PromptError
        If it has no area: a line or path.
    """
    if kind in ("line", "path") or len(corners) < 3:
        raise PromptError(f"{where} is a {kind}, which encloses no area; draw boxes or polygons")
    box = rectangle(corners)
    if kind == "ellipse":
        box = check_box([*corners.min(axis=0), *corners.max(axis=0)], where)
    if box is not None:
        return Detection(number, box)
    return Detection(number, **polygon([[corners]], shape, where))
