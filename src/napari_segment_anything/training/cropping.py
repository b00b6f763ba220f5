"""Random crops of labelled images, for training.

Every crop is a function of seed, step and position in the batch, so a resumed run sees the same
data as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ParameterError
from .crops import Crops, TrainingCrop
from .data import LabelledImage
from .geometry import Geometry
from .paste import paste_objects
from .seen import ASSUMED, SEEN


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut.

    Parameters
    ----------
    size : int
        Side of the crop in frame pixels, a multiple of 16.
    near : float
        Share of crops at the scale at which the whole image would fill the frame, up to a factor
        of 1.25. The others are drawn from `wide`.
    wide : tuple of float
        Smallest and largest factor relative to that scale.
    object_sizes : tuple of float
        The scale is limited so that the typical object of the image measures between these numbers
        of pixels, for a frame of 512; proportional for other frames.
    stretch_sides : float
        Standard deviation of the logarithm of the aspect ratio.
    by_object : float
        Share of the crops around objects that pick an object, those that touch another one three
        times as often; the others pick a foreground pixel, so large objects more often.
    paste : float
        Share of the crops into which further objects of the same image are pasted.
    """

    size: int = 256
    near: float = 0.5
    wide: tuple[float, float] = (0.45, 2.2)
    object_sizes: tuple[float, float] = (6.0, 170.0)
    stretch_sides: float = 0.08
    by_object: float = 0.0
    paste: float = 0.0

    def __post_init__(self) -> None:
        for name in ("near", "by_object", "paste"):
            if not 0 <= getattr(self, name) <= 1:
                raise ParameterError(f"crop.{name} lies between 0 and 1, not {getattr(self, name)}")
        if not 0 <= self.stretch_sides <= 2:
            raise ParameterError(
                f"crop.stretch_sides lies between 0 and 2, not {self.stretch_sides}"
            )
        for name in ("wide", "object_sizes"):
            least, largest = getattr(self, name)
            if not 0 < least <= largest < 1e6:
                raise ParameterError(
                    f"crop.{name} is [least, largest], both above 0; not [{least}, {largest}]"
                )


class CropSampler:
    """Random crops of labelled images, balanced between groups.

    Parameters
    ----------
    images : sequence of LabelledImage
        Images to draw from.
    weights : mapping of str to float
        Relative weight of each set; sets without one are left out.
    seed : int
        Seed of all random numbers.
    geometry : Geometry, optional
        Frame and stride of the network.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        weights: dict[str, float],
        seed: int,
        geometry: Geometry | None = None,
    ) -> None:
        self.seed = seed
        self.geometry = geometry or Geometry()
        self.groups: dict[str, list[LabelledImage]] = {}
        for image in images:
            if weights.get(image.group, 0) > 0:
                self.groups.setdefault(image.group, []).append(image)
        if not self.groups:
            raise ParameterError("no images to train on: every set is empty or has weight 0")
        self.names = sorted(self.groups)
        share = np.array([weights[name] for name in self.names], float)
        self.share = share / share.sum()

    @property
    def unseen(self) -> bool:
        """Whether some image is not labelled completely."""
        return any(image.seen is not None for group in self.groups.values() for image in group)

    def changed(self, change: Callable[[list[LabelledImage]], list[LabelledImage]]) -> CropSampler:
        """The same sampler of other images, which `change` makes of all these."""
        images = change([image for name in self.names for image in self.groups[name]])
        weights = dict(zip(self.names, self.share.tolist(), strict=True))
        return CropSampler(images, weights, self.seed, self.geometry)

    def batch(self, step: int, count: int, config: CropConfig) -> Crops:
        """The batch of one step.

        Parameters
        ----------
        step : int
        count : int
            Number of crops.
        config : CropConfig
            How they are cut.
        """
        rngs = [np.random.default_rng((self.seed, step, i)) for i in range(count)]
        return stacked([self._crop(rng, config) for rng in rngs], self.geometry)

    def _crop(self, rng: np.random.Generator, config: CropConfig) -> TrainingCrop:
        source = self._draw(rng)
        crop = cut(source, rng, config, self.geometry)
        if config.paste and rng.random() < config.paste:
            crop = paste_objects(crop, cut(source, rng, config, self.geometry), rng)
        return crop

    def fixed_keys(self, step: int, count: int, views: int) -> list[tuple[str, int, int]]:
        """Set, image and number of the fixed crop at each position of a step's batch.

        Parameters
        ----------
        step : int
        count : int
            Size of the batch.
        views : int
            Fixed crops of each image.
        """
        drawn = []
        for i in range(count):
            rng = np.random.default_rng((self.seed, step, i))
            name = self._group(rng)
            drawn.append(
                (name, int(rng.integers(len(self.groups[name]))), int(rng.integers(views)))
            )
        return drawn

    def fixed(self, key: tuple[str, int, int], config: CropConfig) -> Crops:
        """One fixed crop of an image, as a batch of one.

        Parameters
        ----------
        key : (str, int, int)
            From `fixed_keys`.
        config : CropConfig
            How it is cut.
        """
        name, image, view = key
        rng = np.random.default_rng((self.seed, 5, self.names.index(name), image, view))
        source = self.groups[name][image]
        return stacked([cut(source, rng, config, self.geometry)], self.geometry)

    def _group(self, rng: np.random.Generator) -> str:
        return self.names[rng.choice(len(self.names), p=self.share)]

    def _draw(self, rng: np.random.Generator) -> LabelledImage:
        group = self.groups[self._group(rng)]
        return group[rng.integers(len(group))]


def stacked(crops: Sequence[TrainingCrop], geometry: Geometry) -> Crops:
    """Make a batch of crops.

    Parameters
    ----------
    crops : sequence of TrainingCrop
        Of equal size.
    geometry : Geometry
        Frame and stride of the network.
    """
    joined = (torch.stack(part) for part in zip(*crops, strict=True))
    image, valid, labels, interior, wholes, seen = joined
    return Crops(image, valid, labels, interior, wholes, seen, geometry.stride)


def cut(
    source: LabelledImage,
    rng: np.random.Generator,
    config: CropConfig,
    geometry: Geometry | None = None,
) -> TrainingCrop:
    """Cut a random crop from an image.

    Parameters
    ----------
    source : LabelledImage
    rng : Generator
        Source of randomness.
    config : CropConfig
        How it is cut.
    geometry : Geometry, optional
        Frame and stride of the network.
    """
    geometry = geometry or Geometry()
    stride = geometry.stride
    height, width = source.labels.shape
    scale = geometry.frame / max(height, width)
    if rng.random() < config.near:
        scale *= np.exp(rng.uniform(-0.22, 0.22))
    else:
        scale *= np.exp(rng.uniform(*np.log(config.wide)))
    if source.typical_size:
        unit = geometry.frame / 512 / source.typical_size
        low, high = (limit * unit for limit in config.object_sizes)
        scale = float(np.clip(scale, low, high))
    aspect = np.exp(rng.normal(0, config.stretch_sides))
    side_r, side_c = config.size / (scale * aspect), config.size * aspect / scale
    rows = max(min(round(side_r), height), 8)
    cols = max(min(round(side_c), width), 8)
    rows, cols = min(rows, height), min(cols, width)
    first_r, first_c = _place(source, rng, rows, cols, config.by_object)
    window = (slice(first_r, first_r + rows), slice(first_c, first_c + cols))
    new_r = _whole(min(config.size, rows * config.size / side_r), stride)
    new_c = _whole(min(config.size, cols * config.size / side_c), stride)
    turn, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def turned(x: Tensor) -> Tensor:
        x = torch.rot90(x, turn, (-2, -1))
        return x.flip(-1) if mirror else x

    image = torch.from_numpy(source.image[window]).permute(2, 0, 1)[None]
    image = F.interpolate(image, (new_r, new_c), mode="bilinear", antialias=True)[0]
    image = turned(image).expand(3, -1, -1)
    pad = (0, config.size - image.shape[2], 0, config.size - image.shape[1])
    valid = F.pad(torch.ones(1, *image.shape[1:], dtype=torch.bool), pad)
    wholes = source.wholes
    if wholes is not None and wholes.ndim == 3:
        wholes = wholes[rng.integers(len(wholes))]
    grids: list[NDArray[Any] | None] = [source.labels, source.interior, wholes, source.seen]
    half = (new_r // stride, new_c // stride)
    index_r, index_c = (
        ((torch.arange(count) + 0.5) * (length / count)).long().numpy() + first
        for count, length, first in zip(half, (rows, cols), (first_r, first_c), strict=True)
    )
    pad_half = tuple(p // stride for p in pad)
    small = []
    kinds = (torch.int64, torch.uint8, torch.int64, torch.uint8)
    for grid, kind in zip(grids, kinds, strict=True):
        if grid is None:
            side = config.size // stride
            small.append(torch.zeros(side, side, dtype=kind))
            continue
        sampled = torch.from_numpy(grid[index_r[:, None], index_c]).to(kind)
        small.append(F.pad(turned(sampled), pad_half))
    labels, interior, around, seen = small
    if source.seen is None:
        seen = torch.full_like(seen, SEEN)
    return TrainingCrop(F.pad(image, pad).contiguous(), valid, labels, interior, around, seen)


def _place(
    source: LabelledImage, rng: np.random.Generator, rows: int, cols: int, by_object: float
) -> tuple[int, int]:
    """Upper left corner of a window; three in four contain a random object or foreground pixel.

    Of an image that is not seen everywhere, all windows contain a random object or a seen pixel.
    """
    height, width = source.labels.shape
    first_r = int(rng.integers(height - rows + 1))
    first_c = int(rng.integers(width - cols + 1))

    def around(r: int, c: int) -> tuple[int, int]:
        return (
            int(np.clip(r - rng.integers(rows), 0, height - rows)),
            int(np.clip(c - rng.integers(cols), 0, width - cols)),
        )

    if source.seen is not None:
        return around(*_seen_place(source.seen, source.anchors, rng))
    if rng.random() < 0.75 and source.typical_size:
        if by_object and rng.random() < by_object:
            share = 1.0 + 2.0 * source.anchors[:, 2]
            r, c, _ = source.anchors[rng.choice(len(share), p=share / share.sum())]
            return around(r, c)
        for _ in range(12):
            r, c = int(rng.integers(height)), int(rng.integers(width))
            if source.labels[r, c]:
                return around(r, c)
    return first_r, first_c


def _seen_place(
    seen: NDArray[np.uint8], anchors: NDArray[np.int32], rng: np.random.Generator
) -> tuple[int, int]:
    """Row and column of a random confirmed object, or of a random pixel that has a label."""
    assumed = bool((seen == ASSUMED).any())
    if len(anchors) and rng.random() < (0.5 if assumed else 0.75):
        r, c, _ = anchors[rng.integers(len(anchors))]
        return int(r), int(c)
    where = np.flatnonzero(seen >= SEEN)
    place = int(where[rng.integers(len(where))]) if len(where) else 0
    return divmod(place, seen.shape[1])


def _whole(length: float, stride: int) -> int:
    return max(round(length / stride) * stride, stride * 4)
