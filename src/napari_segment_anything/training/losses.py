"""Losses of the decoder (section 3 and appendix A of the paper) and of the dense head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .dense import DenseTargets


def focal_loss(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss, mean over the pixels of each mask.

    Parameters
    ----------
    logits, target : Tensor
        (..., h, w); the target in 0..1.
    alpha, gamma : float
        Weight of the foreground, and exponent of the modulating factor. A negative alpha
        weights both alike.

    Returns
    -------
    Tensor
        (...), one value a mask.
    """
    probability = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = probability * target + (1 - probability) * (1 - target)
    loss = cross * (1 - right) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return loss.flatten(-2).mean(-1)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient with one pixel of smoothing, per mask.

    Parameters
    ----------
    logits, target : Tensor
        (..., h, w); the target in 0..1.
    """
    probability = logits.sigmoid().flatten(-2)
    target = target.flatten(-2)
    common = 2 * (probability * target).sum(-1)
    return 1 - (common + 1) / (probability.sum(-1) + target.sum(-1) + 1)


def dense_loss(maps: Tensor, targets: DenseTargets, valid: Tensor) -> dict[str, Tensor]:
    """Losses of the dense head by name; their sum is what training minimises.

    Parameters
    ----------
    maps : Tensor
        (batch, 6, h, w) as in `network.micro`.
    targets : DenseTargets
        On the same grid.
    valid : Tensor
        (batch, h, w) float32; the padding beyond the image counts little.
    """
    inside = targets.foreground
    weight = 0.1 + 0.9 * valid
    total = weight.sum()
    foreground = F.binary_cross_entropy_with_logits(maps[:, 0], inside, reduction="none")
    interior = F.binary_cross_entropy_with_logits(maps[:, 1], targets.interior, reduction="none")
    floor = F.binary_cross_entropy(targets.interior, targets.interior, reduction="none")
    dice = dice_loss(maps[:, 0], inside).mean()
    sides = targets.box
    extent = torch.stack([sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3]], 1)
    extent = extent.repeat(1, 2, 1, 1) + 4.0
    error = F.smooth_l1_loss(maps[:, 2:] / extent, sides / extent, reduction="none", beta=0.05)
    weighted = error.sum(1) * targets.weight
    return {
        "foreground": (foreground * weight).sum() / total,
        "dice": 0.5 * dice,
        "interior": ((interior - floor) * weight).sum() / total * 2.0,
        "box": weighted.sum() / targets.weight.sum().clamp_min(1e-3),
    }
