"""Draw what an audit looks at: masks from strata of class, score and size, and fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np
import xxhash
from numpy.typing import NDArray

from ..errors import ParameterError
from ..formats.rle import RLE
from .audit_sample import (
    AuditedImage,
    AuditSample,
    ClassTally,
    CocoMask,
    DrawnField,
    DrawnMask,
    Population,
    Stratum,
)

SCORE_STRATA, SIZE_STRATA = 3, 2
LEAST = 4
"""Masks drawn from a stratum, at least; all of a smaller one, fewer if fewer are wanted."""
LEAST_OF_CLASS = 10
"""Masks of a class that figures of the class need; all of a smaller one."""
PER_FIELD = 10
"""Automatic masks in a field, on average; fewer where half of the images would be searched."""
_SMALLEST_FIELD = 32


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
