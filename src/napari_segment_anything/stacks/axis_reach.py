"""How far objects reach along the axis of a stack, seen on planes across it.

A section does not show how far its object goes on. Planes through it across the stack do: for each
pixel of them the dense head predicts where its object begins and ends. What is shown depends on the
section alone, in steps of position and size, so that neighbouring objects share these planes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..engine import EmbeddingStore, PlacedMask, Predictor, Window
from .masks import radius_of, signed_distance
from .solid_maps import CELL, plane_maps, reach_weight, resampled
from .solid_parts import OBJECT, SCALES, limits_of, read_planes
from .volume import Volume

_ACROSS, _ALONG, _STEP = 5.0, 6.0, 2.0
"""Sides of what is shown, in diameters of the object, and steps between its positions."""
_SLACK = 0.25
"""What is looked at around a section, in diameters."""
_EVERY = 4
"""Cells between planes across the stack. With 2, ends were no better."""
_WIDE = 2
"""Cells of a plane that are kept as one."""
_CORE = 0.5
_LEAST = 0.5
_KEPT_BYTES = 32 << 20

Array = NDArray[np.float32]


class _Span(NamedTuple):
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class _Cut(NamedTuple):
    """A plane across the stack: a row (axis 0) or column (1) of all planes.

    `number` says which of those at this scale, `planes` and `pixels` what of it is shown.
    """

    axis: int
    number: int
    planes: _Span
    pixels: _Span
    scale: float

    def place(self, size: int) -> _Span:
        """Rows, or columns, that are averaged, of so many."""
        middle = min((self.number + 0.5) * _EVERY * CELL / self.scale, size - 0.5)
        half = CELL / self.scale / 2
        start = max(0, min(round(middle - half), size - 1))
        return _Span(start, min(size, max(start + 1, round(middle + half))))


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """How far the objects around a section reach.

    Parameters
    ----------
    low, high : float16 array (z, y, x)
        Planes from a cell to where its object begins and ends.
    origins, per : tuple of float
        Plane, row and column at which the cells begin, and cells in one of these.
    """

    low: NDArray[np.float16]
    high: NDArray[np.float16]
    origins: tuple[float, float, float]
    per: tuple[float, float, float]

    def at(self, plane: int, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the objects of a window's pixels begin and end: (height, width) each.

        Parameters
        ----------
        plane : int
        window : Window
        """
        rows, cols = window.slices
        places = np.mgrid[plane : plane + 1, rows, cols] + 0.5
        shape = (3, 1, 1, 1)
        cells = (places - np.reshape(self.origins, shape)) * np.reshape(self.per, shape) - 0.5
        low, high = (
            ndimage.map_coordinates(
                part.astype(np.float32), cells, np.float64, order=1, mode="nearest"
            )[0]
            for part in (self.low, self.high)
        )
        return plane + 0.5 - low, plane + 0.5 + high


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """How far an object reaches.

    Parameters
    ----------
    plane : int
        With the section that it is known by.
    first, last : float
        Where the object begins and ends, as its section says.
    around : Reach
        What is seen around the section.
    """

    plane: int
    first: float
    last: float
    around: Reach

    def beyond(self, step: int) -> float:
        """Return how many planes it goes on, at least half a one.

        Parameters
        ----------
        step : int
            To which side: +1 or -1.
        """
        middle = self.plane + 0.5
        return max(self.last - middle if step > 0 else middle - self.first, _LEAST)


class AxisReach:
    """Looks at a stack from across.

    Parameters
    ----------
    volume : Volume
    predictor : Predictor
        Of a model with the "dense" head.
    stack : tuple of int
    anisotropy : float
        Distance of planes in pixels of a plane.
    """

    def __init__(
        self, volume: Volume, predictor: Predictor, stack: tuple[int, ...], anisotropy: float
    ) -> None:
        self.volume, self.predictor, self.stack = volume, predictor, stack
        self.anisotropy = anisotropy
        self._kept = EmbeddingStore[_Cut, Array](_KEPT_BYTES)
        self._limits: tuple[tuple[float, float], ...] | None = None

    def extent(self, plane: int, mask: PlacedMask) -> Extent:
        """Look at how far an object reaches.

        Parameters
        ----------
        plane : int
        mask : PlacedMask
            Its section there.
        """
        around = self._around(plane, mask)
        depth = signed_distance(mask.mask)
        core = depth >= np.quantile(depth[mask.mask], _CORE)
        first, last = (float(np.median(part[core])) for part in around.at(plane, mask.window))
        return Extent(plane, first, last, around)

    def _around(self, plane: int, mask: PlacedMask) -> Reach:
        diameter, window = 2 * radius_of(mask), mask.window
        scale = float(np.clip(2 ** (round(2 * math.log2(OBJECT / diameter)) / 2), *SCALES))
        unit = OBJECT / scale
        planes = _shown(plane, self.volume.count, unit / self.anisotropy, _ALONG)
        starts, sides = (window.row, window.col), window.shape
        sizes = self.volume.plane_shape
        middles = [start + side / 2 for start, side in zip(starts, sides, strict=True)]
        spans = [_shown(middles[k], sizes[k], unit, _ACROSS) for k in (0, 1)]
        cuts = []
        for axis in (0, 1):
            far = sides[axis] / 2 + _SLACK * diameter
            ends = np.clip((middles[axis] - far, middles[axis] + far), 0, sizes[axis] - 1)
            first, last = (ends * scale / CELL // _EVERY).astype(int).tolist()
            cuts.append(
                [_Cut(axis, n, planes, spans[1 - axis], scale) for n in range(first, last + 1)]
            )
        return self._joined(cuts, [self._look(found) for found in cuts])

    def _look(self, cuts: Sequence[_Cut]) -> list[Array]:
        """Maps (6, planes, pixels) of planes across the stack, on cells."""
        found = {cut: maps for cut in cuts if (maps := self._kept.find(cut)) is not None}
        missing = [cut for cut in cuts if cut not in found]
        for cut, pixels in zip(missing, self._read(missing) if missing else (), strict=True):
            found[cut] = self._maps(cut, pixels)
            self._kept.put(cut, found[cut])
        return [found[cut] for cut in cuts]

    def _read(self, cuts: Sequence[_Cut]) -> list[Array]:
        """Pixels (planes, pixels, channels) of planes across the stack, along one axis."""
        axis, _, planes, pixels, _ = cuts[0]
        places = [cut.place(self.volume.plane_shape[axis]) for cut in cuts]
        part = _Span(min(place.start for place in places), max(place.stop for place in places))
        window = (slice(*part), slice(*pixels))
        if axis:
            window = window[1], window[0]
        out: list[list[Array]] = [[] for _ in cuts]
        for values in read_planes(self.volume, self.stack, range(*planes), window):
            lines = np.moveaxis(values, axis, 0)
            for rows, place in zip(out, places, strict=True):
                rows.append(lines[place.start - part.start : place.stop - part.start].mean(axis=0))
        return [np.stack(rows) for rows in out]

    def _maps(self, cut: _Cut, pixels: Array) -> Array:
        if self._limits is None:
            self._limits = limits_of(self.volume, self.stack)
        even = max(1, round(len(pixels) * self.anisotropy))
        cells = tuple(max(1, round(n * cut.scale / CELL)) for n in (even, pixels.shape[1]))
        shown = resampled(pixels, 0, even)
        return plane_maps(self.predictor, shown[None], cut.scale, self._limits, cells)[:, 0]

    def _joined(self, cuts: Sequence[Sequence[_Cut]], seen: Sequence[Sequence[Array]]) -> Reach:
        """Average what planes along both axes say, on cells near the section."""
        planes, scale = cuts[0][0].planes, cuts[0][0].scale
        starts = [found[0].number * _EVERY * CELL / scale for found in cuts]
        counts = [_EVERY // _WIDE * len(found) for found in cuts]
        shape = (seen[0][0].shape[1], counts[0], counts[1])
        total = np.zeros(shape, np.float32)
        low, high = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for axis, stack in enumerate(seen):
            other, span = 1 - axis, cuts[axis][0].pixels
            maps = resampled(np.stack(stack, 2 + axis), 2 + axis, counts[axis])
            size = maps.shape[2 + other]
            places = (
                starts[other] - span.start + (np.arange(counts[other]) + 0.5) * _WIDE * CELL / scale
            )
            cells = np.clip(places * size / span.size, 0, size - 1).astype(int)
            maps = np.take(maps, cells, 2 + other)
            weight = reach_weight(maps)
            total += weight
            low += weight * np.maximum(maps[2], 0)
            high += weight * np.maximum(maps[4], 0)
        per = shape[0] / planes.size
        across = scale / CELL / _WIDE
        return Reach(
            (low / total / per).astype(np.float16),
            (high / total / per).astype(np.float16),
            (planes.start, starts[0], starts[1]),
            (per, across, across),
        )


def _shown(middle: float, size: int, unit: float, sides: float) -> _Span:
    """Part of an axis that is shown around a place: in steps, so that it is often the same."""
    length = sides * unit
    if size <= length:
        return _Span(0, size)
    centre = round(middle / (_STEP * unit)) * _STEP * unit
    start = int(np.clip(round(centre - length / 2), 0, size - 1))
    return _Span(start, min(size, max(start + 1, round(centre + length / 2))))
