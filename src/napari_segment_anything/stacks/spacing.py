"""How far apart the planes of a stack are, in pixels of a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .volume import Volume, attempt, central_window, spread

FLATNESS = 1.7
"""Diameter of objects in a plane over their length across planes, where the file has no spacing:
the value for nuclei and cells in nearly cubic voxels, blurred along the optical axis."""
THICK = 16
"""Planes from which on a stack is looked at along other axes too, if nothing else is asked for."""
_FLAT = 3.0
_KNOWN_FLATNESS = 1.2
_LAG = 2
_SIDE = 512
_FARTHEST = 24
_SAMPLED = 5
_RIGID = (0.5, 12.0)
_FINE, _COARSE = 1.5, 15.0
_LEAST_AGREEMENT = 0.1


@dataclass(frozen=True, slots=True)
class Spacing:
    """How sections of an object change from plane to plane.

    Parameters
    ----------
    distance : float
        Of two planes in pixels, by which the sections of rounded bodies become smaller; 0 for
        frames of a time-lapse.
    rigidity : float
        Weight of the prompted section on other planes, larger where planes differ less.
    timed : bool
        Whether planes are frames.
    steady : bool
        Whether planes next to each other have enough in common to tell what moved where.
    anisotropy : float
        Distance of two planes in pixels of a plane, as given or assumed; 0 for frames.
    """

    distance: float
    rigidity: float
    timed: bool
    steady: bool
    anisotropy: float

    @classmethod
    def of(cls, volume: Volume, stack: tuple[int, ...], anisotropy: float | None = None) -> Spacing:
        """Use the given spacing or that of the file, and estimate the rest from a few planes.

        Parameters
        ----------
        volume : Volume
        stack : tuple of int
            Which stack of it.
        anisotropy : float, optional
            Distance of two planes in pixels of a plane.
        """
        steady = agreement(volume, stack) >= _LEAST_AGREEMENT
        if volume.axes[volume.axis] == "T":
            return cls(0.0, 1.0, True, steady, 0.0)
        change = plane_change(volume, stack)
        rigidity = float(np.clip(1 / max(change, 1e-6) ** 2, *_RIGID))
        known = volume.anisotropy if anisotropy is None else anisotropy
        if known is not None:
            return cls(_KNOWN_FLATNESS * known, rigidity, False, steady, known)
        assumed = _assumed(change)
        return cls(assumed, rigidity, False, steady, assumed)


def near_isotropic(volume: Volume, spacing: Spacing) -> bool:
    """Return whether a stack shows enough from across to tell where its objects end.

    It must have `THICK` planes, at most `_FLAT` pixels apart, that have something in common.

    Parameters
    ----------
    volume : Volume
    spacing : Spacing
    """
    across = spacing.steady and not spacing.timed and spacing.anisotropy <= _FLAT
    return across and volume.limits is not None and volume.count >= THICK


def assumed_anisotropy(volume: Volume, stack: tuple[int, ...]) -> float:
    """Return the distance of planes in pixels of a plane to assume where a file does not say it.

    If planes that it looks at cannot be read, it is that of planes which have little in common.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
        Which stack of it.
    """
    change = attempt(lambda: plane_change(volume, stack))
    return FLATNESS if isinstance(change, Exception) else _assumed(change)


def _assumed(change: float) -> float:
    return FLATNESS * min(1.0, 2 * change)


def plane_change(volume: Volume, stack: tuple[int, ...]) -> float:
    """Return how much planes differ, as the shift in pixels that changes a plane as much.

    It is estimated from the correlation of planes two apart, in the middle of the plane.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
        Which stack of it.

    Returns
    -------
    float
        Pixels per plane; 1 where a stack is too short or uniform.
    """
    if volume.count <= _LAG:
        return 1.0
    first, second = _pairs(volume, stack, _LAG)
    mean = np.mean([first, second])
    first, second = first - mean, second - mean
    across = _correlation(first, second)
    before = 1.0
    for shift in range(1, min(_FARTHEST, *(side - 1 for side in first.shape[1:]))):
        down = _correlation(first[:, :-shift], first[:, shift:])
        right = _correlation(first[:, :, :-shift], first[:, :, shift:])
        along = (down + right) / 2
        if along < across:
            return (shift - 1 + (before - across) / (before - along)) / _LAG
        before = along
    return 1.0 if across <= 0 else _FARTHEST / _LAG


def agreement(volume: Volume, stack: tuple[int, ...]) -> float:
    """Return the correlation of planes next to each other, of details neither fine nor coarse.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
        Which stack of it.
    """
    if volume.count < 2:
        return 0.0
    parts = [
        np.stack([gaussian_filter(p, _FINE) - gaussian_filter(p, _COARSE) for p in planes])
        for planes in _pairs(volume, stack, 1)
    ]
    return _correlation(*(part - part.mean() for part in parts))


def _pairs(
    volume: Volume, stack: tuple[int, ...], lag: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness in the middle of a few planes, and of those `lag` planes later."""
    rows, cols = volume.plane_shape
    window = central_window(volume.canvas, (min(rows, _SIDE), min(cols, _SIDE)))
    planes = spread(volume.count - lag, _SAMPLED)
    first, second = (
        np.stack([volume.brightness(plane + step, stack, window) for plane in planes])
        for step in (0, lag)
    )
    return first, second


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
