"""Copy-paste augmentation: objects of one crop are pasted next to those of another crop.

Everything mode misses mostly touching and overlapping objects, which are rare in most images.
Pasting makes more of them (Ghiasi et al. 2021, arXiv:2012.07177).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .crops import TrainingCrop
from .dense import interior_map
from .seen import SEEN

_TRIES = 8
_MOST_LOST = 0.15  # largest share of an object that may be covered


def paste_objects(
    onto: TrainingCrop, source: TrainingCrop, rng: np.random.Generator, most: int = 8
) -> TrainingCrop:
    """Paste whole objects of `source` so that they touch objects of `onto`.

    Parameters
    ----------
    onto, source : TrainingCrop
        Crops of the same image, of one size.
    rng : Generator
        Source of randomness.
    most : int
        Largest number of objects to paste.

    Returns
    -------
    TrainingCrop
        `onto` with the objects; unchanged if it has labels of wholes, or nothing fits.
    """
    if bool(onto.wholes.any()) or not bool(onto.labels.any()):
        return onto
    labels, image = onto.labels.numpy().copy(), onto.image.float()
    stride = image.shape[-1] // labels.shape[-1]
    # nothing is pasted onto what nobody has looked at, so its surroundings are known as well
    room = (onto.valid[0, ::stride, ::stride] & (onto.seen == SEEN)).numpy()
    other = source.labels.numpy()
    changed: set[int] = set()
    number = int(labels.max())
    for identity in rng.permutation(_whole_objects(other))[: int(rng.integers(2, most + 1))]:
        where = np.argwhere(other == identity)
        low, high = where.min(0), where.max(0) + 1
        mask = other[low[0] : high[0], low[1] : high[1]] == identity
        corner = _place(labels, room, mask, rng)
        if corner is None:
            continue
        number += 1
        window = tuple(slice(c, c + n) for c, n in zip(corner, mask.shape, strict=True))
        changed |= {number, *np.unique(labels[window][mask]).tolist()}
        labels[window][mask] = number
        image = _blended(image, source.image, mask, corner, low, stride)
    changed.discard(0)
    if not changed:
        return onto
    changes = torch.from_numpy(np.isin(labels, list(changed)))
    interior = torch.from_numpy(interior_map(labels))
    return onto._replace(
        image=image.round().to(torch.uint8),
        labels=torch.from_numpy(labels),
        interior=torch.where(changes, interior, onto.interior),
    )


def _whole_objects(labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """Objects that are not cut by the crop's border, neither tiny nor very large."""
    areas = np.bincount(labels.ravel())
    cut = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    areas[np.unique(cut)] = 0
    areas[0] = 0
    return np.flatnonzero((areas >= 6) & (areas <= labels.size // 8))


def _place(
    labels: NDArray[np.int64],
    room: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """First row and column at which an object touches another one, or None."""
    height, width = mask.shape
    there = np.argwhere(labels > 0)
    areas = np.bincount(labels.ravel())
    for _ in range(_TRIES):
        row, col = there[rng.integers(len(there))]
        row += int(rng.integers(-height, 1))
        col += int(rng.integers(-width, 1))
        bottom, right = row + height, col + width
        if row < 0 or col < 0 or bottom > labels.shape[0] or right > labels.shape[1]:
            continue
        if not room[row:bottom, col:right].all():
            continue
        under = labels[row:bottom, col:right][mask]
        lost = np.bincount(under, minlength=len(areas))
        lost[0] = 0
        if lost.sum() > _MOST_LOST * mask.sum() or (lost > _MOST_LOST * areas).any():
            continue
        around = labels[max(row - 1, 0) : bottom + 1, max(col - 1, 0) : right + 1]
        if around.any():
            return int(row), int(col)
    return None


def _blended(
    image: Tensor,
    source: Tensor,
    mask: NDArray[np.bool_],
    corner: tuple[int, int],
    low: NDArray[np.intp],
    stride: int,
) -> Tensor:
    """Copy an object's pixels into the image, blending one pixel along its outline."""
    alpha = torch.from_numpy(mask).float().repeat_interleave(stride, 0).repeat_interleave(stride, 1)
    alpha = F.avg_pool2d(alpha[None, None], 3, 1, 1)[0, 0]
    to = tuple(slice(c * stride, (c + n) * stride) for c, n in zip(corner, mask.shape, strict=True))
    at = tuple(slice(c * stride, (c + n) * stride) for c, n in zip(low, mask.shape, strict=True))
    image[:, to[0], to[1]] += alpha * (source[:, at[0], at[1]].float() - image[:, to[0], to[1]])
    return image
