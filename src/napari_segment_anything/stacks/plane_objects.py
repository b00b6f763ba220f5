"""Objects of label planes and their overlaps, measured for linking and tracking."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..measures import shared_pixels


@dataclass(frozen=True, slots=True, eq=False)
class PlaneObjects:
    """Objects of one plane.

    Parameters
    ----------
    ids : int64 array (n,)
        Their labels on the plane, ascending.
    areas : int64 array (n,)
        Pixels.
    centroids : float64 array (n, 2)
        Mean row and column.
    scores : float64 array (n,)
        Predicted IoU; NaN where unknown.
    places : int64 array (n,)
        First pixel of each, counted row by row; it does not depend on the labels.
    """

    ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    centroids: NDArray[np.float64]
    scores: NDArray[np.float64]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Pairs of objects of two planes that share pixels.

    Parameters
    ----------
    first, second : int64 array (k,)
        Positions in the two planes' `PlaneObjects`.
    pixels : int64 array (k,)
        How many they share, at least 1.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pixels: NDArray[np.int64]


class StackObjects:
    """Planes of one stack, measured one after another; only the last few are held.

    Parameters
    ----------
    reach : int
        Overlaps are counted with this many planes before.
    """

    def __init__(self, reach: int = 1) -> None:
        self.planes: list[PlaneObjects] = []
        self.overlaps: dict[tuple[int, int], Overlaps] = {}
        self._last: deque[NDArray[np.int64]] = deque(maxlen=max(1, reach))

    def add(self, labels: NDArray[np.integer], scores: Mapping[int, float] | None = None) -> None:
        """Measure the next plane.

        Parameters
        ----------
        labels : integer array (rows, columns)
            0 is background.
        scores : mapping of int to float, optional
            Predicted IoU of each label.

        Raises
        ------
        ImageError
            If it holds no labels, or has another shape than the planes before.
        """
        if labels.ndim != 2 or labels.dtype.kind not in "iu":
            raise ImageError(
                f"a plane of labels holds integers in rows and columns, not {labels.dtype} of "
                f"shape {labels.shape}"
            )
        if self._last and self._last[-1].shape != labels.shape:
            raise ImageError(
                f"planes of labels need one shape, not {self._last[-1].shape} and {labels.shape}"
            )
        ids, ranks, places = _ranks(labels)
        plane = len(self.planes)
        counts = np.bincount(ranks.ravel(), minlength=len(ids) + 1)[1:]
        rows, cols = np.nonzero(ranks)
        which = ranks[rows, cols]
        sums = [np.bincount(which, axis, minlength=len(ids) + 1)[1:] for axis in (rows, cols)]
        centroids = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        known = scores or {}
        quality = np.array([known.get(int(i), np.nan) for i in ids], np.float64)
        self.planes.append(
            PlaneObjects(ids, counts.astype(np.int64), centroids.reshape(-1, 2), quality, places)
        )
        for back, before in enumerate(reversed(self._last), start=1):
            first, second, pixels = shared_pixels(before, ranks)
            self.overlaps[plane - back, plane] = Overlaps(first - 1, second - 1, pixels)
        self._last.append(ranks)


def _ranks(
    labels: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Labels that occur, ascending; the plane with each replaced by its place from 1; places."""
    if labels.size and int(labels.min()) < 0:
        raise ImageError("labels are not negative; 0 is background")
    ids, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    ranks = inverse.reshape(labels.shape).astype(np.int64)
    if len(ids) and ids[0] != 0:
        return ids.astype(np.int64), ranks + 1, first.astype(np.int64)
    return ids[1:].astype(np.int64), ranks, first[1:].astype(np.int64)
