"""From objects of single planes to objects of a stack, by their overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .plane_objects import StackObjects

LINK_THRESH = 0.3
_FLOOR = 0.25
_PER_GAP = 0.9
_TIP = 0.4
_FLAT = 6.0


def link_planes(
    measured: StackObjects,
    *,
    link_thresh: float = LINK_THRESH,
    max_gap: int = 1,
    anisotropy: float | None = None,
) -> list[NDArray[np.int64]]:
    """Number objects so that those of different planes that overlap have one number.

    Pairs are joined in the order of their overlap, the best first; a pair that would join two
    objects of one plane is not. The overlap (IoU) is divided by that of two sections of a ball of
    their size at their distance, so that small objects and distant planes need less of it. A small
    section inside a larger one counts as its tip.

    Parameters
    ----------
    measured : StackObjects
        Of the stack, with a reach of `max_gap` + 1.
    link_thresh : float
        Least IoU, relative to that of a ball.
    max_gap : int
        Planes in between that an object may be missing from.
    anisotropy : float, optional
        Distance of two planes in pixels of a plane; 1 if unknown.

    Returns
    -------
    list of int64 array
        For each plane the number of each of its objects, from 1, ordered by where they begin.
    """
    step = 1.0 if anisotropy is None else float(anisotropy)
    weights, firsts, seconds = [], [], []
    starts = np.concatenate([[0], np.cumsum([len(seen) for seen in measured.planes])])
    for (p, q), shared in measured.overlaps.items():
        if q - p > max_gap + 1 or not len(shared.pixels):
            continue
        a = measured.planes[p].areas[shared.first]
        b = measured.planes[q].areas[shared.second]
        iou = shared.pixels / (a + b - shared.pixels)
        quality = iou / expected_iou(np.maximum(a, b), step * (q - p))
        tip = tips(np.minimum(a, b), np.maximum(a, b), shared.pixels, step * (q - p))
        quality = np.maximum(quality, tip)
        keep = quality >= link_thresh
        weights.append((np.minimum(quality, 1.0) * _PER_GAP ** (q - p - 1))[keep])
        firsts.append((starts[p] + shared.first)[keep])
        seconds.append((starts[q] + shared.second)[keep])
    total = int(starts[-1])
    planes = np.repeat(np.arange(len(measured.planes)), [len(seen) for seen in measured.planes])
    groups = _Groups(planes)
    if weights:
        weight = np.concatenate(weights)
        first, second = np.concatenate(firsts), np.concatenate(seconds)
        # ties are broken by position, so that the ids of the planes do not matter
        pixel = np.concatenate([seen.places for seen in measured.planes])
        places = (pixel[second], planes[second], pixel[first], planes[first])
        for index in np.lexsort((*places, -weight)):
            groups.join(int(first[index]), int(second[index]))
    roots = np.array([groups.root(i) for i in range(total)], np.int64)
    _, begin, inverse = np.unique(roots, return_index=True, return_inverse=True)
    rank = np.empty(len(begin), np.int64)
    rank[np.argsort(begin, kind="stable")] = np.arange(1, len(begin) + 1)
    numbers = rank[inverse] if total else np.zeros(0, np.int64)
    return [numbers[starts[p] : starts[p + 1]] for p in range(len(measured.planes))]


def expected_iou(areas: NDArray[np.integer], distance: float) -> NDArray[np.float64]:
    """IoU of two sections of a surface at 45 degrees, whose larger section has this area.

    Parameters
    ----------
    areas : integer array
        Pixels of the larger one.
    distance : float
        Of the sections, in pixels.

    Returns
    -------
    float64 array
        1 for large objects and near planes, but never below a quarter.
    """
    radius = np.sqrt(np.asarray(areas, np.float64) / np.pi)
    smaller = np.clip(radius - distance / 2, 0, None)
    larger = radius + distance / 2
    return np.maximum((smaller / np.maximum(larger, 1e-9)) ** 2, _FLOOR)


def tips(
    smaller: NDArray[np.integer],
    larger: NDArray[np.integer],
    shared: NDArray[np.integer],
    distance: float,
) -> NDArray[np.float64]:
    """Score of a section as the tip of an object whose next section is much larger.

    Parameters
    ----------
    smaller, larger, shared : integer array
        Pixels of the two sections, and of what they share.
    distance : float
        Of the sections, in pixels.

    Returns
    -------
    float64 array
        At most 0.4: the part of the smaller that lies in the larger. 0 where no ball of up to
        three times the larger section's radius has two such sections.
    """
    growth = (np.asarray(larger, np.float64) - smaller) / np.pi
    plausible = growth <= _FLAT * np.sqrt(larger / np.pi) * distance
    return np.where(plausible, _TIP * np.asarray(shared, np.float64) / smaller, 0.0)


class _Groups:
    """Sets of objects, none with two of the same plane."""

    def __init__(self, planes: Sequence[int] | NDArray[np.integer]) -> None:
        self._parent = list(range(len(planes)))
        self._planes: list[set[int]] = [{int(plane)} for plane in planes]

    def root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, first: int, second: int) -> bool:
        a, b = self.root(first), self.root(second)
        if a == b or not self._planes[a].isdisjoint(self._planes[b]):
            return False
        if len(self._planes[a]) < len(self._planes[b]):
            a, b = b, a
        self._parent[b] = a
        self._planes[a] |= self._planes[b]
        self._planes[b] = set()
        return True
