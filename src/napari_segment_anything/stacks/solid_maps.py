"""Dense maps of a part of a volume, from planes along all three of its axes.

A plane shows how far an object reaches along two axes. Planes along three axes show it along all
three, each twice, and where noise hides an object on one plane, the others may show it. Maps of
the three are averaged on cubic cells (as flows are in 3-D Cellpose, Stringer et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..automatic.dense import sigmoid
from ..automatic.heads import dense_maps
from ..engine import Model, Predictor, Window

CELL = 4
"""Frame pixels along a cell."""
_MIRRORED = 32
LEAST_WEIGHT = np.float32(0.02)

Array = NDArray[np.float32]


class Sight(NamedTuple):
    """How a volume is shown to the network.

    Parameters
    ----------
    anisotropy : float
        Distance of planes in pixels of a plane.
    scale : float
        Frame pixels per pixel of a plane.
    """

    anisotropy: float
    scale: float

    def cells(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the cells along each axis of a volume of this shape, at least one."""
        per_pixel = self.scale / CELL
        planes, rows, cols = shape
        return (
            max(1, round(planes * self.anisotropy * per_pixel)),
            max(1, round(rows * per_pixel)),
            max(1, round(cols * per_pixel)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SolidMaps:
    """What planes along three axes say about each cell.

    Parameters
    ----------
    foreground : float32 array (z, y, x)
        Logits, the mean over three directions.
    low, high : float32 array (3, z, y, x)
        Cells from here to where the object's sections through this cell begin and end, along each
        axis.
    """

    foreground: Array
    low: Array
    high: Array


def count_slabs(shape: tuple[int, int, int], sight: Sight) -> int:
    """Return how many planes `solid_maps` encodes for a part of this shape."""
    return sum(min(n, cells) for n, cells in zip(shape, sight.cells(shape), strict=True))


def solid_maps(
    predictor: Predictor,
    pixels: NDArray[np.float32],
    sight: Sight,
    limits: Sequence[Sequence[float]],
) -> Generator[None, None, SolidMaps]:
    """Compute the maps of a part of a volume, plane by plane.

    Parameters
    ----------
    predictor : Predictor
        Of a model with the "dense" head.
    pixels : float32 array (planes, rows, columns, channels)
    sight : Sight
    limits : sequence of (float, float)
        Contrast limits of each channel.

    Yields
    ------
    None
        After each encoded plane.

    Returns
    -------
    SolidMaps
    """
    cells = sight.cells(pixels.shape[:3])
    foreground = np.zeros(cells, np.float32)
    reach = np.zeros((2, 3, *cells), np.float32)
    weights = np.zeros((3, *cells), np.float32)
    # planes apart as far as pixels, so that objects look alike from all sides
    even = max(1, round(pixels.shape[0] * sight.anisotropy))
    together = _together(predictor.model)
    for normal in range(3):
        shown = np.moveaxis(pixels, normal, 0)
        if normal:
            shown = resampled(shown, 1, even)
        slabs = resampled(shown, 0, min(len(shown), cells[normal]))
        across = [axis for axis in range(3) if axis != normal]
        maps = np.empty((6, len(slabs), *(cells[axis] for axis in across)), np.float32)
        for start in range(0, len(slabs), together):
            some = slice(start, min(start + together, len(slabs)))
            maps[:, some] = plane_maps(predictor, slabs[some], sight.scale, limits, maps.shape[2:])
            for _ in slabs[some]:
                yield
        maps = np.moveaxis(resampled(maps, 1, cells[normal]), 1, 1 + normal)
        foreground += maps[0] / 3
        weight = reach_weight(maps)
        for place, axis in enumerate(across):
            weights[axis] += weight
            reach[0, axis] += weight * np.maximum(maps[2 + place], 0)
            reach[1, axis] += weight * np.maximum(maps[4 + place], 0)
    reach /= weights
    return SolidMaps(foreground, reach[0], reach[1])


def _together(model: Model) -> int:
    """How many planes are encoded at once: a processor is busy with one, a GPU is not."""
    return 1 if model.device.type == "cpu" else 8


def plane_maps(
    predictor: Predictor,
    planes: NDArray[np.float32],
    scale: float,
    limits: Sequence[Sequence[float]],
    cells: tuple[int, ...],
) -> Array:
    """Maps of planes (n, rows, columns, channels), encoded together: (6, n, *cells)."""
    count, height, width = planes.shape[:3]
    longer = max(height, width)
    side = max(CELL, round(scale * longer))
    embeddings = predictor.embed_maps(
        planes.reshape(count * height, width, -1),
        [Window(number * height, 0, height, width) for number in range(count)],
        side=side, mirrored=_MIRRORED, channel_axis=2, contrast_limits=limits,
    )  # fmt: skip
    out = np.empty((6, count, *cells), np.float32)
    shown = side / longer
    for number, embedding in enumerate(embeddings):
        maps, stride = dense_maps(predictor.model, embedding)
        rows, cols = (
            min(size, math.ceil(n * shown / stride))
            for size, n in zip(maps.shape[1:], (height, width), strict=True)
        )
        out[:, number] = resampled(resampled(maps[:, :rows, :cols], 1, cells[0]), 2, cells[1])
    out[2:] /= shown * np.float32(longer) / max(cells)
    return out


def reach_weight(maps: Array) -> Array:
    """How much the reaches of maps (6, ...) count: by how surely a cell is inside an object."""
    return sigmoid(maps[0]) * sigmoid(maps[1]) + LEAST_WEIGHT


def resampled(array: Array, axis: int, count: int) -> Array:
    """Resample an axis: the mean of what falls together, or linear interpolation.

    Parameters
    ----------
    array : float32 array
    axis : int
    count : int
        Samples along it afterwards.
    """
    if array.shape[axis] == count:
        return array
    table = resampling(array.shape[axis], count)
    return np.moveaxis(np.tensordot(table, array, (1, axis)), 0, axis)


def resampling(size: int, count: int) -> Array:
    """Return weights (count, size) that turn `size` samples of an interval into `count`."""
    if count < size:
        edges = np.linspace(0, size, count + 1)
        left, right = edges[:-1, None], edges[1:, None]
        cell = np.arange(size)
        shared = np.minimum(right, cell + 1) - np.maximum(left, cell)
        table = np.clip(shared, 0, None)
    else:
        places = np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)
        table = np.clip(1 - np.abs(places[:, None] - np.arange(size)), 0, None)
    out: Array = (table / table.sum(1, keepdims=True)).astype(np.float32)
    return out
