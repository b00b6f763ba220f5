"""Targets of the dense head.

`network.micro` defines the channels; `automatic.dense` decodes instances from the predicted maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

STRIDE = 2


@dataclass(frozen=True, slots=True)
class DenseTargets:
    """What the dense head should predict for a batch of label maps.

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
        (batch, h, w) float32, weight of a cell in losses over objects: the inverse square root of
        the object's area, so that large objects do not dominate.
    edges : Tensor
        (batch, 4, h, w) float32, top, left, bottom and right edge of the object's visible box, in
        frame pixels from the first pixel; undefined in the background.
    labels : Tensor
        (batch, h, w) int64, as given.
    """

    foreground: Tensor
    interior: Tensor
    box: Tensor
    weight: Tensor
    edges: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class ObjectExtents:
    """Area and box of every object of a batch of label maps, in cells.

    Parameters
    ----------
    index : Tensor
        (batch, h, w) int64, row of the cell's object (or background) in the other tensors.
    image, label : Tensor
        (n,) int64, index of the map, and label; 0 for the background of each map.
    area : Tensor
        (n,) int64.
    low, high : Tensor
        (n, 2) int64, first row and column, and one past the last.
    """

    index: Tensor
    image: Tensor
    label: Tensor
    area: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, labels: Tensor) -> ObjectExtents:
        """Measure label maps: (batch, h, w) int64, 0 background, ids per map."""
        batch, height, width = labels.shape
        device = labels.device
        step = int(labels.max()) + 1
        offset = torch.arange(batch, device=device)[:, None, None] * step
        found, index = torch.unique(labels + offset, return_inverse=True)
        flat = index.reshape(-1)
        rows = torch.arange(height, device=device)[None, :, None].expand(batch, height, width)
        cols = torch.arange(width, device=device)[None, None, :].expand(batch, height, width)

        def extreme(reduce: str) -> Tensor:
            out = torch.zeros(2, len(found), dtype=torch.int64, device=device)
            for values, line in zip((rows, cols), out, strict=True):
                line.scatter_reduce_(0, flat, values.reshape(-1), reduce, include_self=False)
            return out.T

        area = torch.bincount(flat, minlength=len(found))
        low, high = extreme("amin"), extreme("amax") + 1
        return cls(index, found // step, found % step, area, low, high)


def encode_dense(labels: Tensor, interior: Tensor, stride: int = STRIDE) -> DenseTargets:
    """Compute the targets of label maps on the grid of the dense head.

    Parameters
    ----------
    labels : Tensor
        (batch, h, w) int64, 0 background, ids per image.
    interior : Tensor
        (batch, h, w) uint8, from `interior_map`.
    stride : int
        Frame pixels per cell.
    """
    _, height, width = labels.shape
    extents = ObjectExtents.of(labels)
    around = torch.cat([extents.low, extents.high], 1)[extents.index]
    top, left, bottom, right = around.unbind(-1)
    rows = torch.arange(height, device=labels.device)[None, :, None]
    cols = torch.arange(width, device=labels.device)[None, None, :]
    sides = torch.stack([rows - top, cols - left, bottom - 1 - rows, right - 1 - cols], dim=1)
    inside = labels > 0
    box = (sides * stride + 0.5 * stride).float() * inside[:, None]
    edges = torch.stack([top, left, bottom, right], dim=1).float() * stride - 0.5
    area = extents.area.float()[extents.index]
    return DenseTargets(
        foreground=inside.float(),
        interior=interior.float() / 255 * inside,
        box=box,
        weight=area.rsqrt() * inside,
        edges=edges,
        labels=labels,
    )


def touching(labels: Tensor, reach: int = 2) -> Tensor:
    """Cells of an object within a distance of another object.

    Parameters
    ----------
    labels : Tensor
        (batch, h, w) int64, 0 background.
    reach : int
        Largest distance, in cells.

    Returns
    -------
    Tensor
        (batch, h, w) bool.
    """
    none = int(labels.max()) + 1
    pair = torch.stack([labels, torch.where(labels > 0, -labels, -none)])
    # pooling needs floats; float32 represents the ids of a crop exactly
    highest, lowest = F.max_pool2d(pair.float(), 2 * reach + 1, 1, reach)
    return (labels > 0) & ((highest != labels) | (-lowest != labels))


def interior_map(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Distance to the object's edge, divided by its maximum in the object and scaled to 255.

    Parameters
    ----------
    labels : ndarray
        (h, w) integer, 0 background. The image border is not an edge.

    Returns
    -------
    ndarray
        (h, w) uint8.
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
