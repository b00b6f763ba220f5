"""Augmentation of the pixel values of a batch of microscopy images, on any device.

Inversion, gamma, contrast, illumination, colour, stain, blur and noise. Geometric augmentation
happens where crops are cut (`cropping`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ParameterError


@dataclass(frozen=True)
class AugmentConfig:
    """Probability of each augmentation per image, 0 to 1."""

    invert: float = 0.12
    gamma: float = 0.5
    contrast: float = 0.6
    illumination: float = 0.3
    colour: float = 0.5
    shuffle: float = 0.1
    gray: float = 0.12
    blur: float = 0.2
    noise: float = 0.35
    stain: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise ParameterError(f"augment.{name} lies between 0 and 1, not {value}")


def augment(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Augment the pixel values of a batch.

    Parameters
    ----------
    images : Tensor
        (batch, 3, h, w) uint8, or float32 in 0..255; not changed in place.
    config : AugmentConfig
        Probabilities.
    generator : torch.Generator
        Source of randomness, on the device of `images`.

    Returns
    -------
    Tensor
        (batch, 3, h, w) float32 in 0..255.
    """
    batch, _, height, width = images.shape
    device = images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        size = shape or (batch, 1, 1, 1)
        return torch.rand(size, generator=generator, device=device) * (high - low) + low

    def chance(probability: float) -> Tensor:
        return torch.rand(batch, 1, 1, 1, generator=generator, device=device) < probability

    x = images / 255
    x = torch.where(chance(config.invert), 1 - x, x)
    gamma = torch.where(chance(config.gamma), uniform(-0.6, 0.6).exp(), x.new_ones(()))
    x = x.clamp(0, 1).pow(gamma)
    x = _restain(x, config.stain, generator)
    x = _recolour(x, config, generator)
    if torch.rand((), generator=generator, device=device) < 0.8:
        field = torch.randn(batch, 1, 4, 4, generator=generator, device=device)
        field = F.interpolate(field, (height, width), mode="bicubic", align_corners=False)
        x = torch.where(chance(config.illumination), x * (0.3 * field).exp(), x)
    change = chance(config.contrast)
    gain = torch.where(change, uniform(0.45, 1.25), x.new_ones(()))
    shift = torch.where(change, uniform(-0.2, 0.3), x.new_zeros(()))
    x = (x - 0.5) * gain + 0.5 + shift * (1 - gain).abs() * 2
    x = _blur(x, config.blur, generator)
    sigma = uniform(0.0, 0.09) * chance(config.noise)
    noise = torch.randn(x.shape, generator=generator, device=device)
    gray_noise = noise[:, :1].expand_as(noise)
    is_gray = (images[:, :1] == images).flatten(1).all(1)[:, None, None, None]
    x = x + sigma * torch.where(is_gray, gray_noise, noise)
    return x.clamp(0, 1) * 255


# optical densities (red, green, blue) of haematoxylin, eosin and the residual, normalised
# (Ruifrok and Johnston 2001)
_STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))


def _restain(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Scale and shift the stains of some bright colour images, in optical density."""
    if not probability:
        return x
    device = x.device
    chosen = torch.rand(len(x), generator=generator, device=device) < probability
    chosen &= (x[:, :1] != x).flatten(1).any(1) & (x.flatten(1).mean(1) > 0.4)  # light, in colour
    if not bool(chosen.any()):
        return x
    part = x[chosen]
    stains = torch.tensor(_STAINS, device=device)
    stains = stains + 0.06 * torch.randn(len(part), 3, 3, generator=generator, device=device)
    apart = torch.linalg.inv(torch.tensor(_STAINS, device=device))
    density = -torch.log(part.clamp_min(1 / 255)) / math.log(255)
    amounts = torch.einsum("bchw,cs->bshw", density, apart)
    draws = torch.rand(len(part), 3, 2, generator=generator, device=device)
    gain = (draws[..., :1] * 1.4 - 0.7).exp()[..., None]
    shift = (draws[..., 1:] * 0.12 - 0.06)[..., None]
    amounts = amounts * gain + shift
    density = torch.einsum("bshw,bsc->bchw", amounts, stains)
    out = x.clone()
    out[chosen] = torch.exp(-density.clamp(0, 1) * math.log(255))
    return out


def _recolour(x: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Mix channels at random: colour shifts, permutation, conversion to grey."""
    device = x.device

    def chance(probability: float) -> Tensor:
        return torch.rand(len(x), 1, 1, generator=generator, device=device) < probability

    eye = torch.eye(3, device=device).expand(len(x), 3, 3)
    mix = eye + 0.12 * torch.randn(len(x), 3, 3, generator=generator, device=device)
    mix = mix / mix.sum(2, keepdim=True).clamp_min(0.3)
    mix = torch.where(chance(config.colour), mix, eye)
    order = torch.rand(len(x), 3, generator=generator, device=device).argsort(1)
    shuffled = mix.gather(1, order[:, :, None].expand(-1, -1, 3))
    mix = torch.where(chance(config.shuffle), shuffled, mix)
    mix = torch.where(chance(config.gray), mix.mean(1, keepdim=True), mix)
    return torch.einsum("bij,bjhw->bihw", mix, x)


def _blur(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Blur some images of the batch."""
    chosen = torch.rand(len(x), generator=generator, device=x.device) < probability
    if not bool(chosen.any()):
        return x
    part = x[chosen]
    sigma = torch.rand(len(part), 1, generator=generator, device=x.device) * 1.6 + 0.4
    taps = torch.arange(-4, 5, device=x.device)[None]
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = part.reshape(1, -1, *part.shape[2:])
    flat = F.conv2d(
        F.pad(flat, (4, 4, 0, 0), "replicate"), kernel[:, None, None, :], groups=len(kernel)
    )
    flat = F.conv2d(
        F.pad(flat, (0, 0, 4, 4), "replicate"), kernel[:, None, :, None], groups=len(kernel)
    )
    out = x.clone()
    out[chosen] = flat.reshape(part.shape)
    return out
