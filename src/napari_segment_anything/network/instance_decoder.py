"""A convolutional decoder for instances, on SAM's image embedding.

Fine-tuned checkpoints for microscopy come with one (Archit et al. 2025, "Segment Anything
for Microscopy", methods; the architecture is UNETR's decoder, Hatamizadeh et al. 2022,
fed from the embedding alone). It predicts foreground and the distances to the object's
centre and boundary, from which a seeded watershed derives instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import cast_products


@dataclass(frozen=True, slots=True)
class InstanceDecoderConfig:
    """Shape of an instance decoder; the defaults are the published files'.

    Parameters
    ----------
    inputs : int
        Channels of the image embedding.
    widths : tuple of int
        Channels at each level, coarse to fine.
    outputs : int
        Output maps.
    transposed : bool
        Whether the path from the embedding upsamples by transposed convolutions, as in
        early files, or by interpolation and a 1 x 1 convolution.
    transposed_samplers : bool
        The same for the decoder's own path.
    """

    inputs: int = 256
    widths: tuple[int, ...] = (512, 256, 128, 64)
    outputs: int = 3
    transposed: bool = False
    transposed_samplers: bool = False


class Interpolate(nn.Module):
    """Bilinear upsampling by 2, then a 1 x 1 convolution.

    The two are linear and commute; the convolution comes first because it then sees a
    quarter of the cells.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, 2h, 2w)."""
        return F.interpolate(self.conv(x), scale_factor=2.0, mode="bilinear", align_corners=False)


class Transposed(nn.Module):
    """Transposed convolution of size and stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.ConvTranspose2d(inputs, outputs, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, 2h, 2w)."""
        return self.block(x)  # type: ignore[no-any-return]


class Convolution(nn.Module):
    """A 3 x 3 convolution, nested as in the published files' keys."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, h, w) to the same."""
        return self.block(x)  # type: ignore[no-any-return]


class Upscaling(nn.Module):
    """Upsampling by 2, convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, transposed: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(
            _upsampler(inputs, outputs, transposed),
            Convolution(outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, 2h, 2w)."""
        conv = cast(Convolution, self.block[1]).block
        norm = cast(nn.BatchNorm2d, self.block[2])
        mean, variance = norm.running_mean, norm.running_var
        if self.training or mean is None or variance is None or conv.bias is None:
            return self.block(x)  # type: ignore[no-any-return]
        # In evaluation the norm is folded into the convolution, which saves a map.
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        weight = (conv.weight * scale[:, None, None, None]).to(conv.weight.dtype)
        bias = ((conv.bias - mean) * scale + norm.bias).to(conv.weight.dtype)
        x = F.conv2d(self.block[0](x), weight, bias, padding=1)
        return F.relu(x, inplace=not torch.is_grad_enabled())


class DoubleConvolution(nn.Module):
    """Instance norm, 3 x 3 convolution and ReLU, twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.InstanceNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.InstanceNorm2d(outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h, w)."""
        return self.block(x)  # type: ignore[no-any-return]

    def join(self, x: Tensor, other: Tensor) -> Tensor:
        """Map the concatenation of two maps, each normalised by itself to save memory."""
        x, other = F.instance_norm(x), F.instance_norm(other)
        x = torch.cat([x, other], dim=1)
        del other
        return self.block[1:](x)  # type: ignore[no-any-return]


class FeaturePath(nn.Module):
    """The decoder's own path: upsample, join with the embedding's path, convolve."""

    def __init__(self, widths: tuple[int, ...], *, transposed: bool) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        self.blocks = nn.ModuleList(DoubleConvolution(a, b) for a, b in steps)
        self.samplers = nn.ModuleList(_upsampler(a, b, transposed) for a, b in steps)

    def forward(self, x: Tensor, others: list[Tensor]) -> Tensor:
        """Walk up the levels.

        Parameters
        ----------
        x : Tensor
            (B, widths[0], h, w).
        others : list of Tensor
            The embedding's path, (B, widths[i], 2h, 2w) and so on, one a level.

        Returns
        -------
        Tensor
            (B, widths[-1], 8h, 8w) for three levels.
        """
        for block, sampler, other in zip(self.blocks, self.samplers, others, strict=True):
            x = sampler(x)
            # The published weights expect the other path cropped to the middle of its channels,
            # as the original code crops maps of different sizes.
            spare = (other.shape[1] - x.shape[1]) // 2
            x = cast(DoubleConvolution, block).join(x, other[:, spare : spare + x.shape[1]])
        return x


class InstanceDecoder(nn.Module):
    """Foreground, centre distance and boundary distance from an image embedding.

    Parameters
    ----------
    config : InstanceDecoderConfig
        Its shape.
    """

    def __init__(self, config: InstanceDecoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or InstanceDecoderConfig()
        widths, transposed = config.widths, config.transposed
        if len(widths) != 4:
            raise ValueError(f"an instance decoder has four levels, not {len(widths)}")
        self.base = DoubleConvolution(config.inputs, widths[0])
        self.decoder = FeaturePath(widths, transposed=config.transposed_samplers)
        self.deconv1 = Upscaling(config.inputs, widths[0], transposed=transposed)
        self.deconv2 = Upscaling(widths[0], widths[1], transposed=transposed)
        self.deconv3 = Upscaling(widths[1], widths[2], transposed=transposed)
        self.deconv4 = Upscaling(widths[2], widths[3], transposed=transposed)
        self.deconv_out = _upsampler(widths[3], widths[3], transposed)
        self.decoder_head = DoubleConvolution(2 * widths[3], widths[3])
        self.out_conv = nn.Conv2d(widths[3], config.outputs, 1)

    def set_precision(self, dtype: torch.dtype) -> None:
        """Cast convolutions to `dtype`; lossy. Inputs and outputs stay float32."""
        cast_products(self, dtype)

    def forward(self, embedding: Tensor) -> Tensor:
        """Decode a frame.

        Parameters
        ----------
        embedding : Tensor
            (B, 256, h, w) image embedding, float32.

        Returns
        -------
        Tensor
            (B, 3, 16h, 16w) float32 in 0..1: foreground probability, distance to the
            object's centre, distance to its boundary (both relative to the object: 0 at
            the centre and 1 far from it; 0 well inside and 1 at the boundary). The frame
            is padded as the embedding's was: crop it to the valid part.
        """
        embedding = embedding.to(self.out_conv.weight.dtype)
        coarse = self.deconv1(embedding)
        middle = self.deconv2(coarse)
        fine = self.deconv3(middle)
        x = self.decoder(self.base(embedding), [coarse, middle, fine])
        del coarse, middle
        x = self.decoder_head.join(self.deconv_out(x), self.deconv4(fine))
        return torch.sigmoid(self.out_conv(x).float())


def _upsampler(inputs: int, outputs: int, transposed: bool) -> nn.Module:
    return Transposed(inputs, outputs) if transposed else Interpolate(inputs, outputs)
