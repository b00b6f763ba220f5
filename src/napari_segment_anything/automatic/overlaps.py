"""Overlapping masks to a label image: which mask wins a pixel, and what remains of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from ..formats.rle import RLE, intersection
from ..parameters import POLICIES

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, slots=True, eq=False)
class LabelImage:
    """A label image, and the visible area of each mask in it.

    Parameters
    ----------
    labels : unsigned integer array (rows, columns)
        0 is background. The smallest type that holds all ids.
    label : int64 array (n,)
        The id of each mask; 0 for masks that were dropped.
    visible_area : int64 array (n,)
        Pixels with that id.
    """

    labels: NDArray[np.unsignedinteger]
    label: NDArray[np.int64]
    visible_area: NDArray[np.int64]


def priority(
    policy: str, area: NDArray[np.integer], score: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Order in which masks are painted, the first on top.

    Parameters
    ----------
    policy : {"small", "score", "large"}
        "small": the smaller mask wins, so that parts stay visible on wholes; "large": the
        larger; "score": the one with the higher predicted IoU. Ties go to the higher score,
        then to the earlier mask.
    area, score : array (n,)
        Pixels and predicted IoU.

    Raises
    ------
    ParameterError
        If the policy is unknown.
    """
    keys = {"small": area, "score": np.zeros(len(area)), "large": -area.astype(np.int64)}
    if policy not in keys:
        raise ParameterError(f"policy must be one of {', '.join(POLICIES)}; got {policy!r}.")
    return np.lexsort((np.arange(len(area)), -score, keys[policy]))


def resolve_overlaps(
    masks: Sequence[RLE],
    order: NDArray[np.integer],
    shape: tuple[int, int],
    *,
    existing: ArrayLike | None = None,
    min_visible: float = 0.5,
    min_piece: float = 0.25,
) -> LabelImage:
    """Paint masks into a label image, without leftover rings and fragments.

    Masks are painted in `order`, each on pixels that are still free. Of the free part of a mask,
    8-connected pieces smaller than `min_piece` times the largest are left out. If what remains is
    less than `min_visible` of the mask, the mask is dropped and its pixels stay free.

    Parameters
    ----------
    masks : sequence of RLE
        n masks; mask i gets the label `first` + i, where `first` is 1, or one more than the
        largest existing label.
    order : int array
        Indices of the masks to paint, first ones on top.
    shape : tuple of int
        (rows, columns).
    existing : int array (rows, columns), optional
        Labels that stay as they are; only their background is painted.
    min_visible : float
        0 to 1.
    min_piece : float
        0 to 1; 0 keeps every fragment, 1 only the largest (and its equals).

    Returns
    -------
    LabelImage
        Existing labels included.

    Raises
    ------
    ParameterError
        If a fraction is outside 0 to 1, or `existing` is not a label image of this shape.
    """
    for name, value in (("min_visible", min_visible), ("min_piece", min_piece)):
        if not 0 <= value <= 1:
            raise ParameterError(f"{name} must be between 0 and 1; got {value!r}.")
    base = _existing(existing, shape)
    first = 1 + (int(base.max(initial=0)) if base is not None else 0)
    dtype = np.min_scalar_type(first + len(masks) - 1)
    canvas = np.zeros(shape, dtype) if base is None else base.astype(dtype)
    label = np.zeros(len(masks), np.int64)
    visible = np.zeros(len(masks), np.int64)
    for i in order:
        mask = masks[i]
        row0, col0, row1, col1 = mask.bounds
        part = canvas[row0:row1, col0:col1]
        free = mask.decode_bounds() & (part == 0)
        left, area = int(np.count_nonzero(free)), mask.area
        if left == 0 or left < min_visible * area:
            continue
        free = _main_pieces(free, min_piece)
        left = int(np.count_nonzero(free))
        if left < min_visible * area:
            continue
        part[free] = label[i] = first + i
        visible[i] = left
    return LabelImage(canvas, label, visible)


def _existing(existing: ArrayLike | None, shape: tuple[int, int]) -> NDArray[np.integer] | None:
    if existing is None:
        return None
    array = np.asarray(existing)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.shape != shape or array.dtype.kind not in "iu" or (array < 0).any():
        raise ParameterError(
            f"existing must be a label image of shape {shape} without negative values; "
            f"got {array.dtype} {array.shape}."
        )
    return array


def _main_pieces(mask: NDArray[np.bool_], min_piece: float) -> NDArray[np.bool_]:
    if min_piece <= 0:
        return mask
    from scipy.ndimage import label

    pieces, count = label(mask, _EIGHT)
    if count < 2:
        return mask
    area = np.bincount(pieces.ravel())
    area[0] = 0
    main: NDArray[np.bool_] = (area >= max(1.0, min_piece * area.max()))[pieces]
    return main


def parents(
    masks: Sequence[RLE], boxes: NDArray[np.integer], area: NDArray[np.integer], containment: float
) -> NDArray[np.int64]:
    """For each mask, the smallest larger mask that contains it, or -1.

    Parameters
    ----------
    masks : sequence of RLE
        n masks.
    boxes : int array (n, 4)
        (row_min, col_min, row_max, col_max).
    area : int array (n,)
        Pixels.
    containment : float
        Fraction of the mask that must lie in its parent.

    Returns
    -------
    int64 array (n,)
        Indices. Of masks with the same area, the earlier one can contain the later one.
    """
    out = np.full(len(masks), -1, np.int64)
    order = np.argsort(-np.asarray(area), kind="stable")
    for place, child in enumerate(order):
        larger = order[:place]
        meet = np.all(boxes[larger, :2] <= boxes[child, 2:], axis=1)
        meet &= np.all(boxes[larger, 2:] >= boxes[child, :2], axis=1)
        for candidate in larger[meet][::-1]:
            if intersection(masks[child], masks[candidate]) >= containment * area[child]:
                out[child] = candidate
                break
    return out


def depths(parent: NDArray[np.integer]) -> NDArray[np.int64]:
    """Nesting depth of each mask: 0 for a whole, 1 for its parts, and so on."""
    out = np.zeros(len(parent), np.int64)
    up = parent.copy()
    while np.any(up >= 0):
        out += up >= 0
        up = np.where(up >= 0, parent[up], -1)
    return out
