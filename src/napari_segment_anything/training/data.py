"""Labelled images for training: reading, the fixed split, and random crops of them.

Every crop is a pure function of (seed, step, position in the batch), so a run that is killed and
resumed sees the same data as one that is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .dense import STRIDE, interior_map

FRAME = 512


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with its objects, prepared for cropping.

    Parameters
    ----------
    name : str
        Unique name, ``"set/file"`` (and the plane, for planes of a stack).
    group : str
        The set that it is balanced with.
    image : ndarray
        (h, w, 1 or 3) uint8, contrast already stretched (see `stretch`).
    labels : ndarray
        (h, w) int32, 0 background.
    interior : ndarray
        (h, w) uint8, see `dense.interior_map`.
    wholes : ndarray or None
        (h, w) int32, labels of larger wholes that contain the objects, where known.
    typical_size : float
        Median square root of the objects' area, pixels; 0 without objects.
    """

    name: str
    group: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    interior: NDArray[np.uint8] = field(repr=False)
    wholes: NDArray[np.int32] | None
    typical_size: float


def stretch(image: NDArray) -> NDArray[np.uint8]:
    """RGB or gray image to uint8 as inference does (`engine.image`).

    uint8 RGB is taken as is; everything else is stretched from its 0.1 to its 99.9 percentile.

    Parameters
    ----------
    image : ndarray
        (h, w) or (h, w, 3), any number type.

    Returns
    -------
    ndarray
        (h, w, 1 or 3) uint8.
    """
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return np.ascontiguousarray(image)
    low, high = np.nanpercentile(image, (0.1, 99.9))
    scaled = (image.astype(np.float32) - low) * (255.0 / max(float(high - low), 1e-12))
    return np.clip(np.round(np.nan_to_num(scaled)), 0, 255).astype(np.uint8)


def labelled_image(
    name: str,
    group: str,
    image: NDArray,
    labels: NDArray,
    wholes: NDArray | None = None,
) -> LabelledImage:
    """Prepare an image and its labels, both on the same (h, w) grid, for training."""
    if image.shape[:2] != labels.shape:
        raise ValueError(f"{name}: image {image.shape} and labels {labels.shape} differ in size")
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    return LabelledImage(
        name=name,
        group=group,
        image=stretch(image),
        labels=labels,
        interior=interior_map(labels),
        wholes=None if wholes is None else np.ascontiguousarray(wholes, dtype=np.int32),
        typical_size=float(np.sqrt(np.median(areas))) if len(areas) else 0.0,
    )


def validation_rank(key: str) -> float:
    """A number in 0..1 that decides the side of the split: the hash of the file's name."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def file_hash(path: Path) -> str:
    """First 16 hexadecimal digits of the file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut.

    Parameters
    ----------
    size : int
        Side of the crop in frame pixels, a multiple of 16.
    near : float
        Share of crops at the scale at which the whole image would fill the frame, up to
        a factor 1.25; the others go `wide`.
    wide : tuple of float
        Least and largest factor on that scale for the others.
    object_sizes : tuple of float
        The scale is bounded so that the image's typical object stays within these frame pixels.
    stretch_sides : float
        Standard deviation of the logarithm of the aspect ratio.
    """

    size: int = 256
    near: float = 0.5
    wide: tuple[float, float] = (0.45, 2.2)
    object_sizes: tuple[float, float] = (6.0, 170.0)
    stretch_sides: float = 0.08


@dataclass(frozen=True, slots=True)
class Crops:
    """A batch of crops.

    Parameters
    ----------
    images : Tensor
        (batch, 3, S, S) float32 in 0..255.
    valid : Tensor
        (batch, 1, S, S) bool, False in the padding at the bottom and the right.
    labels : Tensor
        (batch, S/2, S/2) int64 on the grid of the dense head.
    interior : Tensor
        (batch, S/2, S/2) uint8.
    wholes : Tensor
        (batch, S/2, S/2) int64, 0 where unknown.
    """

    images: Tensor
    valid: Tensor
    labels: Tensor
    interior: Tensor
    wholes: Tensor


class CropSampler:
    """Random crops of labelled images, balanced between groups.

    Parameters
    ----------
    images : sequence of LabelledImage
        What to draw from.
    weights : mapping of str to float
        Relative weight of each group; groups without one are left out.
    seed : int
        Seed of everything drawn.
    """

    def __init__(
        self, images: Sequence[LabelledImage], weights: dict[str, float], seed: int
    ) -> None:
        self.seed = seed
        self.groups: dict[str, list[LabelledImage]] = {}
        for image in images:
            if weights.get(image.group, 0) > 0:
                self.groups.setdefault(image.group, []).append(image)
        if not self.groups:
            raise ValueError("no images to train on: every group is empty or has weight 0")
        self.names = sorted(self.groups)
        share = np.array([weights[name] for name in self.names], float)
        self.share = share / share.sum()

    def batch(self, step: int, count: int, config: CropConfig) -> Crops:
        """The batch of one step: `count` crops."""
        crops = [
            self._one(np.random.default_rng((self.seed, step, i)), config) for i in range(count)
        ]
        parts = [torch.stack(part) for part in zip(*crops, strict=True)]
        return Crops(parts[0].float(), parts[1], *parts[2:])

    def _one(self, rng: np.random.Generator, config: CropConfig) -> tuple[Tensor, ...]:
        group = self.groups[self.names[rng.choice(len(self.names), p=self.share)]]
        return cut(group[rng.integers(len(group))], rng, config)


def cut(source: LabelledImage, rng: np.random.Generator, config: CropConfig) -> tuple[Tensor, ...]:
    """One random crop: image uint8, valid, labels, interior, wholes (see `Crops`)."""
    height, width = source.labels.shape
    scale = FRAME / max(height, width)
    if rng.random() < config.near:
        scale *= np.exp(rng.uniform(-0.22, 0.22))
    else:
        scale *= np.exp(rng.uniform(*np.log(config.wide)))
    if source.typical_size:
        low, high = (limit / source.typical_size for limit in config.object_sizes)
        scale = float(np.clip(scale, low, high))
    aspect = np.exp(rng.normal(0, config.stretch_sides))
    side_r, side_c = config.size / (scale * aspect), config.size * aspect / scale
    rows = max(min(round(side_r), height), 8)
    cols = max(min(round(side_c), width), 8)
    rows, cols = min(rows, height), min(cols, width)
    first_r, first_c = _place(source, rng, rows, cols)
    window = (slice(first_r, first_r + rows), slice(first_c, first_c + cols))
    new_r = _even(min(config.size, rows * config.size / side_r))
    new_c = _even(min(config.size, cols * config.size / side_c))
    turn, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def turned(x: Tensor) -> Tensor:
        x = torch.rot90(x, turn, (-2, -1))
        return x.flip(-1) if mirror else x

    image = torch.from_numpy(source.image[window]).permute(2, 0, 1)[None]
    image = F.interpolate(image, (new_r, new_c), mode="bilinear", antialias=True)[0]
    image = turned(image).expand(3, -1, -1)
    pad = (0, config.size - image.shape[2], 0, config.size - image.shape[1])
    valid = F.pad(torch.ones(1, *image.shape[1:], dtype=torch.bool), pad)
    grids = [source.labels, source.interior, source.wholes]
    half = (new_r // STRIDE, new_c // STRIDE)
    index_r = ((torch.arange(half[0]) + 0.5) * (rows / half[0])).long() + first_r
    index_c = ((torch.arange(half[1]) + 0.5) * (cols / half[1])).long() + first_c
    pad_half = tuple(p // STRIDE for p in pad)
    small = []
    for grid, kind in zip(grids, (torch.int64, torch.uint8, torch.int64), strict=True):
        if grid is None:
            small.append(torch.zeros(config.size // STRIDE, config.size // STRIDE, dtype=kind))
            continue
        sampled = torch.from_numpy(grid)[index_r][:, index_c].to(kind)
        small.append(F.pad(turned(sampled), pad_half))
    return (F.pad(image, pad).contiguous(), valid, *small)


def _place(
    source: LabelledImage, rng: np.random.Generator, rows: int, cols: int
) -> tuple[int, int]:
    """Top left corner of a window: three in four contain a random foreground pixel."""
    height, width = source.labels.shape
    first_r = int(rng.integers(height - rows + 1))
    first_c = int(rng.integers(width - cols + 1))
    if rng.random() < 0.75 and source.typical_size:
        for _ in range(12):
            r, c = int(rng.integers(height)), int(rng.integers(width))
            if source.labels[r, c]:
                first_r = int(np.clip(r - rng.integers(rows), 0, height - rows))
                first_c = int(np.clip(c - rng.integers(cols), 0, width - cols))
                break
    return first_r, first_c


def _even(length: float) -> int:
    return max(round(length / STRIDE) * STRIDE, STRIDE * 4)
