"""Edge detection: maps of edge strength, and how well they agree with drawn boundaries.

The evaluation is that of BSDS500 (Arbelaez et al., 2011): at each of many thresholds, edge pixels
are matched one to one with boundary pixels of each person within a small distance. Edges without a
match with anybody are false; boundaries of a person without a match are missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.feature import canny
from skimage.filters import sobel
from skimage.morphology import thin
from skimage.segmentation import find_boundaries

from ..errors import ParameterError
from .pixel_matching import match_pixels

TOLERANCE = 0.0075
"""Largest distance of a match, as a part of the image's diagonal."""
EDGE_THRESHOLDS = 33
_SMOOTHING = 2.0
_STRONGER = 1.01
_RIM = 5
_CANNY = np.linspace(1.0, 8.0, 8)


@dataclass(frozen=True, slots=True, eq=False)
class EdgeCounts:
    """Pixels at n thresholds, of one image or summed over several.

    Parameters
    ----------
    found, found_hit : int64 array (n,)
        Edge pixels, and those of them that match a boundary of anybody.
    true, true_hit : int64 array (n,)
        Boundary pixels of all people, and those of them that match an edge.
    """

    found: NDArray[np.int64]
    found_hit: NDArray[np.int64]
    true: NDArray[np.int64]
    true_hit: NDArray[np.int64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """Part of the edges that are right: (n,); 1 where there are none."""
        return _ratio(self.found_hit, self.found, 1.0)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Part of the boundaries that were found: (n,); 1 where there are none."""
        return _ratio(self.true_hit, self.true, 1.0)

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of both: (n,)."""
        both = self.precision + self.recall
        return _ratio(2 * self.precision * self.recall, both, 0.0)

    def table(self) -> list[list[int]]:
        """Four rows of plain numbers, in the order of the fields."""
        rows = (self.found, self.found_hit, self.true, self.true_hit)
        return [row.tolist() for row in rows]


def thin_edges(strength: ArrayLike) -> NDArray[np.float32]:
    """Keep edge strength only where it is largest across the edge (Canny, 1986).

    The direction across an edge is that of the larger curvature of the smoothed map; neighbours
    there are interpolated.

    Parameters
    ----------
    strength : float array (rows, columns)
        At least 0.

    Returns
    -------
    float32 array (rows, columns)
        0 where it is not largest; weaker towards the image's rim, where the direction is unsure.
    """
    edges = np.asarray(strength, np.float32)
    if min(edges.shape) < 3:
        return edges.copy()
    smooth = ndimage.gaussian_filter(edges, _SMOOTHING)
    down, across = np.gradient(smooth)
    down_down, down_across = np.gradient(down)
    across_across = np.gradient(across)[1]
    # direction of the larger curvature, of either sign
    angle = np.arctan2(2 * down_across, across_across - down_down) / 2
    angle += (np.pi / 2) * (across_across + down_down < 0)
    rows, cols = np.mgrid[: edges.shape[0], : edges.shape[1]].astype(np.float32)
    step_row, step_col = np.sin(angle), np.cos(angle)
    kept = edges.copy()
    for side in (-1, 1):
        beside = ndimage.map_coordinates(
            edges, [rows + side * step_row, cols + side * step_col], order=1, mode="nearest"
        )
        kept[edges * _STRONGER < beside] = 0
    for axis, length in enumerate(edges.shape):
        rim = np.minimum(np.arange(length), np.arange(length)[::-1]) / _RIM
        kept *= np.expand_dims(np.minimum(rim, 1.0), 1 - axis)
    return kept


def boundaries_of(labels: ArrayLike) -> NDArray[np.bool_]:
    """Boundaries of a label image, one pixel wide: bool (rows, columns)."""
    edges = find_boundaries(np.asarray(labels), connectivity=1, mode="inner")
    thinned: NDArray[np.bool_] = thin(edges)
    return thinned


def count_edges(
    strength: ArrayLike,
    boundaries: Sequence[ArrayLike],
    *,
    tolerance: float = TOLERANCE,
    thresholds: int = EDGE_THRESHOLDS,
) -> EdgeCounts:
    """Compare thinned edges with the boundaries that one or several people drew.

    Parameters
    ----------
    strength : float array (rows, columns)
        From 0 to 1, thinned; see `thin_edges`.
    boundaries : sequence of bool array (rows, columns)
        Of each person.
    tolerance : float
        As `TOLERANCE`.
    thresholds : int
        Their number; they divide 0 to 1 into equal parts.

    Raises
    ------
    ParameterError
        If the shapes differ, or nobody drew boundaries.
    """
    edges = np.asarray(strength, np.float64)
    drawn = [np.asarray(each, bool) for each in boundaries]
    if not drawn or any(each.shape != edges.shape for each in drawn):
        raise ParameterError("boundaries of at least one person are needed, of the edges' shape")
    reach = tolerance * float(np.hypot(*edges.shape))
    levels = np.arange(1, thresholds + 1) / (thresholds + 1)
    counts = np.zeros((4, thresholds), np.int64)
    strong = np.zeros(edges.shape, bool)
    for i, level in enumerate(levels):
        if i and np.array_equal(strong, edges >= level):
            counts[:, i] = counts[:, i - 1]
            continue
        strong = edges >= level
        found = thin(strong)
        hit = np.zeros(np.count_nonzero(found), bool)
        for each in drawn:
            mine, theirs = match_pixels(found, each, reach)
            hit |= mine
            counts[2, i] += len(theirs)
            counts[3, i] += np.count_nonzero(theirs)
        counts[:2, i] = len(hit), np.count_nonzero(hit)
    return EdgeCounts(*counts)


def sum_counts(counts: Sequence[EdgeCounts]) -> EdgeCounts:
    """Sum the counts of images, threshold by threshold."""
    return EdgeCounts(*np.sum([each.table() for each in counts], axis=0))


def ods(counts: Sequence[EdgeCounts]) -> float:
    """F1 at the threshold that is best for all images together."""
    return float(sum_counts(counts).f1.max())


def ois(counts: Sequence[EdgeCounts]) -> float:
    """F1 with each image at its own best threshold."""
    best = []
    for each in counts:
        at = int(each.f1.argmax())
        best.append(EdgeCounts(*(np.array(row)[at : at + 1] for row in each.table())))
    return float(sum_counts(best).f1[0])


def edge_ap(counts: Sequence[EdgeCounts]) -> float:
    """Area under precision over recall, all images together."""
    recall, precision = _curve(counts)
    width = np.diff(recall, prepend=0.0)
    height = (precision + np.concatenate([precision[:1], precision[:-1]])) / 2
    return float((width * height).sum())


def recall_at_half(counts: Sequence[EdgeCounts]) -> float:
    """Largest recall at a precision of at least .5 (R50); 0 if none is as precise."""
    recall, precision = _curve(counts)
    precise = recall[precision >= 0.5]
    return float(precise.max()) if len(precise) else 0.0


def _curve(counts: Sequence[EdgeCounts]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall, rising, and the precision there."""
    total = sum_counts(counts)
    recall, first = np.unique(total.recall[::-1], return_index=True)
    return recall, total.precision[::-1][first]


def sobel_edges(image: ArrayLike) -> NDArray[np.float32]:
    """Edge strength by Sobel's filter, thinned: what needs no model.

    Parameters
    ----------
    image : array (rows, columns) or (rows, columns, channels)
        Any number type; channels are averaged.
    """
    return thin_edges(_scaled(sobel(ndimage.gaussian_filter(_grey(image), 1.0))))


def canny_edges(image: ArrayLike) -> NDArray[np.float32]:
    """Edges by Canny's detector; strong where they are found at coarser scales too.

    Parameters
    ----------
    image : array (rows, columns) or (rows, columns, channels)
        Any number type; channels are averaged.
    """
    grey = _scaled(_grey(image))
    found = np.mean([canny(grey, sigma) for sigma in _CANNY], axis=0)
    return np.asarray(found, np.float32)


def _grey(image: ArrayLike) -> NDArray[np.float32]:
    grey = np.nan_to_num(np.asarray(image, np.float32))
    return grey.mean(-1, dtype=np.float32) if grey.ndim == 3 else grey


def _scaled(values: NDArray[np.floating]) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / ((high - low) or 1.0), np.float32)


def _ratio(part: ArrayLike, whole: ArrayLike, empty: float) -> NDArray[np.float64]:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole > 0)
