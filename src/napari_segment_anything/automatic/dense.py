"""Instances and proposals from the dense maps of an encoder: NumPy in, NumPy out.

Two kinds of maps are understood. The ``"dense"`` head of the embedded default gives every cell
its object's box (`network.micro`); cells that predict the same box belong together. The
``"distances"`` head of instance decoders gives distances to the object's centre and boundary,
from which a seeded watershed makes instances (Archit et al. 2025, methods).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.segmentation import watershed

from ..parameters import EVERYTHING
from .nms import box_nms
from .regions import filled, main_parts, with_holes

STRIDE = 2
_NEAREST = 6


@dataclass(frozen=True, slots=True)
class BoxDecoding:
    """Thresholds for the ``"dense"`` head; see `EVERYTHING` for their meaning."""

    foreground_thresh: float = EVERYTHING["foreground_thresh"].default
    peak_thresh: float = EVERYTHING["peak_thresh"].default
    peak_nms_thresh: float = EVERYTHING["peak_nms_thresh"].default
    agreement_thresh: float = EVERYTHING["agreement_thresh"].default
    merge_thresh: float = EVERYTHING["merge_thresh"].default


@dataclass(frozen=True, slots=True)
class DistanceDecoding:
    """Thresholds for the ``"distances"`` head; see `EVERYTHING` for their meaning."""

    foreground_thresh: float = EVERYTHING["foreground_thresh"].default
    center_distance_thresh: float = EVERYTHING["center_distance_thresh"].default
    boundary_distance_thresh: float = EVERYTHING["boundary_distance_thresh"].default
    foreground_smoothing: float = EVERYTHING["foreground_smoothing"].default
    distance_smoothing: float = EVERYTHING["distance_smoothing"].default


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Objects that the dense head proposes, best first.

    Parameters
    ----------
    points : float32 array (n, 2)
        (row, col) in frame pixels, well inside the object.
    boxes : float32 array (n, 4)
        (row_min, col_min, row_max, col_max) in frame pixels, as predicted.
    scores : float32 array (n,)
        0 to 1.
    """

    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class DenseInstances:
    """Objects found in dense maps, on their grid.

    Parameters
    ----------
    labels : int32 array (h, w)
        0 background, 1 to n.
    scores : float32 array (n,)
        0 to 1: how well the cells of the object agree.
    boxes : float32 array (n, 4)
        (row_min, col_min, row_max, col_max) in frame pixels.
    points : float32 array (n, 2)
        (row, col) in frame pixels, well inside the object.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logistic function, float32."""
    out: NDArray[np.float32] = 1 / (1 + np.exp(-np.clip(x, -30, 30), dtype=np.float32))
    return out


def find_proposals(
    maps: NDArray[np.float32], how: BoxDecoding | None = None, *, stride: int = STRIDE
) -> Proposals:
    """Find the peaks of the interior map, each with the box predicted there.

    Of peaks with similar boxes, the best is kept.

    Parameters
    ----------
    maps : float32 array (6, h, w)
        The ``"dense"`` head (`network.micro`), without the padding of the frame.
    how : BoxDecoding, optional
        Only `peak_thresh` and `peak_nms_thresh` are used.
    stride : int
        Frame pixels per cell.
    """
    how = how or BoxDecoding()
    score = ndimage.uniform_filter(sigmoid(maps[0]) * sigmoid(maps[1]), 3)
    peak = (score == ndimage.maximum_filter(score, 3)) & (score > how.peak_thresh)
    cells = np.argwhere(peak)
    smooth = np.stack([ndimage.uniform_filter(m, 3)[peak] for m in maps[2:6]], axis=1)
    points = (cells * stride + (stride - 1) / 2).astype(np.float32)
    boxes = boxes_around(points, smooth)
    keep = box_nms(boxes, score[peak], how.peak_nms_thresh)
    return Proposals(points[keep], boxes[keep], score[peak][keep])


def decode_dense(
    maps: NDArray[np.float32],
    how: BoxDecoding | None = None,
    *,
    min_cells: int = 1,
    stride: int = STRIDE,
) -> DenseInstances:
    """Find instances by grouping cells that predict the same box.

    Every foreground cell is assigned to the proposal whose box is most similar to the box predicted
    at the cell. Neighbours without a valley of the interior map between them are merged. The
    largest connected part of each group, with its holes filled, is an instance. Nothing here
    depends on the size of objects.

    Parameters
    ----------
    maps : float32 array (6, h, w)
        The ``"dense"`` head (`network.micro`), without the padding of the frame.
    how : BoxDecoding, optional
        Thresholds; by default those of the table.
    min_cells : int
        Smaller instances are dropped.
    stride : int
        Frame pixels per cell.

    Returns
    -------
    DenseInstances
        The score of an instance is the mean over its cells of the foreground probability times
        the IoU of the cell's box with the instance's.
    """
    how = how or BoxDecoding()
    proposals = find_proposals(maps, how, stride=stride)
    foreground = sigmoid(maps[0])
    cells = np.argwhere(foreground > how.foreground_thresh)
    labels = np.zeros(foreground.shape, np.int32)
    quality = np.zeros(foreground.shape, np.float32)
    if len(proposals) and len(cells):
        at = (cells[:, 0], cells[:, 1])
        points = (cells * stride + (stride - 1) / 2).astype(np.float32)
        own = boxes_around(points, maps[2:6, at[0], at[1]].T)
        nearest = min(_NEAREST, len(proposals))
        # A fast preselection: boxes with similar corners have a high IoU.
        _, index = cKDTree(proposals.boxes).query(own, k=nearest)
        index = index.reshape(len(own), nearest)
        agreement = box_iou(own[:, None], proposals.boxes[index])
        best = agreement.argmax(axis=1)
        every = np.arange(len(own))
        agreed = agreement[every, best]
        labels[at] = np.where(agreed >= how.agreement_thresh, index[every, best] + 1, 0)
        quality[at] = foreground[at] * agreed
    boxes, points = proposals.boxes, proposals.points
    if how.merge_thresh < 1 and len(proposals) > 1:
        interior = ndimage.uniform_filter(sigmoid(maps[1]), 3)
        root = _without_valley(labels, interior, how.merge_thresh)
        boxes, points = _joined(root, boxes, points, proposals.scores)
        labels = np.append(0, root + 1).astype(np.int32)[labels]
    labels, scores, kept = _largest_parts(labels, quality, min_cells)
    return DenseInstances(labels, scores, boxes[kept], points[kept])


def decode_distances(
    maps: NDArray[np.float32],
    how: DistanceDecoding | None = None,
    *,
    min_cells: int = 1,
    stride: int = 1,
) -> DenseInstances:
    """Find instances by watershed on boundary distances, from seeds near centres.

    Parameters
    ----------
    maps : float32 array (3, h, w)
        Foreground probability; distance to the object's centre, 0 there to 1 far away; distance
        to its boundary, 1 there to 0 well inside. Without the padding of the frame.
    how : DistanceDecoding, optional
        Thresholds, and standard deviations in cells; by default those of the table. A connected
        region below both distances is a seed.
    min_cells : int
        Smaller instances are dropped.
    stride : int
        Frame pixels per cell.

    Returns
    -------
    DenseInstances
        The score of an instance is its mean foreground probability.
    """
    how = how or DistanceDecoding()
    foreground = ndimage.gaussian_filter(maps[0], how.foreground_smoothing)
    center = ndimage.gaussian_filter(maps[1], how.distance_smoothing)
    boundary = ndimage.gaussian_filter(maps[2], how.distance_smoothing)
    inside = foreground > how.foreground_thresh
    near = (center < how.center_distance_thresh) & (boundary < how.boundary_distance_thresh)
    seed = inside & near
    seeds, count = ndimage.label(seed, np.ones((3, 3)))
    labels = watershed(boundary, seeds, mask=inside).astype(np.int32)
    labels, scores, kept = _largest_parts(labels, foreground, min_cells)
    points = np.zeros((count, 2), np.float32)
    boxes = np.zeros((len(kept), 4), np.float32)
    for number, where in enumerate(ndimage.find_objects(seeds)):
        if where is None:
            continue
        centre = np.where(seeds[where] == number + 1, center[where], np.inf)
        row, col = np.unravel_index(np.argmin(centre), centre.shape)
        points[number] = (where[0].start + row, where[1].start + col)
    for number, where in enumerate(ndimage.find_objects(labels)):
        boxes[number] = [where[0].start, where[1].start, where[0].stop - 1, where[1].stop - 1]
    step, shift = np.float32(stride), np.float32((stride - 1) / 2)
    return DenseInstances(labels, scores, boxes * step + shift, points[kept] * step + shift)


def _without_valley(
    labels: NDArray[np.int32], interior: NDArray[np.float32], threshold: float
) -> NDArray[np.intp]:
    """For each label 1 to n (as 0 to n - 1) the label it is merged into, possibly itself."""
    count = int(labels.max())
    root = np.arange(count)
    if count < 2:
        return root
    peak = ndimage.maximum(interior, labels, np.arange(1, count + 1))
    pairs, heights = [], []
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        a, b = labels[first], labels[second]
        border = (a != b) & (a > 0) & (b > 0)
        ends = np.sort(np.stack([a[border], b[border]], axis=1), axis=1) - 1
        pairs.append(ends.astype(np.int64))
        heights.append(np.minimum(interior[first][border], interior[second][border]))
    ends, height = np.concatenate(pairs), np.concatenate(heights)
    key, inverse = np.unique(ends[:, 0] * count + ends[:, 1], return_inverse=True)
    saddle = np.zeros(len(key), np.float32)
    np.maximum.at(saddle, inverse.ravel(), height)
    low, high = np.divmod(key, count)
    flat = saddle >= threshold * np.minimum(peak[low], peak[high])
    if flat.any():
        graph = coo_matrix((np.ones(flat.sum()), (low[flat], high[flat])), (count, count))
        _, part = connected_components(graph, directed=False)
        _, first_of = np.unique(part, return_index=True)
        root = first_of[part]
    return root


def _joined(
    root: NDArray[np.intp],
    boxes: NDArray[np.float32],
    points: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bounding box of each merged group, and the point of its best member."""
    boxes, points = boxes.copy(), points.copy()
    best = np.zeros(len(root), np.float32)
    for index in np.flatnonzero(np.bincount(root, minlength=len(root))[root] > 1):
        target = root[index]
        boxes[target, :2] = np.minimum(boxes[target, :2], boxes[index, :2])
        boxes[target, 2:] = np.maximum(boxes[target, 2:], boxes[index, 2:])
    originals = points.copy()
    for index in np.arange(len(root)):
        if scores[index] > best[root[index]]:
            best[root[index]] = scores[index]
            points[root[index]] = originals[index]
    return boxes, points


def boxes_around(points: NDArray[np.float32], sides: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the boxes predicted at points.

    Parameters
    ----------
    points : float32 array (n, d)
    sides : float32 array (n, 2 d)
        How far the object reaches from there: towards 0 along each axis, then away from it.

    Returns
    -------
    float32 array (n, 2 d)
        The low corner, then the high one.
    """
    reach, axes = np.maximum(sides, 0.5), points.shape[1]
    low, high = points - reach[:, :axes], points + reach[:, axes:]
    out: NDArray[np.float32] = np.concatenate([low, high], 1)
    return out


def box_volume(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the area, or volume, of boxes (..., 2 d)."""
    axes = boxes.shape[-1] // 2
    return _along_axes(boxes[..., axis + axes] - boxes[..., axis] for axis in range(axes))


def box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU of boxes, pair by pair.

    Parameters
    ----------
    a, b : float32 array (..., 2 d)
        Of shapes that broadcast.
    """
    axes = a.shape[-1] // 2
    shared = _along_axes(
        np.maximum(np.minimum(a[..., high], b[..., high]) - np.maximum(a[..., low], b[..., low]), 0)
        for low, high in zip(range(axes), range(axes, 2 * axes), strict=True)
    )
    out: NDArray[np.float32] = shared / (box_volume(a) + box_volume(b) - shared)
    return out


def _along_axes(sides: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the product of arrays; `ndarray.prod` along two or three values is far slower."""
    return reduce(np.multiply, sides)


def _largest_parts(
    labels: NDArray[np.int32], quality: NDArray[np.float32], min_cells: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.intp]]:
    """Keep each label's largest connected part, fill its holes, and renumber.

    Returns the labels, the mean quality of each, and which old label (from 0) each was.
    """
    main = main_parts(labels)
    count = int(labels.max(initial=0))
    area = np.bincount(main.ravel(), minlength=count + 1)[1:]
    kept = np.flatnonzero(area >= max(min_cells, 1))
    number = np.zeros(count + 1, np.int32)
    number[1 + kept] = np.arange(1, len(kept) + 1)
    out = number[main]
    total = np.bincount(main.ravel(), quality.ravel(), minlength=count + 1)[1:]
    scores = (total[kept] / area[kept]).astype(np.float32)
    places = ndimage.find_objects(main)
    for holed in with_holes(main).tolist():
        if number[holed]:
            where = places[holed - 1]
            own = (labels[where] == holed) | (labels[where] == 0)
            out[where][filled(main, holed, where, own)] = number[holed]
    return out, scores, kept
