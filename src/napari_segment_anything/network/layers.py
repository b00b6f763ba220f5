"""Small layers shared by the parts of SAM."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .quantised import Int8Linear


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) along C."""
        y = normalise(x.permute(0, 2, 3, 1), self)
        return y.permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear layers with ReLU between them, as in the mask decoder's heads."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * (depth - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class MLPBlock(nn.Module):
    """Two linear layers with an activation between, as in a transformer block."""

    def __init__(self, width: int, hidden: int, *, gelu: bool) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        hidden = self.lin1(x)
        hidden = F.gelu(hidden) if self.gelu else F.relu(hidden)
        return self.lin2(hidden)


def normalise(x: Tensor, norm: nn.LayerNorm | LayerNorm2d) -> Tensor:
    """Layer norm over the last axis with `norm`'s parameters, in `x`'s own dtype.

    Parameters stay float32 when the rest of a network is cast to 16 bits; the CPU
    kernel accepts mixed dtypes, others require equal ones.
    """
    weight: Tensor = norm.weight
    bias: Tensor = norm.bias
    if x.dtype != weight.dtype and x.device.type != "cpu":
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return F.layer_norm(x, x.shape[-1:], weight, bias, norm.eps)


def product_dtype(layer: nn.Module) -> torch.dtype:
    """Return the dtype in which products around a linear layer are computed."""
    if isinstance(layer, Int8Linear):
        return layer.dtype
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight.dtype


def input_dtype(layer: nn.Module) -> torch.dtype:
    """Return the dtype that a linear layer takes its input in."""
    return torch.float32 if isinstance(layer, Int8Linear) else product_dtype(layer)


def cast_products(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of linear and convolution layers below `module` to `dtype`.

    Norms, embeddings and positional encodings stay as they are; layers in int8 only learn what the
    products around them are computed in.
    """
    for part in module.modules():
        if isinstance(part, Int8Linear):
            part.dtype = dtype
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            part.to(dtype)
