"""Low-rank additions to an image encoder's weights (Hu et al. 2021, arXiv:2106.09685).

An addition is a parametrisation of the layer's own weight: everything that reads the weight sees
it, and merging it leaves a plain layer.
"""

from __future__ import annotations

import math
import re
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import ParameterError
from ..network.micro import MicroEncoder
from .config import LoraConfig

# attention in the published encoders; all larger layers in the micro encoder, which consists mostly
# of convolutions
_ATTENTION = re.compile(r"\.qkv$")
_MICRO = re.compile(
    r"\.(qkv|proj|expand|reduce)$|^stage(8|16)\..*\.conv$|^(merge|lateral16\.conv|lateral8\.conv)$"
    r"|^(up4|skip4|fuse4|up2|skip2|fuse2)\.conv$"
)
# small, and most dependent on the images
_MICRO_WHOLE = ("dense.", "coarse.", "detail.")


class LowRank(nn.Module):
    """Adds the product of two thin matrices to a weight; zero until trained.

    Parameters
    ----------
    weight : Tensor
        (outputs, ...), the weight.
    config : LoraConfig
        Rank and scale.
    """

    def __init__(self, weight: Tensor, config: LoraConfig) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        rank = min(config.rank, outputs, inputs)
        self.scale = config.alpha / config.rank
        self.down = nn.Parameter(torch.empty(rank, inputs, device=weight.device))
        self.up = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the addition, in its shape and dtype."""
        kind = weight.device.type
        with torch.autocast(kind, enabled=False) if kind in ("cpu", "cuda") else nullcontext():
            return weight + (self.scale * (self.up @ self.down)).reshape(weight.shape)


def lora_layers(encoder: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Layers of an encoder that get low-rank additions, by name."""
    pattern = _MICRO if isinstance(encoder, MicroEncoder) else _ATTENTION
    found: dict[str, nn.Linear | nn.Conv2d] = {}
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and pattern.search(name):
            found[name] = module
    return found


def add_lora(encoder: nn.Module, config: LoraConfig, seed: int) -> None:
    """Freeze an encoder and add low-rank matrices to it, in place; its output does not change.

    Parameters
    ----------
    encoder : nn.Module
    config : LoraConfig
        Rank and scale.
    seed : int

    Raises
    ------
    ParameterError
        If it has no suitable layer.
    """
    layers = lora_layers(encoder)
    if not layers:
        raise ParameterError("this image encoder has no attention that LoRA could adapt")
    encoder.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layers.values():
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, config))
    for name, parameter in encoder.named_parameters():
        small = isinstance(encoder, MicroEncoder) and name.startswith(_MICRO_WHOLE)
        parameter.requires_grad_(small or name.endswith((".0.down", ".0.up")))


def merge_lora(encoder: nn.Module) -> None:
    """Merge low-rank additions into the weights, in place, which restores the plain keys."""
    for module in list(encoder.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
