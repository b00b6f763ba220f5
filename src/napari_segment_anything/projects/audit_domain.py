"""Figures of all masks of an audit, or of those of one class, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..formats.rle import from_coco
from ..measures import Interval
from .audit_answers import FieldAnswer, MaskAnswer, object_areas
from .audit_sample import AuditSample, CocoMask
from .estimates import (
    Sample,
    correlations,
    fraction,
    mean_total,
    negative,
    rare_total,
    scaled,
    share,
    summed,
)
from .sampling import PER_FIELD

THRESHOLDS = (0.75, 0.90)
"""IoU between automatic and corrected masks, as in Segment Anything, section 5."""

_MICROMETRE = ("micrometer", "µm", "um")


@dataclass(frozen=True, slots=True)
class AuditFigure:
    """One figure of an audit.

    Parameters
    ----------
    name : str
        Such as "count".
    title : str
        Such as "objects".
    unit : str
        "" for numbers and shares.
    automatic : float or None
        The same figure of the automatic masks as they are, where it exists.
    interval : Interval
        The estimate; its `count` is the number of masks and fields that it comes from.
    """

    name: str
    title: str
    unit: str
    automatic: float | None
    interval: Interval


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Answered masks of some strata.

    Parameters
    ----------
    units : Sample
    own : float64 array (n,)
        Area of each mask.
    iou : float64 array (n,)
    areas : list of float64 arrays
        Areas of the objects that each mask stands for.
    """

    units: Sample
    own: NDArray[np.float64]
    iou: NDArray[np.float64]
    areas: list[NDArray[np.float64]]

    @property
    def objects(self) -> NDArray[np.float64]:
        """Number of objects that each mask stands for."""
        return np.array([len(each) for each in self.areas], float)

    @property
    def covered(self) -> NDArray[np.float64]:
        """Area of these objects."""
        return np.array([each.sum() for each in self.areas], float)


@dataclass(frozen=True, slots=True, eq=False)
class CheckedMask:
    """An answered mask in numbers.

    Parameters
    ----------
    stratum : int
    own : float
        Its area.
    iou : float
    areas : float64 array (objects,)
        Areas of the objects that it stands for.
    classes : sequence of str
        Classes of these objects.
    """

    stratum: int
    own: float
    iou: float
    areas: NDArray[np.float64]
    classes: Sequence[str]


def checked_masks(sample: AuditSample, masks: Mapping[int, MaskAnswer]) -> list[CheckedMask]:
    """Areas of answered masks and of their objects, in the images' unit if all state it.

    Parameters
    ----------
    sample : AuditSample
    masks : mapping of int to MaskAnswer
        By position in the sample.
    """
    factor, _ = pixel_areas(sample)
    found = []
    for i in sorted(masks):
        drawn, answer = sample.masks[i], masks[i]
        pixel, own = factor[drawn.image], float(drawn.rle.area)
        areas = pixel * object_areas(answer, own)
        given = sample.strata[drawn.stratum].class_name
        classes = [given] * len(areas) if answer.classes is None else answer.classes
        found.append(CheckedMask(drawn.stratum, pixel * own, answer.iou, areas, classes))
    return found


def domain_figures(
    sample: AuditSample,
    masks: Sequence[CheckedMask],
    fields: Mapping[int, FieldAnswer],
    level: float,
    of: str | None = None,
    elsewhere: bool = False,
) -> tuple[AuditFigure, ...]:
    """Estimate shares of good masks, and count, area and density of objects.

    Parameters
    ----------
    sample : AuditSample
    masks : sequence of CheckedMask
        The answered ones.
    fields : mapping of int to FieldAnswer
        By position in the sample.
    level : float
        Confidence level of the intervals.
    of : str, optional
        A class, "" for objects without one; by default all masks and objects.
    elsewhere : bool
        Whether masks of other classes may stand for objects of this one.
    """
    factor, unit = pixel_areas(sample)
    inside = _part(sample, masks, of, True)
    units, own = inside.units, inside.own
    total = int(units.sizes.sum())
    tallies = [
        (factor[i.key], i if of is None else i.classes[of])
        for i in sample.images
        if of is None or of in i.classes
    ]
    known = sum(tally.trusted for _, tally in tallies)
    automatic = sum(pixel * (tally.area + tally.trusted_area) for pixel, tally in tallies)

    wrong = inside.objects == 0
    lost, gained = wrong.astype(float), np.maximum(inside.objects - 1, 0)
    number = summed(
        (negative(rare_total(units, lost, 1, level)), rare_total(units, gained, 1, level)),
        correlations(units.covariance(-lost, gained)), total + known,
    )  # fmt: skip
    kept = np.where(wrong, 0.0, inside.covered - own)
    rejected = negative(rare_total(units, own * wrong, float(own.mean()) if len(own) else 0, level))
    outlines = mean_total(units, kept, level)
    both = correlations(units.covariance(-own * wrong, kept))
    area = summed((rejected, outlines), both, automatic)
    parts = [inside]
    if elsewhere and of is not None:
        parts.append(_part(sample, masks, of, False))
    typical = _typical(parts) or max(factor.values()) * sample.field_side**2 / PER_FIELD
    for other in parts[1:]:
        number = summed((number, rare_total(other.units, other.objects, 1.0, level)))
        area = summed((area, rare_total(other.units, other.covered, typical, level)))

    plots = Sample(np.zeros(len(fields), np.int64), np.array([sample.field_count]))
    found = [
        [factor[sample.fields[i].image] * from_coco(mask).area for mask in missed(fields[i], of)]
        for i in sorted(fields)
    ]
    new = rare_total(plots, [len(areas) for areas in found], 1.0, level)
    new_area = rare_total(plots, [sum(areas) for areas in found], typical, level)
    count, covered = _least(summed((number, new))), _least(summed((area, new_area)))
    ground = sum(factor[i.key] * i.rows * i.cols for i in sample.images)
    square = "pixels" if unit == "pixel" else "µm²" if unit in _MICROMETRE else f"{unit}²"
    per, name = _density_unit(unit)
    such = "objects" if of is None else "objects of the class"
    shares = [
        AuditFigure(
            f"iou_above_{round(100 * t)}", f"masks with IoU above {t:.2f}", "", None,
            share(units, inside.iou > t, level),
        )
        for t in THRESHOLDS
    ]  # fmt: skip
    return (
        *shares,
        AuditFigure("precision", f"masks that are {such}", "", None, share(units, ~wrong, level)),
        AuditFigure("recall", f"{such} that have a mask", "", None, fraction(number, new)),
        AuditFigure("count", "objects", "", float(total + known), count),
        AuditFigure("area", "area of the objects", square, automatic, covered),
        AuditFigure(
            "density", "objects per area", name, (total + known) * per / ground,
            scaled(count, per / ground),
        ),
        AuditFigure(
            "coverage", "share of the area that objects cover", "", automatic / ground,
            scaled(covered, 1 / ground),
        ),
    )  # fmt: skip


def missed(answer: FieldAnswer, of: str | None = None) -> list[CocoMask]:
    """Objects missed in a field; of a class, "" for those without one.

    Parameters
    ----------
    answer : FieldAnswer
    of : str, optional
        By default all of them.
    """
    names = answer.classes or ("",) * len(answer.missed)
    return [
        mask for mask, name in zip(answer.missed, names, strict=True) if of is None or name == of
    ]


def pixel_areas(sample: AuditSample) -> tuple[dict[str, float], str]:
    """Area of a pixel of each image, and the unit of length; ones and "pixel" unless all know it.

    Parameters
    ----------
    sample : AuditSample
    """
    units = {image.unit for image in sample.images}
    sizes = {image.key: image.pixel_size for image in sample.images}
    if len(units) == 1 and None not in units and None not in sizes.values():
        return {key: float(np.prod(size)) for key, size in sizes.items() if size}, str(*units)
    return dict.fromkeys(sizes, 1.0), "pixel"


def _part(sample: AuditSample, masks: Sequence[CheckedMask], of: str | None, inside: bool) -> _Part:
    """Masks of a class, or of all others, and the objects of the class that they stand for."""
    strata = [
        number
        for number, stratum in enumerate(sample.strata)
        if of is None or (stratum.class_name == of) == inside
    ]
    place = {number: k for k, number in enumerate(strata)}
    own = [mask for mask in masks if mask.stratum in place]
    stratum, sizes = _merged(
        np.array([place[mask.stratum] for mask in own], np.int64),
        np.array([sample.strata[number].masks for number in strata], np.int64),
    )
    return _Part(
        Sample(stratum, sizes),
        np.array([mask.own for mask in own], float),
        np.array([mask.iou for mask in own], float),
        [
            mask.areas if of is None else mask.areas[[name == of for name in mask.classes]]
            for mask in own
        ],
    )


def _typical(parts: Sequence[_Part]) -> float:
    """Size of the next object found, which weighs large ones by their area; 0 without objects."""
    areas = np.concatenate([np.zeros(0), *(each for part in parts for each in part.areas)])
    weights = np.concatenate(
        [np.repeat(part.units.weights, part.objects.astype(int)) for part in parts]
    )
    return float(weights @ areas**2 / (weights @ areas)) if len(areas) else 0.0


def _density_unit(unit: str) -> tuple[float, str]:
    if unit == "pixel":
        return 1e6, "per megapixel"
    if unit in _MICROMETRE:
        return 1e6, "per mm²"
    return 1.0, f"per {unit}²"


def _least(interval: Interval) -> Interval:
    """The same with limits that are not negative."""
    return Interval(
        max(interval.value, 0.0), max(interval.low, 0.0), max(interval.high, 0.0), interval.count
    )


def _merged(
    stratum: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Join strata with too few answers with their neighbour."""
    sizes = sizes.copy()
    while True:
        drawn = np.bincount(stratum, minlength=len(sizes))
        short = np.flatnonzero(drawn < np.minimum(sizes, 2))
        if not len(short) or len(sizes) < 2:
            return stratum, sizes
        into = short[0] - 1 if short[0] else 1
        first, second = sorted((int(short[0]), int(into)))
        sizes[first] += sizes[second]
        sizes = np.delete(sizes, second)
        stratum = np.where(stratum == second, first, stratum)
        stratum = np.where(stratum > second, stratum - 1, stratum)
