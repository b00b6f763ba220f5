"""What an audit says: shares of good masks, and count, area and density with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..formats.rle import from_coco
from ..measures import Interval
from .audit_answers import FieldAnswer, MaskAnswer, object_areas
from .estimates import (
    LEVEL,
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
from .sampling import PER_FIELD, AuditSample

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


@dataclass(frozen=True, slots=True)
class AuditFigures:
    """All figures of an audit.

    Parameters
    ----------
    level : float
        Confidence level of the intervals.
    images, masks, trusted, fields : int
        What the audit is about: images, automatic masks, objects that count as right, and fields
        that the images were divided into.
    masks_answered, fields_answered : int
        Drawn masks and fields that a person answered.
    verdicts : mapping of str to int
        How many of these masks were accepted, corrected and rejected.
    missed : int
        Objects missed in these fields.
    seconds : float
        Time that the answers took.
    figures : tuple of AuditFigure
    """

    level: float
    images: int
    masks: int
    trusted: int
    fields: int
    masks_answered: int
    fields_answered: int
    verdicts: Mapping[str, int]
    missed: int
    seconds: float
    figures: tuple[AuditFigure, ...]

    def __getitem__(self, name: str) -> AuditFigure:
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise ParameterError(f"an audit has no figure {name!r}")


def audit_figures(
    sample: AuditSample,
    masks: Mapping[int, MaskAnswer],
    fields: Mapping[int, FieldAnswer],
    level: float = LEVEL,
) -> AuditFigures:
    """Estimate figures of all images from the answers.

    Masks and fields are checked in random order, so an audit may be ended before all of them are
    answered.

    Parameters
    ----------
    sample : AuditSample
    masks, fields : mapping of int to answer
        By position in the sample.
    level : float
        Confidence level of the intervals.

    Raises
    ------
    ParameterError
        If there are too few answers for an estimate.
    """
    if not 0 < level < 1:
        raise ParameterError(f"a confidence level lies between 0 and 1, not at {level}")
    least = min(2, sample.field_count)
    wanted = min(2, sum(stratum.masks for stratum in sample.strata))
    if len(masks) < wanted or len(fields) < least:
        raise ParameterError(
            f"{len(masks)} masks and {len(fields)} fields are answered; an estimate needs at least "
            f"{wanted} masks and {least} fields"
        )
    factor, unit = pixel_areas(sample)
    answered = sorted(masks)
    stratum, sizes = _merged(
        np.array([sample.masks[i].stratum for i in answered], np.int64),
        np.array([s.masks for s in sample.strata], np.int64),
    )
    units = Sample(stratum, sizes)
    own = np.array([factor[sample.masks[i].image] * sample.masks[i].rle.area for i in answered])
    held = [
        factor[sample.masks[i].image]
        * object_areas(masks[i], own[k] / factor[sample.masks[i].image])
        for k, i in enumerate(answered)
    ]
    objects = np.array([len(areas) for areas in held], float)
    change = np.array([areas.sum() for areas in held]) - own
    iou = np.array([masks[i].iou for i in answered])
    total = int(sizes.sum())

    wrong = objects == 0
    lost, gained = wrong.astype(float), np.maximum(objects - 1, 0)
    known = sum(image.trusted for image in sample.images)
    number = summed(
        (negative(rare_total(units, lost, 1, level)), rare_total(units, gained, 1, level)),
        correlations(units.covariance(-lost, gained)), total + known,
    )  # fmt: skip
    # size of the next object found, which weighs large ones by their area
    areas = np.concatenate([*held, np.zeros(0)])
    each = np.repeat(units.weights, objects.astype(int)) if len(held) else np.zeros(0)
    typical = (
        float(each @ areas**2 / (each @ areas)) if len(areas)
        else max(factor.values()) * sample.field_side**2 / PER_FIELD
    )  # fmt: skip
    kept = np.where(wrong, 0.0, change)
    rejected = negative(rare_total(units, own * wrong, float(own.mean()) if len(own) else 0, level))
    outlines = mean_total(units, kept, level)
    both = correlations(units.covariance(-own * wrong, kept))
    automatic = sum(factor[i.key] * (i.area + i.trusted_area) for i in sample.images)
    area = summed((rejected, outlines), both, automatic)

    plots = Sample(np.zeros(len(fields), np.int64), np.array([sample.field_count]))
    found = [
        [factor[sample.fields[i].image] * from_coco(mask).area for mask in fields[i].missed]
        for i in sorted(fields)
    ]
    new = rare_total(plots, [len(areas) for areas in found], 1.0, level)
    new_area = rare_total(plots, [sum(areas) for areas in found], typical, level)
    count, covered = summed((number, new)), summed((area, new_area))
    ground = sum(factor[i.key] * i.rows * i.cols for i in sample.images)
    square = "pixels" if unit == "pixel" else "µm²" if unit in _MICROMETRE else f"{unit}²"
    per, name = _density_unit(unit)
    figures = [
        AuditFigure(
            f"iou_above_{round(100 * t)}", f"masks with IoU above {t:.2f}", "", None,
            share(units, iou > t, level),
        )
        for t in THRESHOLDS
    ]  # fmt: skip
    figures += [
        AuditFigure("precision", "masks that are objects", "", None, share(units, ~wrong, level)),
        AuditFigure("recall", "objects that have a mask", "", None, fraction(number, new)),
        AuditFigure("count", "objects", "", float(total + known), _least(count)),
        AuditFigure("area", "area of the objects", square, automatic, _least(covered)),
        AuditFigure(
            "density", "objects per area", name, (total + known) * per / ground,
            scaled(_least(count), per / ground),
        ),
        AuditFigure(
            "coverage", "share of the area that objects cover", "", automatic / ground,
            scaled(_least(covered), 1 / ground),
        ),
    ]  # fmt: skip
    verdicts = [masks[i].verdict for i in answered]
    return AuditFigures(
        level,
        len(sample.images),
        total,
        known,
        sample.field_count,
        len(masks),
        len(fields),
        {v: verdicts.count(v) for v in ("accepted", "corrected", "rejected")},
        sum(map(len, found)),
        sum(a.seconds for a in masks.values()) + sum(a.seconds for a in fields.values()),
        tuple(figures),
    )


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
