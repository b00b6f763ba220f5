"""Losses of the decoder (section 3 and appendix A of the paper) and of the dense head."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.micro import box_edges
from .config import StageConfig
from .crops import Crops
from .dense import DenseTargets, encode_dense, touching


def focal_loss(
    logits: Tensor,
    target: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    known: Tensor | None = None,
) -> Tensor:
    """Focal loss, mean over the pixels of each mask.

    Parameters
    ----------
    logits, target : Tensor
        (..., h, w); the target in 0..1.
    alpha, gamma : float
        Weight of the foreground, and exponent of the modulating factor. A negative alpha
        weights both alike.
    known : Tensor, optional
        Bool, broadcast to the logits; other pixels have no loss.

    Returns
    -------
    Tensor
        (...), one value per mask.
    """
    probability = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = probability * target + (1 - probability) * (1 - target)
    loss = cross * (1 - right) ** gamma
    if alpha >= 0:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    if known is not None:
        loss = loss * known
    return loss.flatten(-2).mean(-1)


def dice_loss(logits: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """One minus the soft Dice coefficient of each mask, smoothed by one pixel.

    Parameters
    ----------
    logits, target : Tensor
        (..., h, w); the target in 0..1, 0 where unknown.
    known : Tensor, optional
        Bool, broadcast to the logits; other pixels have no loss.
    """
    probability = logits.sigmoid()
    if known is not None:
        probability = probability * known
    probability = probability.flatten(-2)
    target = target.flatten(-2)
    common = 2 * (probability * target).sum(-1)
    return 1 - (common + 1) / (probability.sum(-1) + target.sum(-1) + 1)


def dense_loss(
    maps: Tensor,
    targets: DenseTargets,
    valid: Tensor,
    known: Tensor | None = None,
    touching_weight: float = 0.0,
    box_iou_weight: float = 0.0,
    separation_weight: float = 0.0,
) -> dict[str, Tensor]:
    """Losses of the dense head by name; training minimises their sum.

    Parameters
    ----------
    maps : Tensor
        (batch, 6, h, w) as in `network.micro`.
    targets : DenseTargets
        On the same grid.
    valid : Tensor
        (batch, h, w) float32, 1 in the image; padding has a tenth of the weight.
    known : Tensor, optional
        (batch, h, w) bool, False where nothing is labelled; these cells have no loss.
    touching_weight : float
        Cells at the border of two touching objects count 1 + this in the interior and box losses.
    box_iou_weight : float
        Weight of one minus the IoU of each cell's box with its object's.
    separation_weight : float
        Weight of `separation_loss`.
    """
    inside = targets.foreground
    weight = 0.1 + 0.9 * valid
    if known is not None:
        weight = weight * known
    total = weight.sum().clamp_min(1)
    near = 1 + touching_weight * touching(targets.labels) if touching_weight else 1.0
    foreground = F.binary_cross_entropy_with_logits(maps[:, 0], inside, reduction="none")
    interior = F.binary_cross_entropy_with_logits(maps[:, 1], targets.interior, reduction="none")
    floor = F.binary_cross_entropy(targets.interior, targets.interior, reduction="none")
    dice = dice_loss(maps[:, 0], inside, known).mean()
    sides = targets.box
    extent = torch.stack([sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3]], 1)
    extent = extent.repeat(1, 2, 1, 1) + 4.0
    error = F.smooth_l1_loss(maps[:, 2:] / extent, sides / extent, reduction="none", beta=0.05)
    share = targets.weight * near
    share = share / share.sum().clamp_min(1e-3)
    losses = {
        "foreground": (foreground * weight).sum() / total,
        "dice": 0.5 * dice,
        "interior": ((interior - floor) * weight * near).sum() / total * 2.0,
        "box": (error.sum(1) * share).sum(),
    }
    if box_iou_weight or separation_weight:
        found = torch.stack(box_edges(maps[:, 2:]), 1)
        likeness = _box_iou(found, targets.edges)
        if box_iou_weight:
            losses["box_iou"] = box_iou_weight * ((1 - likeness) * share).sum()
        if separation_weight:
            loss = separation_loss(found, likeness, targets)
            losses["separation"] = separation_weight * loss
    return losses


def stage_dense_losses(
    heads: Mapping[str, Tensor], crops: Crops, stage: StageConfig
) -> dict[str, Tensor]:
    """Losses of both dense heads of a batch, by name.

    Parameters
    ----------
    heads : mapping of str to Tensor
        "dense" (batch, 6, h, w), and "coarse" on a grid four times coarser.
    crops : Crops
        The batch.
    stage : StageConfig
        Weights of what concerns touching objects.
    """
    valid = crops.valid[:, 0, ::2, ::2].float()
    losses = dense_loss(
        heads["dense"],
        encode_dense(crops.labels, crops.interior),
        valid,
        crops.known,
        stage.touching_weight,
        stage.box_iou_weight,
        stage.separation_weight,
    )
    some = (slice(None), slice(2, None, 4), slice(2, None, 4))
    coarse = encode_dense(crops.labels[some], crops.interior[some], 8)
    extra = dense_loss(heads["coarse"], coarse, valid[some], crops.known[some])
    losses["coarse"] = 0.3 * torch.stack(list(extra.values())).sum()
    return losses


def separation_loss(found: Tensor, likeness: Tensor, targets: DenseTargets) -> Tensor:
    """Penalise boxes that resemble a neighbouring object's more than their own object's.

    A logistic loss on the difference of two IoUs: of a cell's box with the box of the object two
    cells away, and with that of its own object. `decode_dense` assigns cells by the same rule.

    Parameters
    ----------
    found : Tensor
        (batch, 4, h, w), edges of the predicted boxes.
    likeness : Tensor
        (batch, h, w), their IoU with the box of the cell's own object.
    targets : DenseTargets
        Of the same cells.

    Returns
    -------
    Tensor
        Scalar, the mean over cells with such a neighbour; 0 if there are none.
    """
    labels, total, count = targets.labels, likeness.new_zeros(()), 0
    for shift, axis in ((2, -2), (-2, -2), (2, -1), (-2, -1)):
        other = labels.roll(shift, axis)
        rival = (labels > 0) & (other > 0) & (labels != other)
        rolled_in = 0 if shift > 0 else rival.shape[axis] - 2  # wrapped from the opposite side
        rival.narrow(axis, rolled_in, 2).fill_(False)
        where = torch.nonzero(rival, as_tuple=True)
        if len(where[0]) == 0:
            continue
        theirs = targets.edges.roll(shift, axis).permute(0, 2, 3, 1)[where].T
        mine = found.permute(0, 2, 3, 1)[where].T
        difference = _box_iou(mine[None], theirs[None])[0] - likeness[where]
        total = total + F.softplus(8 * difference).sum() / 8
        count += len(where[0])
    return total / max(count, 1)


def _box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes given as (batch, 4, ...): top, left, bottom, right."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp_min(0).prod(1)
    areas = [(x[:, 2:] - x[:, :2]).clamp_min(0).prod(1) for x in (a, b)]
    return shared / (areas[0] + areas[1] - shared).clamp_min(1e-3)
