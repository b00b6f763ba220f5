"""Objects of a volume from the maps of its cells.

Each cell moves to the middle of the sections through it, again and again, until it is in the
middle of an object: cells that arrive at one place and predict one box there are one object.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..automatic.dense import BoxDecoding, box_iou, box_volume, boxes_around, sigmoid
from .solid_maps import LEAST_WEIGHT, SolidMaps

_STEPS = 6
_STEP = 0.7
_SMOOTH = 1.0
_APART = 0.15
_NEAREST = 6
_CHUNK = 1 << 18
_OBJECTS = 256
_LEAST_CELLS = 8
_LEAST_SHARE = 0.05
_SEEN = 2 / 3
"""Cells are grouped down to this part of the foreground threshold."""
_EDGE = 0.9
"""An object ends at this part of the threshold, as directions differ most at edges, times the
probability at its core, which noise lowers."""
_CORE = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class SolidObjects:
    """Objects on cells.

    Parameters
    ----------
    labels : int32 array (z, y, x)
        0 background, 1 to n.
    scores : float32 array (n,)
        Foreground probability at the object's core, times the mean IoU of its cells' boxes with the
        object's.
    middles : float32 array (n, 3)
        The middle of each, in cells.
    levels : float32 array (n,)
        Foreground probability at which each ends.
    foreground : float32 array (z, y, x)
        Probability.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    middles: NDArray[np.float32]
    levels: NDArray[np.float32]
    foreground: NDArray[np.float32]


def group_cells(maps: SolidMaps, how: BoxDecoding) -> Generator[None, None, SolidObjects]:
    """Group the foreground cells of a part of a volume into objects.

    Parameters
    ----------
    maps : SolidMaps
    how : BoxDecoding
        Its foreground, NMS and agreement thresholds are used.

    Yields
    ------
    None
        Every second or so in a large part.

    Returns
    -------
    SolidObjects
    """
    maps = _smoothed(maps)
    foreground = sigmoid(maps.foreground)
    labels, agreement = np.zeros(foreground.shape, np.int32), np.zeros(foreground.shape, np.float32)
    middles = np.zeros((0, 3), np.float32)
    cells = np.argwhere(foreground > _SEEN * how.foreground_thresh)
    if len(cells):
        ends = yield from _ends(maps, cells)
        own = boxes_around(ends, _at(np.concatenate([maps.low, maps.high]), ends))
        boxes = _proposals(foreground.shape, ends, own, how.peak_nms_thresh)
        middles = ((boxes[:, :3] + boxes[:, 3:]) / 2).astype(np.float32)
        if len(boxes):
            which, agreed = yield from _best(own, boxes)
            at = tuple(cells.T)
            labels[at] = np.where(agreed >= how.agreement_thresh, which + 1, 0)
            agreement[at] = agreed
    return (yield from _whole(labels, foreground, agreement, middles, how.foreground_thresh))


def _best(
    own: NDArray[np.float32], boxes: NDArray[np.float32]
) -> Generator[None, None, tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """For each cell the object whose box is most like its own, and their IoU."""
    tree, nearest = cKDTree(boxes), min(_NEAREST, len(boxes))
    which, agreed = np.empty(len(own), np.intp), np.empty(len(own), np.float32)
    for start in range(0, len(own), _CHUNK):
        part = slice(start, start + _CHUNK)
        # A fast preselection: boxes with similar corners have a high IoU.
        _, index = tree.query(own[part], k=nearest)
        index = index.reshape(-1, nearest)
        agreement = box_iou(own[part, None], boxes[index])
        best = agreement.argmax(axis=1)[:, None]
        which[part] = np.take_along_axis(index, best, 1)[:, 0]
        agreed[part] = np.take_along_axis(agreement, best, 1)[:, 0]
        yield
    return which, agreed


def _smoothed(maps: SolidMaps) -> SolidMaps:
    """Average maps over neighbours, reaches by how much the cell is in an object."""

    def blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(values, _SMOOTH), np.float32)

    weight = sigmoid(maps.foreground) + LEAST_WEIGHT
    total = blur(weight)
    low, high = (
        np.stack([blur(part * weight) / total for part in reach]) for reach in (maps.low, maps.high)
    )
    return SolidMaps(blur(maps.foreground), low, high)


def _at(fields: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values of fields (k, z, y, x) at places (n, 3): (n, k)."""
    return np.stack(
        [ndimage.map_coordinates(part, places.T, order=1, mode="nearest") for part in fields], 1
    )


def _ends(maps: SolidMaps, cells: NDArray[np.intp]) -> Generator[None, None, NDArray[np.float32]]:
    """Where cells arrive."""
    shift = (maps.high - maps.low) * np.float32(0.5)
    last = np.array(maps.foreground.shape, np.float32) - 1
    places = cells.astype(np.float32)
    for _ in range(_STEPS):
        places = np.clip(places + np.float32(_STEP) * _at(shift, places), 0, last)
        yield
    return places


def _proposals(
    shape: tuple[int, ...],
    ends: NDArray[np.float32],
    own: NDArray[np.float32],
    thresh: float,
) -> NDArray[np.float32]:
    """Boxes of objects, one for each place where many cells arrive."""
    size = float(np.median(np.cbrt(box_volume(own))))
    arrived = np.zeros(shape, np.float32)
    np.add.at(arrived, tuple(np.rint(ends).astype(np.intp).T), 1)
    arrived = ndimage.gaussian_filter(arrived, max(_APART * size, 0.7))
    window = max(3, 2 * int(_APART * size) + 1)
    peaks = np.argwhere((arrived == ndimage.maximum_filter(arrived, window)) & (arrived > 1e-3))
    _, nearest = cKDTree(peaks).query(ends)
    votes = np.bincount(nearest, minlength=len(peaks))
    sums = [np.bincount(nearest, side, minlength=len(peaks)) for side in own.T]
    boxes = (np.stack(sums, 1) / np.maximum(votes, 1)[:, None]).astype(np.float32)
    enough = (votes >= _LEAST_CELLS) & (votes >= _LEAST_SHARE * box_volume(boxes))
    boxes, votes = boxes[enough], votes[enough]
    kept: list[int] = []
    for number in np.argsort(-votes, kind="stable").tolist():
        if not kept or box_iou(boxes[kept], boxes[number]).max() <= thresh:
            kept.append(number)
    return boxes[kept]


def _whole(
    labels: NDArray[np.int32],
    foreground: NDArray[np.float32],
    agreement: NDArray[np.float32],
    middles: NDArray[np.float32],
    thresh: float,
) -> Generator[None, None, SolidObjects]:
    """End each object, keep its largest connected part, fill its holes, and renumber."""
    out = np.zeros_like(labels)
    scores, levels, kept = [], [], []
    for number, where in enumerate(ndimage.find_objects(labels)):
        if where is None:
            continue
        if number % _OBJECTS == 0:
            yield
        mask = labels[where] == number + 1
        core = float(np.quantile(foreground[where][mask], _CORE))
        level = _EDGE * thresh * core
        mask &= foreground[where] > level
        parts, count = ndimage.label(mask)
        if count > 1:
            mask = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
        if mask.sum() < _LEAST_CELLS:
            continue
        scores.append(core * float(agreement[where][mask].mean()))
        levels.append(level)
        kept.append(number)
        out[where][ndimage.binary_fill_holes(mask) & (out[where] == 0)] = len(kept)
    return SolidObjects(
        out, np.array(scores, np.float32), middles[kept], np.array(levels, np.float32), foreground
    )
