"""What an audit looks at: masks drawn from strata of class, score and size, and random fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import xxhash
from numpy.typing import NDArray
from typing_extensions import TypedDict

from ..errors import ParameterError
from ..formats.rle import RLE, from_coco

SCORE_STRATA, SIZE_STRATA = 3, 2
LEAST = 4
"""Masks drawn from a stratum, at least; all of a smaller one, fewer if fewer are wanted."""
LEAST_OF_CLASS = 10
"""Masks of a class that figures of the class need; all of a smaller one."""
PER_FIELD = 10
"""Automatic masks in a field, on average; fewer where half of the images would be searched."""
_SMALLEST_FIELD = 32


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


def audited_image(
    key: str,
    shape: tuple[int, int],
    masks: Mapping[int, RLE],
    trusted: Mapping[int, RLE] | None = None,
    complete: bool = False,
    pixel_size: tuple[float, float] | None = None,
    unit: str | None = None,
    classes: Mapping[int, str] | None = None,
) -> AuditedImage:
    """Describe an image and its masks.

    Parameters
    ----------
    key : str
    shape : tuple of int
        (rows, columns).
    masks : mapping of int to RLE
        The automatic masks by number.
    trusted : mapping of int to RLE, optional
        Objects that count as right.
    complete, pixel_size, unit
        As in `AuditedImage`.
    classes : mapping of int to str, optional
        Names of classes of masks and objects, by number; "" for none.
    """
    state = xxhash.xxh3_64()
    for number in sorted(masks):
        state.update(number.to_bytes(8, "little", signed=True))
        state.update(masks[number].counts.tobytes())
    right = trusted or {}
    tallies = {
        name: ClassTally(*_tally(masks, classes, name), *_tally(right, classes, name))
        for name in sorted({(classes or {}).get(i, "") for i in (*masks, *right)})
    }
    return AuditedImage(
        key, *shape, *_tally(masks), state.hexdigest(), *_tally(right), complete, pixel_size, unit,
        tallies,
    )  # fmt: skip


def _tally(
    masks: Mapping[int, RLE], classes: Mapping[int, str] | None = None, name: str | None = None
) -> tuple[int, float]:
    """Number and area of the masks of a class; by default of all."""
    areas = [m.area for i, m in masks.items() if name is None or (classes or {}).get(i, "") == name]
    return len(areas), float(sum(areas))


def population(
    images: Iterable[
        tuple[AuditedImage, Mapping[int, RLE], Mapping[int, float], Mapping[int, str]]
    ],
) -> Population:
    """Collect the automatic masks of images.

    Parameters
    ----------
    images : iterable of (AuditedImage, mapping to RLE, mapping to float, mapping to str)
        Each image with its automatic masks, their scores and their classes, by number; masks
        without a score or class are left out there.

    Raises
    ------
    ParameterError
        If there is nothing to audit.
    """
    known: list[AuditedImage] = []
    rows: list[tuple[int, int, float, int]] = []
    named: list[str] = []
    for place, (image, masks, scores, classes) in enumerate(images):
        known.append(image)
        rows += [(place, i, scores.get(i, math.nan), masks[i].area) for i in sorted(masks)]
        named += [classes.get(i, "") for i in sorted(masks)]
    if all(image.complete for image in known):
        raise ParameterError(
            "there is nothing to audit: no image has automatic masks, or a person has completed "
            "all that have"
        )
    table = np.array(rows, float).reshape(-1, 4)
    names = sorted(set(named))
    kinds = {name: number for number, name in enumerate(names)}
    return Population(
        tuple(known),
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        table[:, 2],
        table[:, 3],
        tuple(names),
        np.array([kinds[name] for name in named], np.int64),
    )


def draw(
    held: Population,
    masks_of: Callable[[str], Mapping[int, RLE]],
    *,
    masks: int = 120,
    fields: int = 40,
    field_side: int | None = None,
    seed: int = 0,
    classes: Iterable[str] = (),
) -> AuditSample:
    """Draw masks and fields.

    Masks come from strata of class, score (with equal numbers of masks) and size (with equal total
    areas); strata are fewer where there are many classes. More are drawn where scores are far from
    0 and 1, and where there is more area.

    Parameters
    ----------
    held : Population
    masks_of : callable
        Takes the key of an image and returns its automatic masks by number.
    masks, fields : int
        How many to draw; all if there are fewer, and at least two masks of each stratum.
    field_side : int, optional
        Side of a field in pixels; by default, one that holds about ten masks, smaller if more
        than half of the images would be searched.
    seed : int
        The same seed draws the same sample.
    classes : iterable of str
        Names of the project's classes.

    Raises
    ------
    ParameterError
        If a number is out of range.
    """
    if masks < 2 or fields < 2 or seed < 0:
        raise ParameterError("an audit needs at least 2 masks, 2 fields and a seed from 0")
    rng = np.random.default_rng(seed)
    stratum, strata = _stratify(held, masks)
    numbers = _allocate(held, stratum, len(strata), masks)
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(stratum == number), count, replace=False)
            for number, count in enumerate(numbers)
        ]
        or [np.zeros(0, np.int64)]
    ).astype(np.int64)
    side = _field_side(held, fields) if field_side is None else field_side
    if side < 1:
        raise ParameterError("a field measures at least 1 pixel")
    places = _fields(held.images, side)
    taken = rng.choice(len(places), min(fields, len(places)), replace=False)
    codes = {
        (int(place), int(number)): masks_of(held.images[place].key)[int(number)]
        for place in np.unique(held.image[chosen])
        for number in held.ids[chosen[held.image[chosen] == place]]
    }
    drawn = []
    for i in rng.permutation(chosen):
        place, number, score = int(held.image[i]), int(held.ids[i]), float(held.scores[i])
        code = codes[place, number].to_coco()
        drawn.append(
            DrawnMask(
                held.images[place].key,
                number,
                int(stratum[i]),
                None if math.isnan(score) else score,
                CocoMask(size=code["size"], counts=code["counts"]),
            )
        )
    return AuditSample(
        seed, held.images, strata, tuple(drawn), side, len(places),
        tuple(places[i] for i in taken), tuple(classes),
    )  # fmt: skip


def _stratify(held: Population, wanted: int) -> tuple[NDArray[np.int64], tuple[Stratum, ...]]:
    """The stratum of each mask; strata without masks are left out."""
    scored = np.nan_to_num(held.scores, nan=-1.0)
    levels, halves = _splits(len(held.classes), wanted)
    code = np.zeros(len(scored), np.int64)
    for kind in range(len(held.classes)):
        among = np.flatnonzero(held.kinds == kind)
        edges = np.quantile(scored[among], np.arange(1, levels) / levels)
        by_score = np.searchsorted(np.unique(edges), scored[among], side="left")
        for level in np.unique(by_score):
            own = among[by_score == level]
            order = own[np.argsort(held.areas[own], kind="stable")]
            grown = np.cumsum(held.areas[order]) - held.areas[order] / 2
            by_size = np.floor(halves * grown / max(held.areas[order].sum(), 1))
            code[order] = (kind * levels + level) * halves + np.clip(by_size, 0, halves - 1)
    kept, stratum = np.unique(code, return_inverse=True)
    strata = []
    for number, each in enumerate(kept):
        own = np.flatnonzero(stratum == number)
        scores, areas = held.scores[own], held.areas[own]
        bounds = None if np.isnan(scores).any() else (float(scores.min()), float(scores.max()))
        strata.append(
            Stratum(
                bounds, (float(areas.min()), float(areas.max())), len(own),
                held.classes[int(each) // (levels * halves)],
            )
        )  # fmt: skip
    return stratum.astype(np.int64), tuple(strata)


def _splits(classes: int, wanted: int) -> tuple[int, int]:
    """Strata of score and of size in each class, so that enough masks are drawn from each."""
    if classes < 2:
        return SCORE_STRATA, SIZE_STRATA
    each = wanted // (2 * LEAST * classes)
    if each >= SCORE_STRATA * SIZE_STRATA:
        return SCORE_STRATA, SIZE_STRATA
    return (SCORE_STRATA if each >= SCORE_STRATA else 1), 1


def _allocate(held: Population, stratum: NDArray[np.int64], count: int, wanted: int) -> list[int]:
    """How many masks to draw from each stratum (Neyman), if a score is a chance to be right."""
    sizes = np.bincount(stratum, minlength=count)
    if not count:
        return []
    certain = np.clip(np.nan_to_num(held.scores, nan=0.8), 0.2, 0.9)
    mean = np.bincount(stratum, certain, count) / sizes
    area = np.bincount(stratum, held.areas, count)
    need = np.sqrt(mean * (1 - mean)) * (sizes / sizes.sum() + area / area.sum())
    kinds = np.zeros(count, np.int64)
    kinds[stratum] = held.kinds
    for_class = -(-LEAST_OF_CLASS // np.bincount(kinds)[kinds]) if len(held.classes) > 1 else LEAST
    numbers = np.minimum(
        sizes, np.maximum(2, np.minimum(np.maximum(LEAST, for_class), wanted // count))
    )
    while numbers.sum() < min(wanted, sizes.sum()):
        short = np.where(numbers < sizes, need / numbers, -1.0)
        numbers[int(np.argmax(short))] += 1
    return [int(n) for n in numbers]


def _field_side(held: Population, fields: int) -> int:
    open_images = [image for image in held.images if not image.complete]
    pixels = sum(image.rows * image.cols for image in open_images)
    side = math.sqrt(PER_FIELD * pixels / max(len(held.ids), 1))
    side = min(side, max(max(image.rows, image.cols) for image in open_images))
    while side > _SMALLEST_FIELD and len(_fields(open_images, round(side))) < 2 * fields:
        side *= 0.9
    return max(round(side), _SMALLEST_FIELD)


def _fields(images: Iterable[AuditedImage], side: int) -> list[DrawnField]:
    """Divide each image that is not complete into rectangles of nearly equal size."""
    found = []
    for image in images:
        if image.complete:
            continue
        rows, cols = (
            np.linspace(0, n, max(round(n / side), 1) + 1).round().astype(int)
            for n in (image.rows, image.cols)
        )
        found += [
            DrawnField(image.key, int(r0), int(c0), int(r1 - r0), int(c1 - c0))
            for r0, r1 in pairwise(rows)
            for c0, c1 in pairwise(cols)
        ]
    return found
