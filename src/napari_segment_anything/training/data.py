"""Labelled images for training: reading, the fixed split, and random crops of them.

Every crop is a pure function of (seed, step, position in the batch), so a run that is killed and
resumed sees the same data as one that is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..engine.contrast import resolve_contrast_limits, stretch
from ..engine.image import open_image
from ..errors import FormatError, ParameterError
from .dense import interior_map
from .geometry import Geometry


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
        (h, w, 1 or 3) uint8, contrast already stretched (see `pixels`).
    labels : ndarray
        (h, w) int32, 0 background.
    interior : ndarray
        (h, w) uint8, see `dense.interior_map`.
    wholes : ndarray or None
        (h, w) or (layers, h, w) int32, labels of larger wholes that contain the objects, or
        that overlap them otherwise, where known.
    typical_size : float
        Median square root of the objects' area, pixels; 0 without objects.
    digest : str
        First 16 hexadecimal digits of the SHA-256 of pixels and labels as they were given.
    """

    name: str
    group: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    interior: NDArray[np.uint8] = field(repr=False)
    wholes: NDArray[np.int32] | None
    typical_size: float
    digest: str = ""


def pixels(
    image: NDArray, channel_axis: int | None = None, channels: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """Any image as inference shows it to a network, on whole gray levels.

    Parameters
    ----------
    image : ndarray
        (h, w), (h, w, 3 or 4), or channels at `channel_axis`; any number type.
    channel_axis : int, optional
        Where the channels are.
    channels : sequence of int, optional
        The channels to use.

    Returns
    -------
    ndarray
        (h, w, 1 or 3) uint8.
    """
    source = open_image(image, channel_axis=channel_axis, channels=channels)
    shown = stretch(source.read(0, slice(None), slice(None)), resolve_contrast_limits(source))
    shown = shown[..., None] if shown.ndim == 2 else shown
    return np.ascontiguousarray(np.round(shown).astype(np.uint8))


def labelled_image(
    name: str,
    group: str,
    image: NDArray,
    labels: NDArray,
    wholes: NDArray | None = None,
    *,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
) -> LabelledImage:
    """Prepare an image and its labels, both on the same (h, w) grid, for training.

    Raises
    ------
    FormatError
        If labels are not integers, or image and labels differ in size.
    ImageError
        If the image is not 2-D plus channels.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "uib" or labels.ndim != 2:
        raise FormatError(
            f"{name}: labels are a 2-D array of integers, not {labels.dtype} {labels.shape}"
        )
    shown = pixels(image, channel_axis, channels)
    if shown.shape[:2] != labels.shape:
        raise FormatError(
            f"{name}: the image has {shown.shape[0]} x {shown.shape[1]} pixels, its labels "
            f"{labels.shape[0]} x {labels.shape[1]}; they must lie on the same grid"
        )
    digest = content_hash(np.asarray(image), labels)
    if labels.size and int(labels.max()) > 4 * labels.size:  # ids from a hash, say
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    return LabelledImage(
        name=name,
        group=group,
        image=shown,
        labels=labels,
        interior=interior_map(labels),
        wholes=None if wholes is None else np.ascontiguousarray(wholes, dtype=np.int32),
        typical_size=float(np.sqrt(np.median(areas))) if len(areas) else 0.0,
        digest=digest,
    )


def content_hash(*arrays: NDArray) -> str:
    """First 16 hexadecimal digits of the SHA-256 of arrays, their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


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
        The scale is bounded so that the image's typical object stays within these pixels, for
        a frame of 512; in proportion for others.
    stretch_sides : float
        Standard deviation of the logarithm of the aspect ratio.
    """

    size: int = 256
    near: float = 0.5
    wide: tuple[float, float] = (0.45, 2.2)
    object_sizes: tuple[float, float] = (6.0, 170.0)
    stretch_sides: float = 0.08

    def __post_init__(self) -> None:
        if not 0 <= self.near <= 1 or not 0 <= self.stretch_sides <= 2:
            raise ParameterError(
                f"crop.near lies between 0 and 1, crop.stretch_sides between 0 and 2; not "
                f"{self.near} and {self.stretch_sides}"
            )
        for name in ("wide", "object_sizes"):
            least, largest = getattr(self, name)
            if not 0 < least <= largest < 1e6:
                raise ParameterError(
                    f"crop.{name} is [least, largest], both above 0; not [{least}, {largest}]"
                )


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
        (batch, S/stride, S/stride) int64, on the grid of logits and dense head.
    interior : Tensor
        (batch, S/stride, S/stride) uint8.
    wholes : Tensor
        (batch, S/stride, S/stride) int64, 0 where unknown.
    stride : int
        Pixels a label.
    """

    images: Tensor
    valid: Tensor
    labels: Tensor
    interior: Tensor
    wholes: Tensor
    stride: int

    @property
    def side(self) -> int:
        """S, the side of a crop in pixels."""
        return self.labels.shape[-1] * self.stride

    def to(self, device: torch.device) -> Crops:
        """The same crops on a device."""
        moved = {name: getattr(self, name).to(device) for name in _TENSORS}
        return replace(self, **moved)

    def without_images(self) -> Crops:
        """The same crops without their pixels, once these are encoded."""
        return replace(self, images=self.images.new_empty(len(self.labels), 3, 0, 0))

    @classmethod
    def join(cls, crops: Sequence[Crops]) -> Crops:
        """One batch of several."""
        joined = {name: torch.cat([getattr(each, name) for each in crops]) for name in _TENSORS}
        return cls(**joined, stride=crops[0].stride)


_TENSORS = ("images", "valid", "labels", "interior", "wholes")


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

    def batch(self, step: int, count: int, config: CropConfig) -> Crops:
        """The batch of one step: `count` crops."""
        rngs = [np.random.default_rng((self.seed, step, i)) for i in range(count)]
        return self._crops([cut(self._draw(rng), rng, config, self.geometry) for rng in rngs])

    def drawn_views(self, step: int, count: int, views: int) -> list[tuple[str, int, int]]:
        """Group, image and view of each crop of a step that takes its crops from fixed views."""
        drawn = []
        for i in range(count):
            rng = np.random.default_rng((self.seed, step, i))
            name = self._group(rng)
            drawn.append(
                (name, int(rng.integers(len(self.groups[name]))), int(rng.integers(views)))
            )
        return drawn

    def view(self, key: tuple[str, int, int], config: CropConfig) -> Crops:
        """One of the fixed views of an image, a batch of one: always the same for a key."""
        name, image, view = key
        rng = np.random.default_rng((self.seed, 5, self.names.index(name), image, view))
        return self._crops([cut(self.groups[name][image], rng, config, self.geometry)])

    def _crops(self, crops: list[tuple[Tensor, ...]]) -> Crops:
        images, *rest = (torch.stack(part) for part in zip(*crops, strict=True))
        valid, labels, interior, wholes = rest
        stride = self.geometry.stride
        return Crops(images.float(), valid, labels, interior, wholes, stride)

    def _group(self, rng: np.random.Generator) -> str:
        return self.names[rng.choice(len(self.names), p=self.share)]

    def _draw(self, rng: np.random.Generator) -> LabelledImage:
        group = self.groups[self._group(rng)]
        return group[rng.integers(len(group))]


def cut(
    source: LabelledImage,
    rng: np.random.Generator,
    config: CropConfig,
    geometry: Geometry | None = None,
) -> tuple[Tensor, ...]:
    """One random crop: image uint8, valid, labels, interior, wholes (see `Crops`)."""
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
    first_r, first_c = _place(source, rng, rows, cols)
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
    grids = [source.labels, source.interior, wholes]
    half = (new_r // stride, new_c // stride)
    index_r = ((torch.arange(half[0]) + 0.5) * (rows / half[0])).long() + first_r
    index_c = ((torch.arange(half[1]) + 0.5) * (cols / half[1])).long() + first_c
    pad_half = tuple(p // stride for p in pad)
    small = []
    for grid, kind in zip(grids, (torch.int64, torch.uint8, torch.int64), strict=True):
        if grid is None:
            small.append(torch.zeros(config.size // stride, config.size // stride, dtype=kind))
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


def _whole(length: float, stride: int) -> int:
    return max(round(length / stride) * stride, stride * 4)
