"""The embedded convolutional encoder on the visible patches of an image alone, and its decoder.

A dense convolution carries visible pixels into masked places: a mask that is only drawn into the
image is gone after a few layers, and most positions see another statistic than without masks. Here
every layer is a sparse one: masked positions are zero after each convolution, and batch
normalisation and attention are over visible positions. The decoder fills masked positions with a
learned vector, and goes up through skip connections, as a U-Net does. Source: Tian et al. 2023
(SparK, arXiv:2301.03580); ConvNeXt V2 (Woo et al. 2023, arXiv:2301.00808) masks in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network.micro import AttentionBlock, ConvNorm, MicroConfig, MicroEncoder, Residual
from .masking import Masks, to_patches

STRIDES = (2, 4, 8, 16)


def encode_visible(encoder: MicroEncoder, pixels: Tensor, masks: Masks) -> list[Tensor]:
    """Features of the visible patches at strides 2, 4, 8 and 16; 0 where patches are masked.

    Parameters
    ----------
    encoder : MicroEncoder
    pixels : Tensor
        (batch, 3, h, w), normalised; h and w multiples of the patch side.
    masks : Masks
        Which patches, of a multiple of 16 pixels, are visible.

    Returns
    -------
    list of Tensor
        (batch, width, h / stride, w / stride) each.
    """
    patch = pixels.shape[2] // masks.visible.shape[2]
    at2, at4, at8, at16 = (masks.at(patch // stride) for stride in STRIDES)
    x = (pixels * masks.at(patch)).contiguous(memory_format=torch.channels_last)
    x2 = F.relu(_convolved(encoder.stem, x, at2))
    x2 = F.relu(_convolved(encoder.stem2, x2, at2))
    x4 = F.relu(_convolved(encoder.down4, x2, at4))
    x4 = _stage(encoder.stage4, x4, at4, 0)
    x8 = F.relu(_convolved(encoder.down8, x4, at8))
    x8 = _stage(encoder.stage8, x8, at8, 0)
    x16 = F.relu(_convolved(encoder.down16, x8, at16))
    positions = masks.shown.shape[1] * (patch // STRIDES[-1]) ** 2
    return [x2, x4, x8, _stage(encoder.stage16, x16, at16, positions)]


def _stage(stage: nn.Sequential, x: Tensor, visible: Tensor, positions: int) -> Tensor:
    """Run a stage; an image has so many visible `positions`."""
    for part in stage:
        if isinstance(part, Residual):
            inner = F.relu(_convolved(part.first, x, visible))
            x = F.relu(x + _convolved(part.second, inner, visible))
        else:
            x = _attended(part, x, visible, positions)  # type: ignore[arg-type]
    return x


def _convolved(layer: ConvNorm, x: Tensor, visible: Tensor) -> Tensor:
    """A convolution whose output is 0 at masked positions."""
    y = layer.conv(x)
    if isinstance(layer.norm, nn.BatchNorm2d):
        y = _normalised(layer.norm, y, visible)
    return y * visible


def _normalised(norm: nn.BatchNorm2d, y: Tensor, visible: Tensor) -> Tensor:
    """Batch normalisation by mean and variance of the visible positions."""
    running, spread = norm.running_mean, norm.running_var
    if not norm.training or running is None or spread is None or norm.momentum is None:
        return norm(y)  # type: ignore[no-any-return]
    y = y.float()
    count = visible.sum()
    mean = (y * visible).sum((0, 2, 3)) / count
    apart = y - mean[:, None, None]
    variance = (apart * visible).square().sum((0, 2, 3)) / count
    with torch.no_grad():
        running.lerp_(mean, norm.momentum)
        spread.lerp_(variance * (count / (count - 1)), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return apart * scale[:, None, None] + norm.bias[:, None, None]


def _attended(block: AttentionBlock, x: Tensor, visible: Tensor, positions: int) -> Tensor:
    """Attention among the visible positions alone."""
    batch, width, rows, cols = x.shape
    shown = visible.flatten(1).topk(positions).indices
    index = shown[:, None].expand(-1, width, -1)
    tokens = x.flatten(2).gather(2, index)
    done = block(tokens[..., None])[..., 0]
    full = done.new_zeros(batch, width, rows * cols).scatter(2, index, done)
    return full.unflatten(2, (rows, cols)).contiguous(memory_format=torch.channels_last)


class MapDecoder(nn.Module):
    """Predicts the pixels of all patches from the features of the visible ones.

    Parameters
    ----------
    encoder : MicroConfig
        Shape of the encoder.
    width : int
        Channels.
    """

    def __init__(self, encoder: MicroConfig, width: int) -> None:
        super().__init__()
        self.mask_tokens = nn.ParameterList(
            nn.Parameter(0.02 * torch.randn(channels)) for channels in encoder.widths
        )
        self.laterals = nn.ModuleList(nn.Conv2d(n, width, 1) for n in encoder.widths)
        self.fuse = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(8, width))
            for _ in encoder.widths[1:]
        )
        self.head = nn.Conv2d(width, 3 * STRIDES[0] ** 2, 1)

    def forward(self, features: Sequence[Tensor], masks: Masks) -> Tensor:
        """Predict patches.

        Parameters
        ----------
        features : sequence of Tensor
            From `encode_visible`.
        masks : Masks
            Which patches are visible.

        Returns
        -------
        Tensor
            (batch, rows, cols, 3 * patch * patch), as `masking.to_patches` cuts pixels.
        """
        patch = STRIDES[0] * features[0].shape[2] // masks.visible.shape[2]
        filled = []
        for x, stride, token, lateral in zip(
            features, STRIDES, self.mask_tokens, self.laterals, strict=True
        ):
            masked = 1 - masks.at(patch // stride)
            filled.append(lateral(x + masked * token[:, None, None]))
        y = filled[-1]
        for finer, fuse in zip(filled[-2::-1], self.fuse, strict=True):
            y = F.relu(fuse(F.interpolate(y, scale_factor=2, mode="nearest") + finer))
        return to_patches(F.pixel_shuffle(self.head(y), STRIDES[0]), patch)
