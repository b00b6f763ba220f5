"""Losses that keep touching objects apart, and cells that nobody has looked at."""

from __future__ import annotations

import torch

from napari_segment_anything.training.dense import encode_dense, touching
from napari_segment_anything.training.losses import dense_loss


def scene():
    labels = torch.zeros(1, 16, 24, dtype=torch.int64)
    labels[0, 4:12, 4:10], labels[0, 4:12, 10:16], labels[0, 1:3, 20:22] = 1, 2, 3
    return labels, encode_dense(labels, torch.full(labels.shape, 128, dtype=torch.uint8))


def maps_of(targets, boxes):
    """Dense maps with a perfect foreground, interior and the given boxes."""
    logit = (targets.foreground * 2 - 1) * 20
    inside = torch.logit(targets.interior.clamp(1e-4, 1 - 1e-4))
    return torch.cat([logit[:, None], inside[:, None], boxes], 1).requires_grad_()


def test_touching_cells_are_those_of_an_object_near_another():
    labels, _ = scene()
    near = touching(labels, 2)
    assert near[0, 4:12, 8:12].all() and not near[0, :, :8].any() and not near[0, :, 12:].any()


def test_separation_falls_when_each_cell_predicts_its_own_box():
    labels, targets = scene()
    right = maps_of(targets, targets.box)
    # cells of the second object claim a box that reaches over both
    wide = targets.box.clone()
    wide[:, 1] += 12 * (labels == 2)
    valid = torch.ones(labels.shape)
    with torch.no_grad():
        losses = [
            dense_loss(maps_of(targets, boxes), targets, valid, separation_weight=1.0)
            for boxes in (targets.box, wide)
        ]
        apart, together = (float(each["separation"]) for each in losses)
        assert apart < 0.001 and together > 0.04
        plain = dense_loss(right, targets, valid)
        more = dense_loss(right, targets, valid, box_iou_weight=1.0)
    assert "box_iou" not in plain and float(more["box_iou"]) < 1e-4


def test_alone_objects_have_nothing_to_be_separated_from():
    labels = torch.zeros(1, 16, 16, dtype=torch.int64)
    labels[0, 2:6, 2:6], labels[0, 0, 15], labels[0, 15, 0] = 1, 2, 3  # corners do not meet
    targets = encode_dense(labels, torch.zeros(labels.shape, dtype=torch.uint8))
    maps = maps_of(targets, targets.box).detach()
    losses = dense_loss(maps, targets, torch.ones(labels.shape), separation_weight=1.0)
    assert float(losses["separation"]) == 0


def test_border_weight_raises_the_share_of_touching_cells():
    labels, targets = scene()
    valid = torch.ones(labels.shape)
    boxes = targets.box + 3.0 * touching(labels)[:, None]  # wrong at the border only
    maps = maps_of(targets, boxes).detach()
    plain = dense_loss(maps, targets, valid)
    weighted = dense_loss(maps, targets, valid, touching_weight=4.0)
    assert float(weighted["box"]) > 1.5 * float(plain["box"])


def test_what_nobody_has_looked_at_has_no_gradient():
    labels, targets = scene()
    valid = torch.ones(labels.shape)
    known = labels > 0
    maps = maps_of(targets, targets.box + 1.0)
    sum(dense_loss(maps, targets, valid, known, 2.0, 1.0, 1.0).values()).backward()
    assert maps.grad[:, :, ~known[0]].abs().max() == 0
    assert maps.grad[:, :, known[0]].abs().max() > 0
