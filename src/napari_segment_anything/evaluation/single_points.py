"""Segmenting an object from a single point, beside baselines (SAM, section 7.1 and figure 9)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Ask, PlacedMask, Prompts
from ..engine.image import open_image
from ..measures import interior_point, mask_iou, otsu_watershed
from ..measures.floors import magic_wand
from .protocols import Subject, rounded
from .summary import POINT_KINDS


def single_point(subject: Subject) -> dict[str, Any]:
    """Point at each object once in its middle and once anywhere in it.

    "centre" is the pixel farthest from the object's edge, "random" any of its pixels. For each
    point: true and predicted IoU of the three masks, and the IoU of what needs no model: a magic
    wand, and the object of Otsu's threshold and a watershed that the point lies in.
    """
    count = len(subject.ids)
    record: dict[str, Any] = {}
    plane = subject.plane
    source = open_image(plane.image, channel_axis=plane.channel_axis)
    pixels = source.read(0, slice(None), slice(None))
    floor = otsu_watershed(pixels) if count else None
    for kind in POINT_KINDS:
        where = [_point(subject, i, kind) for i in range(count)]
        asks = Ask.each(Prompts.each_point(where)) if count else []
        iou: list[list[float]] = [[] for _ in where]
        predicted: list[list[float]] = [[] for _ in where]
        for i, found in subject.segment(asks):
            truth = PlacedMask.of(subject.mask(i))
            iou[i] = rounded([mask.iou(truth) for mask in found.masks])
            predicted[i] = rounded(found.scores)
        wand = [mask_iou(magic_wand(pixels, at), subject.mask(i)) for i, at in enumerate(where)]
        around = [_floor_iou(floor, subject.mask(i), at) for i, at in enumerate(where)]
        record[kind] = {
            "iou": iou, "predicted": predicted, "wand": rounded(wand), "floor": rounded(around),
        }  # fmt: skip
    return {"count": count, **record}


def _point(subject: Subject, number: int, kind: str) -> tuple[int, int]:
    mask = subject.mask(number)
    if kind == "centre":
        return interior_point(mask)
    name = f"{subject.settings.seed} {subject.plane.name} {subject.ids[number]}"
    seed = hashlib.sha256(name.encode()).digest()[:8]
    inside = np.argwhere(mask)
    row, col = inside[np.random.default_rng(int.from_bytes(seed, "little")).integers(len(inside))]
    return int(row), int(col)


def _floor_iou(
    floor: NDArray[np.int32] | None, truth: NDArray[np.bool_], at: tuple[int, int]
) -> float:
    label = 0 if floor is None else int(floor[at])
    return mask_iou(floor == label, truth) if label and floor is not None else 0.0
