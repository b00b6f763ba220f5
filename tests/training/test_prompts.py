"""Simulated prompts: where points and boxes may fall."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segment_anything.training.config import StageConfig
from napari_segment_anything.training.crops import Crops
from napari_segment_anything.training.prompted_objects import draw_objects
from napari_segment_anything.training.prompts import (
    _silent_rounds,
    error_points,
    noised_boxes,
    sample_points,
)
from napari_segment_anything.training.seen import SEEN


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_error_point_in_the_missed_part_is_positive():
    target = torch.zeros(1, 6, 6)
    target[0, 1:5, 1:5] = 1
    logits = torch.where(target > 0, 1.0, -1.0)
    logits[0, 4, 4] = -1  # the one missed cell
    points, labels = error_points(logits, target, generator())
    assert points.tolist() == [[4, 4]] and labels.tolist() == [1]


def test_error_point_in_the_spill_is_negative():
    target = torch.zeros(1, 6, 6)
    target[0, 1:5, 1:5] = 1
    logits = torch.where(target > 0, 1.0, -1.0)
    logits[0, 0, 5] = 1
    points, labels = error_points(logits, target, generator())
    assert points.tolist() == [[0, 5]] and labels.tolist() == [0]


def test_a_perfect_mask_gets_a_foreground_point():
    target = torch.zeros(2, 6, 6)
    target[:, 2, 3] = 1
    points, labels = error_points(torch.where(target > 0, 1.0, -1.0), target, generator())
    assert points.tolist() == [[2, 3]] * 2 and labels.tolist() == [1, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_error_points_always_lie_on_errors(seed):
    g = generator(seed)
    target = (torch.rand(4, 9, 9, generator=g) > 0.6).float()
    logits = torch.randn(4, 9, 9, generator=g)
    target[:, 0, 0], logits[:, 0, 0] = 1, -1
    points, labels = error_points(logits, target, g)
    for i, ((r, c), label) in enumerate(zip(points.tolist(), labels.tolist(), strict=True)):
        assert (logits[i, r, c] > 0) != (target[i, r, c] > 0)
        assert label == int(target[i, r, c])


def test_points_are_drawn_in_proportion_to_their_weight():
    weights = torch.zeros(4000, 2, 2)
    weights[:, 0, 0], weights[:, 1, 1] = 1, 3
    points = sample_points(weights, generator())
    share = (points.sum(1) == 2).float().mean().item()
    assert abs(share - 0.75) < 0.03 and not (points.sum(1) == 1).any()


def test_box_noise_is_a_tenth_of_the_side_and_never_above_20_px():
    boxes = torch.tensor([[0.0, 0.0, 40.0, 100.0]]).repeat(4000, 1)
    noise = noised_boxes(boxes, generator()) - boxes
    assert abs(noise[:, 0].std().item() - 4) < 0.2
    assert abs(noise[:, 1].std().item() - 10) < 0.8
    huge = torch.tensor([[0.0, 0.0, 900.0, 900.0]]).repeat(500, 1)
    assert (noised_boxes(huge, generator()) - huge).abs().max().item() == 20


def test_windows_hold_their_objects():
    labels = torch.zeros(2, 128, 128, dtype=torch.int64)
    labels[0, 20:40, 90:120] = 1
    labels[0, 100:110, 3:9] = 2
    labels[1, 5:125, 5:125] = 3
    images = torch.zeros(2, 3, 256, 256)
    crops = Crops(
        images,
        torch.ones(2, 1, 256, 256, dtype=torch.bool),
        labels,
        torch.zeros(2, 128, 128, dtype=torch.uint8),
        torch.zeros_like(labels),
        torch.full_like(labels, SEEN, dtype=torch.uint8),
        2,
    )
    for seed in range(8):
        objects = draw_objects(crops, 4, 20, generator(seed))
        areas = sorted(objects.target.sum((1, 2)).tolist())
        assert areas == [60.0, 600.0, 80.0 * 80.0]  # the large one fills its window
        assert objects.corner.min() >= 0 and objects.corner.max() <= 12
        small = objects.box[objects.target.sum((1, 2)) == 60][0]
        assert small.tolist() == [199.5, 5.5, 219.5, 17.5]


def test_rounds_without_a_new_point_are_the_last_one_and_some_between():
    device = torch.device("cpu")
    none = StageConfig("s", 1, rounds=5)
    assert _silent_rounds(none, generator(), device) == set()
    one = StageConfig("s", 1, rounds=5, silent_rounds=1)
    assert _silent_rounds(one, generator(), device) == {4}
    for seed in range(8):
        two = _silent_rounds(
            StageConfig("s", 1, rounds=11, silent_rounds=2), generator(seed), device
        )
        assert len(two) == 2 and 10 in two and min(two) >= 1
