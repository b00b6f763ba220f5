"""The mask refiner: starts as nothing, keeps objects apart, learns what the dense head knows."""

from __future__ import annotations

import pytest
import torch

from napari_segment_anything.network import MicroConfig, Sam, SamConfig
from napari_segment_anything.network.refiner import MaskRefiner, _agreement, _depth, box_prior

SIDE = 32


def maps_of(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """What a perfect dense head says of filled boxes (top, left, bottom, right) in cells."""
    maps = torch.zeros(1, 6, SIDE, SIDE)
    maps[:, :2] = -6.0
    maps[:, 2:] = 1.0
    grid = torch.arange(SIDE) * 2 + 0.5
    for top, left, bottom, right in boxes:
        where = (0, slice(None), slice(top, bottom), slice(left, right))
        inside = torch.stack(
            [
                (grid[top:bottom, None] - (2 * top - 0.5)).expand(-1, right - left),
                (grid[None, left:right] - (2 * left - 0.5)).expand(bottom - top, -1),
                ((2 * bottom - 0.5) - grid[top:bottom, None]).expand(-1, right - left),
                ((2 * right - 0.5) - grid[None, left:right]).expand(bottom - top, -1),
            ]
        )
        maps[where] = torch.cat([torch.full_like(inside[:2], 6.0), inside])
    return maps


def blurred(top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    """Logits of a decoder that finds a box's place but not its edge: a wide round hill."""
    rows = torch.arange(SIDE)[:, None] - (top + bottom - 1) / 2
    cols = torch.arange(SIDE)[None] - (left + right - 1) / 2
    radius = 0.75 * max(bottom - top, right - left)
    return 3 - 3 * (rows.square() + cols.square()).sqrt() / radius


def refiner(trained: bool = True) -> MaskRefiner:
    torch.manual_seed(0)
    made = MaskRefiner(8)
    if trained:
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_a_fresh_refiner_changes_nothing():
    logits, iou = torch.randn(3, 4, SIDE, SIDE) * 5, torch.rand(3, 4)
    coords = torch.rand(3, 2, 2) * 60
    refined, gained = refiner(False)(
        logits, iou, maps_of((4, 4, 12, 12)), coords, torch.tensor([[1, 0]] * 3)
    )
    assert torch.equal(refined, logits) and torch.equal(gained, iou)


def test_agreement_and_depth_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 2.0, 4.0, 6.0], [8.0, 8.0, 9.0, 9.0]]).T
    [agreement] = _agreement(boxes, torch.tensor([[0.0, 0.0, 4.0, 4.0]]))
    assert agreement.tolist() == pytest.approx([1, 8 / 24, 0])
    # cells lie at 2 i + 0.5; a box of 16 x 8 from the corner: quarters of its longer side
    rows, cols = torch.tensor([0, 2, 2]), torch.tensor([1, 1, 9])
    depth = _depth(rows, cols, torch.tensor([-0.5, -0.5, 15.5, 7.5]))
    assert depth.tolist() == pytest.approx([1 / 4, 3 / 4, -1])


def test_objects_and_masks_do_not_influence_each_other():
    maps = maps_of((2, 2, 10, 10), (14, 12, 26, 30))
    made = refiner()
    logits = torch.stack([blurred(2, 2, 10, 10), blurred(14, 12, 26, 30)])[:, None].repeat(
        1, 4, 1, 1
    )
    logits += torch.randn(logits.shape)
    iou = torch.rand(2, 4)
    coords, labels = torch.tensor([[[12.0, 12.0]], [[40.0, 40.0]]]), torch.ones(2, 1)
    boxes = torch.tensor([[3.5, 3.5, 19.5, 19.5], [23.5, 27.5, 59.5, 51.5]])
    together, scores = made(logits, iou, maps, coords, labels, boxes)
    for index in range(2):
        one = slice(index, index + 1)
        alone, score = made(logits[one], iou[one], maps, coords[one], labels[one], boxes[one])
        assert torch.equal(alone[0], together[index]) and torch.equal(score[0], scores[index])
    # a mask's own part does not depend on which others are asked for, where both are looked at
    three, some = made(logits[:, 1:], iou[:, 1:], maps, coords, labels, boxes, kinds=slice(1, None))
    near = (logits > 0).all(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(three[near], together[:, 1:][near])
    assert some.shape == (2, 3)


def test_maps_for_each_object_are_taken_one_by_one():
    first, second = maps_of((2, 2, 10, 10)), maps_of((4, 6, 14, 16))
    logits = torch.stack([blurred(2, 2, 10, 10), blurred(4, 6, 14, 16)])[:, None]
    iou, made = torch.rand(2, 1), refiner()
    both, _ = made(logits, iou, torch.cat([first, second]), kinds=slice(0, 1))
    assert torch.equal(both[1:], made(logits[1:], iou[1:], second, kinds=slice(0, 1))[0])


def test_far_from_the_object_logits_stay():
    logits = torch.full((1, 1, SIDE, SIDE), -20.0)
    logits[0, 0, 2:10, 2:10] = 2
    coords, labels = torch.tensor([[[12.0, 12.0]]]), torch.ones(1, 1)
    maps = maps_of((2, 2, 10, 10), (20, 20, 30, 30))
    refined, _ = refiner()(logits, torch.ones(1, 1), maps, coords, labels, kinds=slice(0, 1))
    assert torch.equal(refined[..., 16:, 16:], logits[..., 16:, 16:])
    assert not torch.equal(refined, logits)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["point", "box", "neither"])
def test_it_learns_where_objects_end(kind):
    boxes = [(3, 3, 13, 11), (4, 12, 12, 28), (16, 3, 30, 9), (17, 14, 28, 29)]
    maps, made = maps_of(*boxes), refiner(False)
    true = torch.zeros(len(boxes), SIDE, SIDE)
    for index, (top, left, bottom, right) in enumerate(boxes):
        true[index, top:bottom, left:right] = 1
    logits = torch.stack([blurred(*box) for box in boxes])[:, None]
    iou = torch.full((len(boxes), 1), 0.5)
    edges = torch.tensor(boxes).float() * 2 - 0.5
    prompts: dict[str, torch.Tensor] = {}
    if kind == "box":
        prompts = {"boxes": edges[:, [1, 0, 3, 2]]}
    elif kind == "point":
        middle = (edges[:, :2] + edges[:, 2:]) / 2
        prompts = {"coords": middle.flip(1)[:, None], "labels": torch.ones(len(boxes), 1)}

    def quality(found: torch.Tensor) -> torch.Tensor:
        mask = found[:, 0] > 0
        return (mask & (true > 0)).sum((1, 2)) / (mask | (true > 0)).sum((1, 2))

    assert quality(logits).mean() < 0.75
    optimizer = torch.optim.Adam(made.parameters(), 0.02)
    for _ in range(120):
        refined, predicted = made(logits, iou, maps, **prompts, kinds=slice(0, 1))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(refined[:, 0], true)
        loss = loss + (predicted[:, 0] - quality(refined)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    refined, predicted = made(logits, iou, maps, **prompts, kinds=slice(0, 1))
    assert quality(refined).mean() > 0.95
    assert (predicted[:, 0] - quality(refined)).abs().mean() < 0.1


def test_a_box_decides_where_the_network_does_not_know():
    # 16 x 24 cells from the corner; cells lie at 2 i + 0.5
    box = torch.tensor([-0.5, -0.5, 47.5, 31.5])
    rows = torch.arange(SIDE)[:, None] - 7.5
    cols = torch.arange(SIDE)[None] - 11.5
    ellipse = (rows / 8).square() + (cols / 12).square() < 1
    unsure = torch.where(ellipse, 0.5, -0.5)[None]
    unsure[0, 16:], unsure[0, :, 24:] = -6.0, -6.0
    unsure[0, 7, 11], unsure[0, 0, 0] = -0.5, 0.5  # wrong in the middle and in the corner
    found = unsure + box_prior(unsure, box)
    assert torch.equal(found[0] > 0, ellipse)
    # one that is sure is left as it is, and so is one that is unlike an ellipse
    sure = torch.where(unsure > 0, 9.0, -9.0)
    assert torch.equal(sure + box_prior(sure, box) > 0, sure > 0)
    worm = torch.where((rows - cols).abs() < 2, 0.5, -6.0)[None]
    assert torch.equal(box_prior(worm, box), torch.zeros_like(worm))
    # only with a box
    logits, iou, maps = unsure[None], torch.ones(1, 1), maps_of((0, 0, 16, 24))
    given, _ = refiner(False)(logits, iou, maps, boxes=box[None], kinds=slice(0, 1))
    torch.testing.assert_close(given[0], found)


def test_a_network_with_a_refiner_needs_the_maps():
    config = MicroConfig(64, widths=(8, 16, 16, 32), attention_blocks=2, heads=4)
    torch.manual_seed(0)
    network = Sam(SamConfig(config, refiner_width=8)).eval()
    with torch.no_grad():
        output = network.encode(torch.rand(1, 3, 64, 64) * 255)
        prompt = {"coords": torch.tensor([[[20.0, 20.0]]]), "labels": torch.ones(1, 1).int()}
        with pytest.raises(ValueError, match="give the encoder"):
            network.decode(output.embedding, **prompt)
        logits, iou = network.decode(
            output.embedding, **prompt, heads=output.heads, return_all=True
        )
        plain = Sam(SamConfig(config)).eval()
        state = network.state_dict()
        plain.load_state_dict({k: v for k, v in state.items() if "mask_refiner" not in k})
        same, score = plain.decode(output.embedding, **prompt, return_all=True)
    # untrained it adds nothing, and every other key is as published
    assert torch.equal(logits, same) and torch.equal(iou, score)
