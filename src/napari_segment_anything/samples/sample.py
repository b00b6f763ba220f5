"""A sample image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..wording import extent


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image to try things on, with ground truth if available.

    Parameters
    ----------
    name : str
        Its name, as in ``sample:coins``.
    image : array
        Pixels: uint8 or uint16.
    axes : str
        A letter per dimension: T, Z, C, Y, X, and S for colour samples.
    channel_axis : int or None
        Position of C.
    rgb : bool
        Whether the last axis holds red, green, blue.
    scale : tuple of float
        Pixel size along each dimension (1.0 for C and S).
    units : tuple of (str or None)
        Unit of each scale; None where unknown.
    labels : int32 array or None
        Ground truth on the T, Z, Y, X grid: 0 is background, each other value an object.
    description, licence, source : str
        Content, licence and origin.
    lineage : dict of int to list of int, or None
        In a time-lapse, the parent of each cell that results from a division.
    """

    name: str
    image: NDArray[Any]
    axes: str
    channel_axis: int | None
    rgb: bool
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    labels: NDArray[Any] | None
    description: str
    licence: str
    source: str
    lineage: dict[int, list[int]] | None = None

    def __repr__(self) -> str:
        shape, dtype = extent(self.image.shape), self.image.dtype
        return f"<Sample {self.name}: {self.axes} {shape} {dtype}>"
