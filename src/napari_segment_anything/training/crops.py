"""Crops of labelled images as tensors, single and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from .seen import SEEN


class TrainingCrop(NamedTuple):
    """One crop of a batch: the tensors of `Crops` without batch dimension, the image as uint8."""

    image: Tensor
    valid: Tensor
    labels: Tensor
    interior: Tensor
    wholes: Tensor
    seen: Tensor


@dataclass(frozen=True, slots=True)
class Crops:
    """A batch of crops.

    Parameters
    ----------
    images : Tensor
        (batch, 3, S, S) uint8.
    valid : Tensor
        (batch, 1, S, S) bool, False in the padding at the bottom and the right.
    labels : Tensor
        (batch, S/stride, S/stride) int64, on the grid of logits and dense head.
    interior : Tensor
        (batch, S/stride, S/stride) uint8.
    wholes : Tensor
        (batch, S/stride, S/stride) int64, 0 where unknown.
    seen : Tensor
        (batch, S/stride, S/stride) uint8, levels of `seen.seen_levels`.
    stride : int
        Pixels per cell of the label grid.
    """

    images: Tensor
    valid: Tensor
    labels: Tensor
    interior: Tensor
    wholes: Tensor
    seen: Tensor
    stride: int

    @property
    def side(self) -> int:
        """S, the side of a crop in pixels."""
        return self.labels.shape[-1] * self.stride

    @property
    def known(self) -> Tensor:
        """Cells that have a label: (batch, S/stride, S/stride) bool."""
        return self.seen >= SEEN

    def to(self, device: torch.device) -> Crops:
        """Move to a device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS}
        return replace(self, **moved)

    def pin_memory(self) -> Crops:
        """Move to memory that a GPU copies from while it computes."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in _TENSORS})

    def without_images(self) -> Crops:
        """Drop the pixels, which are not needed once they are encoded."""
        return replace(self, images=self.images.new_empty(len(self.labels), 3, 0, 0))

    @classmethod
    def join(cls, crops: Sequence[Crops]) -> Crops:
        """Concatenate batches."""
        joined = {name: torch.cat([getattr(each, name) for each in crops]) for name in _TENSORS}
        return cls(**joined, stride=crops[0].stride)


_TENSORS = ("images", "valid", "labels", "interior", "wholes", "seen")


@dataclass(frozen=True, slots=True)
class EncodedCrops:
    """A batch of crops with the output of the image encoder.

    Parameters
    ----------
    embedding : Tensor
        (batch, 256, h, w).
    maps : Tensor or None
        (batch, 6, 4h, 4w), the dense head; None where no mask refiner is trained.
    crops : Crops
        The batch.
    origin : Tensor
        (batch, 2), row and column in the frame of each crop's first pixel.
    heads : mapping of str to Tensor
        All heads of the encoder, with their gradients.
    """

    embedding: Tensor
    maps: Tensor | None
    crops: Crops
    origin: Tensor
    heads: dict[str, Tensor]
