"""Masked autoencoding: which patches are masked, and the loss on those that are.

Source: He et al. 2022 (Masked Autoencoders Are Scalable Vision Learners, arXiv:2111.06377). A large
share of the patches is masked at random, the encoder sees the others alone, and a light decoder,
which is dropped afterwards, predicts the masked pixels, normalised by mean and deviation of their
patch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ParameterError

_EPS = 1e-6


@dataclass(frozen=True)
class MaskingConfig:
    """Masks and decoder of a pre-training.

    Parameters
    ----------
    share : float
        Share of the patches that is masked. 0 takes the published one for the encoder: .75 for a
        ViT (He et al. 2022), .6 for a convolutional encoder (Tian et al. 2023).
    patch : int
        Side of a patch in frame pixels. 0 takes that of a ViT, and 32 for a convolutional encoder.
    width, depth : int
        Channels of the decoder, a multiple of 32, and its transformer blocks (of a ViT); 0 takes
        256 channels for a ViT, 64 for a convolutional encoder.
    windows : int
        Windows of 1,024 pixels read, at random, from each plane with a side above 2,048 pixels.
    """

    share: float = 0.0
    patch: int = 0
    width: int = 0
    depth: int = 2
    windows: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ParameterError(f"masking.share lies between 0 and 1, not {self.share}")
        for name, value in asdict(self).items():
            least = 1 if name in ("depth", "windows") else 0
            most = 4096 if name in ("width", "windows") else 256
            if not least <= value <= most:
                raise ParameterError(f"masking.{name} lies between {least} and {most}, not {value}")
        if self.patch % 16:
            raise ParameterError(f"masking.patch is a multiple of 16 pixels, not {self.patch}")
        if self.width % 32:
            raise ParameterError(f"masking.width is a multiple of 32, not {self.width}")


@dataclass(frozen=True, slots=True)
class Masks:
    """Which patches of a batch are visible.

    Parameters
    ----------
    shown : Tensor
        (batch, visible patches) int64, their numbers, row by row, ascending.
    visible : Tensor
        (batch, 1, rows, cols) float, 1 for a visible patch and 0 for a masked one.
    """

    shown: Tensor
    visible: Tensor

    def at(self, factor: int) -> Tensor:
        """`visible` on a grid that is finer by a whole factor."""
        return F.interpolate(self.visible, scale_factor=factor, mode="nearest")


def draw_masks(
    batch: int,
    grid: tuple[int, int],
    share: float,
    generator: torch.Generator | None,
    device: torch.device,
) -> Masks:
    """Draw masks: of every image the same number of patches, at random.

    Parameters
    ----------
    batch : int
    grid : (int, int)
        Rows and columns of patches.
    share : float
        Share to mask; at least one patch stays visible, and one is masked.
    generator : torch.Generator or None
        Source of randomness, on the device.
    device : torch.device
    """
    count = grid[0] * grid[1]
    kept = min(max(round((1 - share) * count), 1), count - 1)
    noise = torch.rand(batch, count, generator=generator, device=device)
    shown = noise.argsort(1)[:, :kept].sort(1).values
    visible = torch.zeros(batch, count, device=device).scatter(1, shown, 1.0)
    return Masks(shown, visible.reshape(batch, 1, *grid))


def to_patches(pixels: Tensor, side: int) -> Tensor:
    """Cut (batch, 3, h, w) into (batch, h / side, w / side, 3 * side * side)."""
    batch, channels, height, width = pixels.shape
    cut = pixels.reshape(batch, channels, height // side, side, width // side, side)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3)


def reconstruction_loss(
    predicted: Tensor, pixels: Tensor, visible: Tensor, valid: Tensor
) -> Tensor:
    """Mean squared error of the normalised pixels of the masked patches.

    Parameters
    ----------
    predicted : Tensor
        (batch, rows, cols, 3 * side * side), as `to_patches` cuts pixels.
    pixels : Tensor
        (batch, 3, rows * side, cols * side).
    visible : Tensor
        (batch, 1, rows, cols), as in `Masks`.
    valid : Tensor
        (batch, 1, rows * side, cols * side) bool, False in the padding. Patches with padding do
        not count.
    """
    side = pixels.shape[2] // predicted.shape[1]
    target = to_patches(pixels.float(), side)
    variance, mean = torch.var_mean(target, -1, keepdim=True)
    target = (target - mean) / (variance + _EPS).sqrt()
    error = (predicted.float() - target).square().mean(-1)
    whole = F.avg_pool2d(valid.float(), side)[:, 0] > 1 - 0.5 / side**2
    counted = (1 - visible[:, 0]) * whole
    return (error * counted).sum() / counted.sum().clamp_min(1)
