"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from napari_segment_anything.training.dense import DenseTargets, encode_dense
from napari_segment_anything.training.losses import dense_loss, dice_loss, focal_loss
from napari_segment_anything.training.prompts import mask_losses


def test_focal_loss_of_two_pixels_by_hand():
    # probabilities .75 and .75, truth 1 and 0
    logits = torch.full((1, 1, 2), math.log(3.0))
    target = torch.tensor([[[1.0, 0.0]]])
    right = 0.25 * 0.25**2 * -math.log(0.75)
    wrong = 0.75 * 0.75**2 * -math.log(0.25)
    assert focal_loss(logits, target).item() == pytest.approx((right + wrong) / 2, rel=1e-5)


def test_focal_loss_without_focus_or_balance_is_cross_entropy():
    logits, target = torch.randn(3, 5, 4), torch.randint(0, 2, (3, 5, 4)).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    ).mean((1, 2))
    assert torch.allclose(focal_loss(logits, target, alpha=-1, gamma=0), expected)


def test_dice_loss_by_hand():
    # probabilities .5 everywhere on four pixels, one of them true: 1 - (2*.5 + 1) / (2 + 1 + 1)
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert dice_loss(torch.zeros(1, 2, 2), target).item() == pytest.approx(0.5)
    assert dice_loss(torch.where(target > 0, 99.0, -99.0), target).item() == pytest.approx(0.0)


def test_only_the_best_of_three_masks_matters_for_a_point():
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    right = torch.where(target > 0, 8.0, -8.0)
    logits = torch.stack([right, right, -right, torch.zeros_like(right)], 1).requires_grad_()
    loss, _, true_iou = mask_losses(logits, torch.zeros(1, 4), target, first=True, boxed=False)
    loss.backward()
    pull = logits.grad.abs().flatten(2).sum(-1)[0]
    assert true_iou[0, 1] == 1 and true_iou[0, 2] == 0
    others = 20 * focal_loss(-right, target) + dice_loss(-right, target)
    assert loss.item() < 0.06 * others.item()  # a wrong mask beside a right one costs little
    assert pull[2] > 0  # yet the small share keeps every head alive


def test_iou_head_is_scored_by_squared_error():
    target = torch.zeros(1, 4, 4)
    target[:, :2] = 1
    half = torch.full((1, 4, 4), 5.0)  # covers all: IoU .5
    logits = half[:, None].expand(-1, 4, -1, -1)
    _, error, true_iou = mask_losses(
        logits, torch.full((1, 4), 0.75), target, first=False, boxed=True
    )
    assert true_iou.tolist() == [[0.5] * 4]
    assert error.item() == pytest.approx(0.0625)


def test_dense_loss_vanishes_at_the_truth_and_only_there():
    labels = torch.zeros(1, 16, 16, dtype=torch.int64)
    labels[0, 2:8, 3:12] = 1
    interior = ((labels > 0) * 255).to(torch.uint8)
    targets: DenseTargets = encode_dense(labels, interior)
    maps = torch.cat([torch.where(labels[:, None] > 0, 30.0, -30.0)] * 2 + [targets.box], 1)
    valid = torch.ones(1, 16, 16)
    at_truth = dense_loss(maps, targets, valid)
    assert sum(v.item() for v in at_truth.values()) == pytest.approx(0, abs=1e-3)
    off = maps.clone()
    off[:, 2:] += 4
    assert dense_loss(off, targets, valid)["box"].item() > 0.1
