"""Non-maximum suppression by box or by mask, greedy and stable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..formats.rle import RLE, intersection

_BLOCK = 128  # boxes compared with all others at a time


def box_nms(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Keep the best of overlapping boxes.

    Boxes are visited by falling score, equal scores in the order given; one is kept unless a
    kept one overlaps it with an intersection over union above `threshold`. Sides are
    differences of coordinates, in float32: a box on a single row or column has no area, and
    such boxes neither suppress nor are suppressed.

    Parameters
    ----------
    boxes : array (n, 4)
        (row_min, col_min, row_max, col_max).
    scores : array (n,)
        Higher is better.
    threshold : float
        Largest intersection over union that is tolerated.

    Returns
    -------
    int64 array (k,)
        Indices of the kept boxes, by falling score.
    """
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    top, left, bottom, right = corners[order].T.copy()
    area = (bottom - top) * (right - left)
    limit = np.float64(threshold)
    if limit >= 1:
        return order
    alive = np.ones(len(order), bool)
    for start in range(0, len(order), _BLOCK):
        rows = start + np.flatnonzero(alive[start : start + _BLOCK])
        rest = start + np.flatnonzero(alive[start:])
        high = np.minimum(bottom[rows, None], bottom[rest]) - np.maximum(top[rows, None], top[rest])
        wide = np.minimum(right[rows, None], right[rest]) - np.maximum(left[rows, None], left[rest])
        shared = np.maximum(high, 0) * np.maximum(wide, 0)
        with np.errstate(invalid="ignore"):
            iou = shared / (area[rows, None] + area[rest] - shared)
        overlaps = (iou.astype(np.float64) > limit) & (rest > rows[:, None])
        for row in np.flatnonzero(overlaps.any(axis=1)):
            if alive[rows[row]]:
                alive[rest[overlaps[row]]] = False
    return order[alive]


def mask_nms(
    masks: Sequence[RLE], boxes: ArrayLike, scores: ArrayLike, threshold: float
) -> NDArray[np.int64]:
    """Keep the best of overlapping masks: `box_nms` with the overlap of masks.

    Parameters
    ----------
    masks : sequence of RLE
        n masks of one image.
    boxes : array (n, 4)
        Their (row_min, col_min, row_max, col_max), outermost pixels.
    scores : array (n,)
        Higher is better.
    threshold : float
        Largest intersection over union that is tolerated.

    Returns
    -------
    int64 array (k,)
        Indices of the kept masks, by falling score.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    area = np.array([mask.area for mask in masks], np.float64)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    alive = np.ones(len(order), bool)
    keep = []
    for place, best in enumerate(order):
        if not alive[place]:
            continue
        keep.append(best)
        later = np.flatnonzero(alive[place + 1 :]) + place + 1
        other = order[later]
        meet = np.all(corners[other, :2] <= corners[best, 2:], axis=1)
        meet &= np.all(corners[other, 2:] >= corners[best, :2], axis=1)
        # The IoU of two masks is at most the ratio of their areas.
        small, large = np.minimum(area[other], area[best]), np.maximum(area[other], area[best])
        meet &= small > threshold * large
        for index in np.flatnonzero(meet):
            shared = intersection(masks[best], masks[other[index]])
            if shared > threshold * (area[best] + area[other[index]] - shared):
                alive[later[index]] = False
    return np.asarray(keep, np.int64)
