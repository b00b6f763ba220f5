"""Crops of labelled images as tensors: one, and a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


class Crop(NamedTuple):
    """One crop of `Crops`, without the batch dimension; the image (3, S, S) uint8."""

    image: Tensor
    valid: Tensor
    labels: Tensor
    interior: Tensor
    wholes: Tensor
    known: Tensor


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
    known : Tensor
        (batch, S/stride, S/stride) bool, False in the background of images that are not labelled
        completely.
    stride : int
        Pixels a label.
    """

    images: Tensor
    valid: Tensor
    labels: Tensor
    interior: Tensor
    wholes: Tensor
    known: Tensor
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


_TENSORS = ("images", "valid", "labels", "interior", "wholes", "known")
