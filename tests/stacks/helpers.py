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
