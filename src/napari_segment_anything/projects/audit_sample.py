"""What an audit looks at: images, strata, and the masks and fields that were drawn from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ..formats.rle import RLE, from_coco


class CocoMask(TypedDict):
    """A mask of the whole image, as COCO writes it."""

    size: list[int]
    counts: str


@dataclass(frozen=True, slots=True)
class ClassTally:
    """Masks of a class in an image.

    Parameters
    ----------
    masks, trusted : int
        Automatic masks, and objects that count as right.
    area, trusted_area : float
        Their areas in pixels.
    """

    masks: int = 0
    area: float = 0.0
    trusted: int = 0
    trusted_area: float = 0.0


@dataclass(frozen=True, slots=True)
class AuditedImage:
    """An image whose automatic masks are audited.

    Parameters
    ----------
    key : str
        Its key in the project.
    rows, cols : int
        Its size in pixels.
    masks : int
        Number of automatic masks, which are audited.
    area : float
        Their area in pixels.
    digest : str
        Hash of these masks.
    trusted : int
        Number of objects that a person made or corrected; they count as right.
    trusted_area : float
        Their area in pixels.
    complete : bool
        Whether a person has seen to all objects; no fields are drawn in it then.
    pixel_size : tuple of float or None
        (rows, columns), in `unit`.
    unit : str or None
        Such as "micrometer".
    classes : dict of str to ClassTally
        The same numbers by class; "" for none.
    """

    key: str
    rows: int
    cols: int
    masks: int
    area: float
    digest: str
    trusted: int = 0
    trusted_area: float = 0.0
    complete: bool = False
    pixel_size: tuple[float, float] | None = None
    unit: str | None = None
    classes: dict[str, ClassTally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """All automatic masks of the audited images.

    Parameters
    ----------
    images : tuple of AuditedImage
    image : int64 array (n,)
        Index of each mask's image.
    ids : int64 array (n,)
        Number of each mask in its image.
    scores : float64 array (n,)
        NaN where a mask has none.
    areas : float64 array (n,)
        In pixels.
    classes : tuple of str
        Classes that masks have; "" for none.
    kinds : int64 array (n,)
        Index of each mask's class.
    """

    images: tuple[AuditedImage, ...]
    image: NDArray[np.int64]
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    areas: NDArray[np.float64]
    classes: tuple[str, ...]
    kinds: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Masks of one class, and of similar score and size.

    Parameters
    ----------
    scores, areas : tuple of float, or None
        Smallest and largest, areas in pixels; None without scores.
    masks : int
        Number of masks, drawn or not.
    class_name : str
        "" for none.
    """

    scores: tuple[float, float] | None
    areas: tuple[float, float]
    masks: int
    class_name: str = ""


@dataclass(frozen=True, slots=True)
class DrawnMask:
    """An automatic mask that a person checks.

    Parameters
    ----------
    image : str
        Key of its image.
    id : int
        Its number there: its label, or minus the number of an open suggestion.
    stratum : int
        Index of its stratum.
    score : float or None
    mask : CocoMask
    """

    image: str
    id: int
    stratum: int
    score: float | None
    mask: CocoMask

    @property
    def rle(self) -> RLE:
        """The mask."""
        return from_coco(self.mask)


@dataclass(frozen=True, slots=True)
class DrawnField:
    """A rectangle in which a person looks for objects without a mask.

    Parameters
    ----------
    image : str
        Key of its image.
    row, col, height, width : int
        In pixels of the image.
    """

    image: str
    row: int
    col: int
    height: int
    width: int

    def holds(self, mask: RLE) -> bool:
        """Whether a mask's centre of mass lies in the field, so that it counts here alone."""
        return self.contains(centre_of(mask))

    def contains(self, centre: tuple[float, float]) -> bool:
        """Whether a position (row, column) lies in the field."""
        row, col = centre
        inside = self.row <= row < self.row + self.height
        return inside and self.col <= col < self.col + self.width


def centre_of(mask: RLE) -> tuple[float, float]:
    """Centre of mass (row, column) of a mask; NaN of an empty one."""
    if not mask.area:
        return math.nan, math.nan
    row0, col0, _, _ = mask.bounds
    rows, cols = np.nonzero(mask.decode_bounds())
    return float(row0 + rows.mean() + 0.5), float(col0 + cols.mean() + 0.5)


@dataclass(frozen=True, slots=True)
class AuditSample:
    """What was drawn, in the order in which it is checked, and what it was drawn from.

    Parameters
    ----------
    seed : int
        Seed of the draw.
    images : tuple of AuditedImage
    strata : tuple of Stratum
    masks : tuple of DrawnMask
    field_side : int
        Side of a field in pixels, about.
    field_count : int
        Fields that the images were divided into.
    fields : tuple of DrawnField
    classes : tuple of str
        Names of the project's classes; without any, there are no figures by class.
    """

    seed: int
    images: tuple[AuditedImage, ...]
    strata: tuple[Stratum, ...]
    masks: tuple[DrawnMask, ...]
    field_side: int
    field_count: int
    fields: tuple[DrawnField, ...]
    classes: tuple[str, ...] = ()
