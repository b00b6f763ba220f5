"""Targets of the dense head, and the instances decoded from its maps.

The meaning of the channels is written down in `network.micro`. Decoding takes peaks of the
interior map as candidate objects, each with the box predicted at it; suppresses candidates whose
boxes overlap too much; and gives every foreground cell to the candidate whose box agrees best
with the box that the cell itself predicts. Nothing in it depends on the objects' size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

STRIDE = 2


@dataclass(frozen=True, slots=True)
class DenseTargets:
    """What the dense head should say about a batch of label maps.

    Parameters
    ----------
    foreground : Tensor
        (batch, h, w) float32, 1 in objects.
    interior : Tensor
        (batch, h, w) float32, distance to the edge over its maximum in the object.
    box : Tensor
        (batch, 4, h, w) float32, distances to the top, left, bottom and right side of the
        object's visible box in frame pixels; 0 in the background.
    weight : Tensor
        (batch, h, w) float32, weight of a cell in losses over objects: falls with the square
        root of the object's area, so that large objects do not drown small ones.
    """

    foreground: Tensor
    interior: Tensor
    box: Tensor
    weight: Tensor


def encode_dense(labels: Tensor, interior: Tensor, stride: int = STRIDE) -> DenseTargets:
    """Dense targets of label maps on the grid of the dense head.

    Parameters
    ----------
    labels : Tensor
        (batch, h, w) int64, 0 background, ids per image.
    interior : Tensor
        (batch, h, w) uint8, 255 times the normalised distance to the object's edge.
    stride : int
        Frame pixels per cell.
    """
    batch, height, width = labels.shape
    device = labels.device
    offset = torch.arange(batch, device=device)[:, None, None] * (int(labels.max()) + 1)
    _, index = torch.unique(labels + offset, return_inverse=True)
    count = int(index.max()) + 1
    flat = index.reshape(-1)
    rows = torch.arange(height, device=device)[None, :, None].expand(batch, height, width)
    cols = torch.arange(width, device=device)[None, None, :].expand(batch, height, width)

    def extreme(values: Tensor, reduce: str) -> Tensor:
        start = torch.zeros(count, dtype=torch.int64, device=device)
        out = start.scatter_reduce(0, flat, values.reshape(-1), reduce, include_self=False)
        return out[index]

    sides = torch.stack(
        [
            rows - extreme(rows, "amin"),
            cols - extreme(cols, "amin"),
            extreme(rows, "amax") - rows,
            extreme(cols, "amax") - cols,
        ],
        dim=1,
    )
    inside = labels > 0
    box = (sides * stride + 0.5 * stride).float() * inside[:, None]
    area = torch.bincount(flat, minlength=count).float()[index]
    return DenseTargets(
        foreground=inside.float(),
        interior=interior.float() / 255 * inside,
        box=box,
        weight=area.rsqrt() * inside,
    )


def interior_map(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Distance to the object's edge over its maximum in the object, times 255.

    Parameters
    ----------
    labels : ndarray
        (h, w) integer, 0 background. Sides on the image's border count as inside.
    """
    inner = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        change = np.diff(labels, axis=axis) != 0
        first = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        last = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        inner[first] |= change
        inner[last] |= change
    inside = labels > 0
    if not inside.any():
        return np.zeros(labels.shape, np.uint8)
    if not inner.any():
        return np.where(inside, 255, 0).astype(np.uint8)
    distance = (ndimage.distance_transform_edt(~inner) + 0.5) * inside
    top = np.zeros(int(labels.max()) + 1)
    np.maximum.at(top, labels.ravel(), distance.ravel())
    top[0] = 1
    return np.round(255 * distance / np.maximum(top, 1e-6)[labels]).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class DenseInstances:
    """Objects read off the dense maps, on the grid of the dense head.

    Parameters
    ----------
    labels : ndarray
        (h, w) int32, 0 background, 1..n.
    scores : ndarray
        (n,) float32 in 0..1.
    boxes : ndarray
        (n, 4) float32, (row_min, col_min, row_max, col_max) in frame pixels, as predicted.
    points : ndarray
        (n, 2) float32, (row, col) in frame pixels: the peak inside the object.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]


def decode_dense(
    maps: NDArray[np.float32],
    *,
    foreground_threshold: float = 0.5,
    peak_threshold: float = 0.4,
    box_nms_threshold: float = 0.35,
    agreement_threshold: float = 0.2,
    min_area: int = 12,
    stride: int = STRIDE,
) -> DenseInstances:
    """Instances from the dense head's maps.

    Parameters
    ----------
    maps : ndarray
        (6, h, w) float32 as in `network.micro`, cut to the valid part of the frame.
    foreground_threshold : float
        Least probability of a cell of an object.
    peak_threshold : float
        Least value of the interior map (times the foreground probability) at a candidate.
    box_nms_threshold : float
        Candidates whose boxes overlap a better one's by more than this IoU are suppressed.
    agreement_threshold : float
        Cells whose own box agrees with no candidate's by at least this IoU stay background.
    min_area : int
        Smaller objects are dropped, in cells.
    stride : int
        Frame pixels per cell.
    """
    foreground = _sigmoid(maps[0])
    score_map = foreground * _sigmoid(maps[1])
    height, width = foreground.shape
    rows = np.arange(height, dtype=np.float32)[:, None] * stride + (stride - 1) / 2
    cols = np.arange(width, dtype=np.float32)[None, :] * stride + (stride - 1) / 2
    sides = np.maximum(maps[2:], 0.5)
    cell_boxes = np.stack(
        [rows - sides[0], cols - sides[1], rows + sides[2], cols + sides[3]], axis=-1
    )
    smooth = ndimage.uniform_filter(score_map, 3)
    peaks = (smooth == ndimage.maximum_filter(smooth, 3)) & (smooth > peak_threshold)
    peak_rc = np.argwhere(peaks)
    empty = DenseInstances(
        np.zeros((height, width), np.int32),
        np.zeros(0, np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((0, 2), np.float32),
    )
    if len(peak_rc) == 0:
        return empty
    order = np.argsort(-smooth[peaks], kind="stable")
    peak_rc = peak_rc[order]
    boxes = np.stack([ndimage.uniform_filter(cell_boxes[..., k], 3)[peaks] for k in range(4)], 1)
    boxes = boxes[order]
    scores = smooth[peaks][order]
    keep = _suppress(boxes, box_nms_threshold)
    boxes, scores, peak_rc = boxes[keep], scores[keep], peak_rc[keep]

    inside = np.argwhere(foreground > foreground_threshold)
    if len(inside) == 0:
        return empty
    own = cell_boxes[inside[:, 0], inside[:, 1]]
    nearest = min(6, len(boxes))
    # corners are compared as 4-vectors: near corners mean a high IoU
    _, index = cKDTree(boxes).query(own, k=nearest)
    index = index.reshape(len(own), nearest)
    agreement = _box_iou(own[:, None], boxes[index])
    best = agreement.argmax(axis=1)
    pick = np.arange(len(own))
    labels = np.zeros((height, width), np.int32)
    labels[inside[:, 0], inside[:, 1]] = np.where(
        agreement[pick, best] >= agreement_threshold, index[pick, best] + 1, 0
    )
    agreed = np.zeros((height, width), np.float32)
    agreed[inside[:, 0], inside[:, 1]] = agreement[pick, best]
    return _clean(labels, foreground, agreed, scores, boxes, peak_rc, min_area, stride)


def _clean(
    labels: NDArray[np.int32],
    foreground: NDArray[np.float32],
    agreed: NDArray[np.float32],
    scores: NDArray[np.float32],
    boxes: NDArray[np.float32],
    peaks: NDArray[np.intp],
    min_area: int,
    stride: int,
) -> DenseInstances:
    """Largest connected part of each label with its holes filled; small ones dropped."""
    out = np.zeros_like(labels)
    kept: list[int] = []
    quality: list[float] = []
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        mask = labels[where] == number
        parts, count = ndimage.label(mask)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            mask = parts == sizes.argmax()
        area = int(mask.sum())
        if area < min_area:
            continue
        filled = ndimage.binary_fill_holes(mask) & (
            (labels[where] == number) | (labels[where] == 0)
        )
        kept.append(number - 1)
        out[where][filled] = len(kept)
        quality.append(float((foreground[where][mask] * agreed[where][mask]).mean()))
    chosen = np.array(kept, dtype=np.intp)
    return DenseInstances(
        labels=out,
        scores=np.array(quality, np.float32),
        boxes=boxes[chosen].astype(np.float32),
        points=(peaks[chosen] * stride + (stride - 1) / 2).astype(np.float32),
    )


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1.0 / (1.0 + np.exp(-np.clip(x, -30, 30)))).astype(np.float32)


def _box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).prod(-1)
    return common / np.maximum(area_a + area_b - common, 1e-6)


def _suppress(boxes: NDArray[np.float32], threshold: float) -> NDArray[np.intp]:
    """Indices that survive greedy suppression; boxes come best first."""
    alive = np.ones(len(boxes), bool)
    keep = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        keep.append(i)
        rest = np.flatnonzero(alive[i + 1 :]) + i + 1
        alive[rest[_box_iou(boxes[i], boxes[rest]) > threshold]] = False
    return np.array(keep, dtype=np.intp)
