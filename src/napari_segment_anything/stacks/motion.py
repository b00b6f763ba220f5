"""A prompted section, moved along with what is around it from plane to plane.

An outline that moves by a fifth of a pixel a plane has moved by four after twenty, though no two
masks next to each other differ. So optical flow is added up along the planes, and the prompted
section is moved once, by the sum: nothing is rounded on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import optical_flow_ilk
from skimage.transform import resize

from ..engine import EmbeddingStore, PlacedMask, Window
from .masks import radius_of, signed_distance

_NEIGHBOURHOOD = 7
"""Pixels that move together lie within this radius, in the reduced image."""
_RADIUS = 14.0
"""Larger objects are reduced to this radius before their motion is measured."""
_REACH = 0.8
_LEAST_REACH = 8


class Brightness(NamedTuple):
    """Part of a plane: float32 (height, width), and where it lies."""

    values: NDArray[np.float32]
    window: Window

    def cut(self, window: Window) -> NDArray[np.float32]:
        """Return what lies in a window, which lies in this part."""
        row, col = window.row - self.window.row, window.col - self.window.col
        return self.values[row : row + window.height, col : col + window.width]

    def at(self, places: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return what is at rows and columns (2, ...); outside, what is at the edge."""
        cells = [places[0] - self.window.row, places[1] - self.window.col]
        found: NDArray[np.float32] = ndimage.map_coordinates(
            self.values, cells, order=1, mode="nearest"
        )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """Where the pixels of a window come from on the plane with prompts.

    Parameters
    ----------
    plane : int
    window : Window
        Pixels of that plane.
    shift : float32 array (2, rows, columns)
        Rows and columns to add, in pixels of the plane; cells fill the window.
    """

    plane: int
    window: Window
    shift: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.shift.nbytes

    def origins(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return places (2, ...) on the plane with prompts; outside, the shift of the edge."""
        origin, sides = (self.window.row, self.window.col), (self.window.height, self.window.width)
        cells = [
            (places[k] + 0.5 - origin[k]) * self.shift.shape[1 + k] / sides[k] - 0.5 for k in (0, 1)
        ]
        return places + np.stack(
            [ndimage.map_coordinates(part, cells, order=1, mode="nearest") for part in self.shift]
        )


Shifts = EmbeddingStore[tuple[object, int], Shift]


class MovedSection:
    """A section that was prompted for, on other planes.

    Parameters
    ----------
    plane : int
        Where it was prompted for.
    mask : PlacedMask
    plane_shape : (int, int)
        Rows and columns; what the edge of the plane cuts off goes on beyond it.
    kept : Shifts
        Where shifts to all planes are kept as long as there is room: between two planes with
        prompts, planes are asked for from both sides.
    """

    def __init__(
        self, plane: int, mask: PlacedMask, plane_shape: tuple[int, int], kept: Shifts
    ) -> None:
        self.plane, self.mask, self.plane_shape = plane, mask, plane_shape
        self.radius = radius_of(mask)
        self._kept, self._key = kept, object()
        # the last of each direction: planes are asked for one after another
        self._last: dict[int, Shift] = {}

    def origins(
        self, plane: int, window: Window, around: Callable[[int], Brightness]
    ) -> NDArray[np.float64]:
        """Rows and columns on the plane with prompts, (2, height, width), of a window's pixels.

        Parameters
        ----------
        plane : int
        window : Window
        around : callable
            What is around the object on a plane, always of the same part of it.
        """
        return self._to(plane, around).origins(np.mgrid[window.slices].astype(np.float64))

    def depth(self, origins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Signed distance from the section's outline, positive inside, for pixels from there."""
        pad = int(2 * self.radius) + 4
        depth = signed_distance(np.pad(self.mask.mask, pad))
        corner = (self.mask.window.row - pad, self.mask.window.col - pad)
        cells = [
            np.clip(np.clip(origins[k], 0, self.plane_shape[k] - 1) - corner[k], 0, depth.shape[k])
            for k in (0, 1)
        ]
        moved: NDArray[np.float64] = ndimage.map_coordinates(depth, cells, order=1, mode="nearest")
        return moved

    def _to(self, plane: int, around: Callable[[int], Brightness]) -> Shift:
        step = 1 if plane > self.plane else -1
        shift = self._last.get(step)
        if shift is None or (plane - shift.plane) * step < 0:
            known = (self._kept.find((self._key, p)) for p in range(plane, self.plane, -step))
            start = Shift(self.plane, self.mask.window, np.zeros((2, 1, 1), np.float32))
            shift = next((found for found in known if found is not None), start)
        while shift.plane != plane:
            shift = self._next(shift, step, around)
            self._kept.put((self._key, shift.plane), shift)
        self._last[step] = shift
        return shift

    def _next(self, last: Shift, step: int, around: Callable[[int], Brightness]) -> Shift:
        before, here = around(last.plane), around(last.plane + step)
        window = self._around(last, here.window)
        if window is None:
            return replace(last, plane=last.plane + step)
        factor = max(1.0, self.radius / _RADIUS)
        sides = np.array([window.height, window.width], np.float64)
        shape = tuple(max(2, round(side / factor)) for side in sides)
        first, second = (
            resize(part.cut(window), shape, anti_aliasing=factor > 1) for part in (here, before)
        )
        scale = (sides / shape)[:, None, None]
        flow = optical_flow_ilk(first, second, radius=_NEIGHBOURHOOD, gaussian=True) * scale
        cells = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
        places = (cells + 0.5) * scale - 0.5 + np.array([window.row, window.col])[:, None, None]
        shift = last.origins(places + flow) - places
        return Shift(last.plane + step, window, shift.astype(np.float32))

    def _around(self, last: Shift, seen: Window) -> Window | None:
        """The moved section's box on the plane of `last` and what is near it; None if not seen."""
        near = max(_LEAST_REACH, round(_REACH * self.radius))
        inner = last.window
        places = np.mgrid[inner.slices].astype(np.float64)
        rows, cols = np.nonzero(self.depth(last.origins(places)) > 0)
        if len(rows):
            inner = Window(
                inner.row + int(rows.min()), inner.col + int(cols.min()),
                int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1,
            )  # fmt: skip
        top, left = max(inner.row - near, seen.row), max(inner.col - near, seen.col)
        bottom = min(inner.row + inner.height + near, seen.row + seen.height)
        right = min(inner.col + inner.width + near, seen.col + seen.width)
        if bottom <= top or right <= left:
            return None
        return Window(top, left, bottom - top, right - left)
