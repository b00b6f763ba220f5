"""Building blocks of generated images: positions and outlines of objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected

from ._field import Float


@dataclass(frozen=True, slots=True)
class Blob:
    """An ellipse with a wavy outline.

    Parameters
    ----------
    center : tuple of float
        (row, column).
    radii : tuple of float
        Half the length and half the width, in pixels.
    angle : float
        Of the long axis against the column axis, in radians.
    wobble : float array (k, 2)
        Amplitude (relative to the radius) and phase of the outline's waves 2, 3, ... k + 1.
    arms : float array (m, 3)
        Direction against the long axis, length (relative to the radius) and width (radians) of
        pointed extensions.
    """

    center: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0
    wobble: Float | None = None
    arms: Float | None = None

    @property
    def reach(self) -> float:
        """Largest possible distance of the outline from the center."""
        extra = 0.0 if self.wobble is None else float(np.abs(self.wobble[:, 0]).sum())
        if self.arms is not None:
            extra += float(self.arms[:, 1].sum())
        return max(self.radii) * (1 + extra) + 1

    def stamp(
        self,
        shape: Sequence[int],
        margin: float = 1.0,
        warp: tuple[Float, Float] | None = None,
    ) -> tuple[tuple[slice, slice], Float] | None:
        """Relative distance from the center within the window around the blob.

        Parameters
        ----------
        shape : sequence of int
            (rows, columns) of the image.
        margin : float
            Size of the window, relative to the outline.
        warp : tuple of float array (rows, columns), optional
            Displacement of every pixel of the image, in rows and columns: bends the outline.

        Returns
        -------
        tuple of (tuple of slice, float32 array) or None
            The window, and in it the distance: 0 at the center, 1 on the outline. None if the
            blob lies outside the image.
        """
        reach = self.reach * margin
        rows = slice(
            max(int(self.center[0] - reach), 0), min(int(self.center[0] + reach) + 2, shape[0])
        )
        columns = slice(
            max(int(self.center[1] - reach), 0), min(int(self.center[1] + reach) + 2, shape[1])
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        row: Float = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        column: Float = np.arange(columns.start, columns.stop, dtype=np.float32)[None]
        center_row, center_column = np.float32(self.center[0]), np.float32(self.center[1])
        row, column = row - center_row, column - center_column
        if warp is not None:
            row, column = row + warp[0][rows, columns], column + warp[1][rows, columns]
        return (rows, columns), self.distance(row, column)

    def distance(self, row: Float, column: Float) -> Float:
        """Relative distance at positions given from the center."""
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        along = (column * cosine + row * sine) / np.float32(self.radii[0])
        across = (row * cosine - column * sine) / np.float32(self.radii[1])
        distance: Float = np.sqrt(along**2 + across**2)
        if self.wobble is None and self.arms is None:
            return distance
        theta = np.arctan2(across, along)
        outline = np.ones_like(distance)
        for k, (amplitude, phase) in enumerate(() if self.wobble is None else self.wobble, start=2):
            outline += np.float32(amplitude) * np.cos(k * theta + np.float32(phase))
        for direction, length, width in () if self.arms is None else self.arms:
            turn = np.abs(theta - direction)
            turn = np.minimum(turn, np.float32(2 * np.pi) - turn)
            outline += np.float32(length) * np.exp(-turn / np.float32(width))
        distance /= np.maximum(outline, np.float32(0.2))
        return distance


def wobble(rng: np.random.Generator, strength: float, waves: int = 4) -> Float:
    """Random outline waves, weaker for shorter wavelengths."""
    k = np.arange(2, waves + 2)
    amplitude = strength * rng.uniform(0.3, 1.0, waves) / (k - 1) ** 0.8
    return np.stack([amplitude, rng.uniform(0, 2 * np.pi, waves)], axis=1).astype(np.float32)


def place(
    shape: Sequence[float],
    radii: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    spacing: float = 1.0,
    clustering: float = 0.0,
    tries: int = 40,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Place round objects in a box at random, with a minimum distance.

    Parameters
    ----------
    shape : sequence of int
        Size of the box, any number of dimensions, in the units of `radii`.
    radii : float array (n,)
        Radius of each object.
    rng : numpy.random.Generator
        Source of randomness.
    spacing : float
        Smallest distance of two centers relative to the sum of their radii.
    clustering : float
        Fraction of objects placed next to an existing one.
    tries : int
        Positions tried for an object before it is left out.

    Returns
    -------
    tuple of (float array (m, d), int array (m,))
        Centers, and indices of the objects that were placed.
    """
    box = np.asarray(shape, float)
    centers = np.empty((len(radii), len(box)))
    placed = np.empty(len(radii), np.intp)
    count = 0
    for i, radius in enumerate(np.asarray(radii, float)):
        candidates = rng.uniform(0, 1, (tries, len(box))) * box
        if count and rng.random() < clustering:
            beside = rng.integers(0, count, tries)
            direction = rng.standard_normal((tries, len(box)))
            direction /= np.linalg.norm(direction, axis=1, keepdims=True)
            distance = spacing * (radii[placed[beside]] + radius) * rng.uniform(1.0, 1.15, tries)
            candidates = centers[beside] + direction * distance[:, None]
        inside = np.all((candidates >= 0) & (candidates < box), axis=1)
        if count:
            apart = np.linalg.norm(candidates[:, None] - centers[None, :count], axis=2)
            inside &= np.all(apart >= spacing * (radius + radii[placed[:count]]) - 1e-9, axis=1)
        good = np.flatnonzero(inside)
        if len(good):
            centers[count], placed[count] = candidates[good[0]], i
            count += 1
    return centers[:count], placed[:count]


def tidy(labels: NDArray[np.integer], *, min_size: int = 12) -> NDArray[np.int32]:
    """Make every label one connected piece, numbered 1, 2, ... without gaps.

    The largest piece of a label is kept; its other pieces, and labels that are smaller than
    `min_size` pixels, become background.
    """
    keep, ids = main_pieces(labels, min_size=min_size)
    _, number = np.unique(ids, return_inverse=True)
    table = np.zeros(len(keep), np.int32)
    table[keep > 0] = number + 1
    tidied: NDArray[np.int32] = table[connected(labels, connectivity=1, background=0)]
    return tidied


def main_pieces(
    labels: NDArray[np.integer], *, min_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each connected piece its label, or 0 if it is dropped; and the labels kept, in order."""
    pieces = connected(labels, connectivity=1, background=0)
    count = int(pieces.max())
    size = np.bincount(pieces.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, np.int64)
    owner[pieces.ravel()] = labels.ravel()
    order = np.lexsort((-size, owner))
    first = np.ones(count + 1, bool)
    first[1:] = owner[order][1:] != owner[order][:-1]
    stays = np.zeros(count + 1, bool)
    stays[order] = first
    keep = np.where(stays & (owner > 0) & (size >= min_size), owner, 0)
    return keep, keep[keep > 0]


def tidy_stack(labels: NDArray[np.integer], *, min_size: int = 12) -> NDArray[np.int32]:
    """Tidy each plane of a time-lapse separately, keeping the numbers of labels."""
    out = np.zeros(labels.shape, np.int32)
    for t, plane in enumerate(labels):
        keep, _ = main_pieces(plane, min_size=min_size)
        out[t] = keep[connected(plane, connectivity=1, background=0)]
    return out
