"""Volumes whose truth is known, and an array that counts reads."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def balls(shape=(24, 64, 64), centres=((12, 20, 20), (10, 44, 40)), radii=(8, 7)):
    """uint8 volume of blurred balls, and their labels."""
    grid = np.indices(shape).astype(float)
    labels = np.zeros(shape, np.uint16)
    for number, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        labels[distance < radius] = number
    image = ndimage.gaussian_filter((labels > 0).astype(np.float32), (0, 0.7, 0.7))
    return (20 + 200 * image).astype(np.uint8), labels


LIMITS = (20, 220)


class Recording:
    """A lazy array that remembers what was read of it."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.reads = []

    def __getitem__(self, key):
        key = key if isinstance(key, tuple) else (key,)
        self.reads.append(key)
        return self._array[key]


def iou(a, b) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def seen(labels):
    """Maps of labels, (6, rows, columns): what a perfect network sees on a plane, in cells."""
    maps = np.zeros((6, *labels.shape), np.float32)
    maps[:2] = np.where(labels > 0, 4.0, -4.0)
    for where, number in zip(ndimage.find_objects(labels), range(1, 10**6), strict=False):
        if where is not None:
            inside = labels == number
            ends = [(part.start - 0.5, part.stop - 0.5) for part in where]
            for axis, places in enumerate(np.nonzero(inside)):
                maps[2 + axis][inside] = places - ends[axis][0]
                maps[4 + axis][inside] = ends[axis][1] - places
    return maps


def seen_planes(predictor, planes, scale, limits, cells):
    """What a perfect network sees on planes with bright objects, on cells of any size."""
    places = [
        ((np.arange(k) + 0.5) * n / k).astype(int)
        for k, n in zip(cells, planes.shape[1:], strict=False)
    ]
    labels = [ndimage.label(plane[..., 0] > 120)[0] for plane in planes]
    return np.stack([seen(each[np.ix_(*places)]) for each in labels], 1)
