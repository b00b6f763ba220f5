"""The rounded body that a prompted section is taken for, on the planes before and after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine import PlacedMask
from .axis_reach import Extent
from .masks import radius_of, signed_distance
from .spacing import Spacing

_ROUND, _ROUND_AMONG = 1.05, 1.0
"""Half its length, relative to the radius of its section; and to the geometric mean of that and the
common radius of instances on its plane, as bodies of a stack are more alike than their sections."""
_COMMON = 4
"""Instances from which on their radius counts."""
_SEEN = 0.3
"""Weight of what is seen across the stack against that, in the logarithm of the length. Half the
length is then off by a factor of 1.29 in the mean; without the common radius it was 1.36 (on four
stacks of benchmarks/stacks.py, on which the factors were chosen)."""
_GROWN = 1.5
_BEYOND = 2.0
_ENDLESS = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class RoundedBody:
    """A body, prompted for on one of its planes.

    Parameters
    ----------
    plane : int
        With the section.
    radius : float
        Of the section, in pixels.
    depth : float
        Distance from its outline to its deepest pixel.
    below, above : float
        Planes from the section to where the body ends, on both sides.
    extent : Extent or None
        What is seen of it across the stack.
    """

    plane: int
    radius: float
    depth: float
    below: float
    above: float
    extent: Extent | None

    @classmethod
    def of(
        cls,
        plane: int,
        mask: PlacedMask,
        spacing: Spacing,
        extent: Extent | None,
        areas: NDArray[np.floating],
    ) -> RoundedBody:
        """Continue a section; in a time-lapse without end.

        Parameters
        ----------
        plane : int
        mask : PlacedMask
            The section.
        spacing : Spacing
        extent : Extent or None
        areas : float array (n,)
            Of the instances of its plane, in pixels.
        """
        radius = radius_of(mask)
        half = _ENDLESS
        if spacing.distance:
            half = _ROUND * radius / spacing.distance
            if len(areas) >= _COMMON:
                common = float(np.sqrt(np.median(areas) / np.pi))
                half = _ROUND_AMONG * float(np.sqrt(radius * common)) / spacing.distance
        below = above = half
        if extent is not None:
            below, above = (half ** (1 - _SEEN) * extent.beyond(s) ** _SEEN for s in (-1, 1))
        depth = float(signed_distance(mask.mask).max())
        return cls(plane, radius, depth, below, above, extent)

    def half(self, plane: int) -> float:
        """Return how many planes it goes on to the side that a plane is on."""
        return self.above if plane > self.plane else self.below

    def distance(self, plane: int) -> float:
        """Return how far a plane is from the section; 1 is where the body ends."""
        return abs(plane - self.plane) / self.half(plane)

    def lost(self, plane: int) -> float:
        """Return by how many pixels its outline lies inside that of the section; negative outside.

        Farther than the section is deep, nothing is left of it.
        """
        if self.distance(plane) < 1:
            half, middle = (self.below + self.above) / 2, (self.above - self.below) / 2
            there, here = (plane - self.plane - middle) / half, middle / half
            rest = min(float(np.sqrt((1 - there**2) / (1 - here**2))), _GROWN)
        else:
            rest = -_BEYOND * (self.distance(plane) - 1) * _ROUND
        return (1 - rest) * self.depth

    def margins(self, plane: int, mask: PlacedMask) -> tuple[float, float]:
        """Return how far a section lies within the body's extent, and the prompted one within its.

        Both are relative to half the body, between -1 and 1; 0 where nothing is seen.

        Parameters
        ----------
        plane : int
        mask : PlacedMask
            A section on that plane.
        """
        extent = self.extent
        if extent is None:
            return 0.0, 0.0
        first, last = (
            float(part[mask.mask].mean()) for part in extent.around.at(plane, mask.window)
        )
        here, there = plane + 0.5, self.plane + 0.5
        if plane > self.plane:
            within, own = extent.last - here, there - first
        else:
            within, own = here - extent.first, last - there
        half = self.half(plane)
        return float(np.clip(within / half, -1, 1)), float(np.clip(own / half, -1, 1))
