"""Parameter groups of a stage, and the schedule of their learning rates."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from ..errors import ParameterError
from .config import StageConfig


def parameter_groups(network: nn.Module, stage: StageConfig) -> list[dict[str, Any]]:
    """Parameter groups for the optimiser, by learning rate and weight decay.

    Parameters with learning rate 0 are frozen. In an encoder with LoRA only what LoRA leaves
    trainable is trained.

    Raises
    ------
    ParameterError
        If nothing is left to train.
    """
    partial = any(parametrize.is_parametrized(module) for module in network.modules())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    rates = {
        "image_encoder": stage.encoder_learning_rate,
        "mask_refiner": stage.refiner_learning_rate,
    }
    for name, parameter in network.named_parameters():
        rate = rates.get(name.partition(".")[0], stage.learning_rate)
        kept = partial and name.startswith("image_encoder.") and not parameter.requires_grad
        parameter.requires_grad_(rate > 0 and not kept)
        if parameter.requires_grad:
            decay = stage.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ParameterError(f"stage {stage.name!r} trains nothing: all learning rates are 0")
    return [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def rate_factor(step: int, stage: StageConfig) -> float:
    """Learning rate relative to its peak: linear warm-up, then cosine decay to `final_rate`."""
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    done = (step - stage.warmup) / max(stage.steps - stage.warmup, 1)
    return stage.final_rate + (1 - stage.final_rate) * 0.5 * (1 + math.cos(math.pi * done))
