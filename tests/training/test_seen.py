"""Nothing that nobody has looked at has a loss: levels, crops, losses, simulated prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.progress import finish
from napari_segment_anything.training import prompts
from napari_segment_anything.training.config import StageConfig, TrainingConfig
from napari_segment_anything.training.cropping import CropConfig, CropSampler, cut
from napari_segment_anything.training.data import labelled_image
from napari_segment_anything.training.encoding import CropEncoder
from napari_segment_anything.training.geometry import Geometry
from napari_segment_anything.training.loading import load_images
from napari_segment_anything.training.losses import dice_loss, focal_loss, stage_dense_losses
from napari_segment_anything.training.paste import paste_objects
from napari_segment_anything.training.presets import settled
from napari_segment_anything.training.prompted_objects import draw_objects
from napari_segment_anything.training.prompts import error_points, mask_losses
from napari_segment_anything.training.seen import ASSUMED, BESIDE, SEEN, UNSEEN, seen_levels

from .small import small_sam

GEOMETRY = Geometry(128, 2)
CONFIG = TrainingConfig(model="x", options={"crop": {"size": 128}, "objects": 3, "rounds": 3})


def labels_of_two():
    labels = np.zeros((160, 160), np.int32)
    labels[40:60, 40:60], labels[100:120, 90:110] = 1, 2
    return labels


def partly_seen():
    """Two objects, and a corner that a person has looked at completely."""
    labels = labels_of_two()
    seen = np.zeros(labels.shape, bool)
    seen[:30, :70] = True
    image = np.where(labels > 0, 180, 40).astype(np.uint8)
    return labelled_image("a", "a", image, labels, seen=seen)


def batch(step: int = 0, size: int = 128):
    sampler = CropSampler([partly_seen()], {"a": 1.0}, 3, GEOMETRY)
    return sampler.batch(step, 3, CropConfig(size=size))


def test_levels_are_objects_a_ring_around_them_and_what_was_looked_at():
    labels, undecided = labels_of_two(), np.zeros((160, 160), bool)
    undecided[40:60, 60:80] = True  # perhaps a neighbour
    seen = np.zeros(labels.shape, bool)
    seen[150:, 150:] = True
    levels = seen_levels(labels, seen, undecided)
    assert (levels[labels > 0] == SEEN).all() and (levels[150:, 150:] == SEEN).all()
    assert levels[50, 37] == ASSUMED and levels[50, 62] == BESIDE  # within 7 pixels of the object
    assert levels[50, 30] == levels[50, 70] == levels[0, 0] == UNSEEN
    assert seen_levels(labels)[50, 37] == BESIDE  # nobody has said that it is background


def test_a_large_object_has_a_wider_ring():
    labels = np.zeros((200, 200), np.int32)
    labels[10:14, 10:14], labels[80:120, 80:120] = 1, 2
    levels = seen_levels(labels)
    assert levels[12, 7] == BESIDE and levels[12, 6] == UNSEEN
    assert levels[100, 70] == BESIDE


def test_seen_must_fit_the_labels():
    labels = labels_of_two()
    with pytest.raises(FormatError, match="'seen' is an array of booleans"):
        labelled_image("a", "a", labels.astype(np.uint8), labels, seen=np.zeros((3, 3), bool))


def test_arrays_may_come_with_what_was_seen():
    labels = labels_of_two()
    image, seen = labels.astype(np.uint8), np.zeros(labels.shape, bool)
    config = TrainingConfig(model="x")
    found = finish(load_images(config, None, [(image, labels), (image, labels, seen)]))
    assert found.train[0].seen is None and (found.train[1].seen[labels > 0] == SEEN).all()
    assert found.train[0].digest != found.train[1].digest
    with pytest.raises(ParameterError, match="or \\(image, labels, seen\\)"):
        finish(load_images(config, None, [(image, labels, seen, seen)]))


def test_crops_keep_levels_on_their_pixels():
    source = partly_seen()
    shown = np.repeat((source.seen * 100)[..., None], 3, 2)
    coded = replace(source, image=np.ascontiguousarray(shown))
    sampler = CropSampler([coded], {"a": 1.0}, 3, GEOMETRY)
    for step in range(4):
        crops = sampler.batch(step, 3, CropConfig(size=128))
        gray = crops.images[:, 0].float().unfold(1, 2, 2).unfold(2, 2, 2).mean((-1, -2))
        inside = crops.valid[:, 0, ::2, ::2]
        agree = ((gray / 100).round().long() == crops.seen)[inside]
        assert agree.float().mean() > 0.95


def test_crops_of_partly_seen_images_show_what_was_seen():
    for step in range(10):
        assert bool((batch(step, 64).seen > UNSEEN).flatten(1).any(1).all())


def test_the_dense_head_has_no_gradient_where_nobody_has_looked():
    crops = batch()
    side = crops.labels.shape[-1]
    heads = {
        "dense": torch.randn(3, 6, side, side, requires_grad=True),
        "coarse": torch.randn(3, 6, side // 4, side // 4, requires_grad=True),
    }
    options = StageConfig(
        "s", 1, encoder_learning_rate=1, touching_weight=1, box_iou_weight=1, separation_weight=1
    )
    sum(stage_dense_losses(heads, crops, options).values()).backward()
    for name, step in (("dense", slice(None)), ("coarse", slice(2, None, 4))):
        pull = heads[name].grad.abs().amax(1)
        known = crops.known[:, step, step]
        assert pull[~known].max() == 0 and (pull[known] > 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [False, True])
def test_the_decoder_has_no_gradient_where_nobody_has_looked(monkeypatch, boxed):
    network, crops, config = small_sam(), batch(), settled(CONFIG, small_sam())
    stage = config.stages[0]
    encode = CropEncoder(network, stage, config.augment, torch.device("cpu"))
    encoded = encode(crops, torch.Generator().manual_seed(0), learns=False)
    objects = draw_objects(crops, 3, 12, torch.Generator().manual_seed(0))
    rounds = []
    decode, correct = prompts.decode_windows, prompts.error_points

    def decoded(*arguments):
        logits, iou = decode(*arguments)
        logits.retain_grad()
        rounds.append(logits)
        return logits, iou

    def corrected(logits, target, generator, known):
        where, labels = correct(logits, target, generator, known)
        assert bool(known[torch.arange(len(where)), where[:, 0], where[:, 1]].all())
        return where, labels

    monkeypatch.setattr(prompts, "decode_windows", decoded)
    monkeypatch.setattr(prompts, "error_points", corrected)
    draw = torch.Generator().manual_seed(1)
    kind = "box" if boxed else "point"
    prompts._rounds(network, encoded, objects, kind, stage, draw, 1.0, None)
    assert objects.known.any() and not objects.known.all() and len(rounds) == stage.rounds
    for logits in rounds:
        unseen = ~objects.known[:, None].expand_as(logits)
        assert logits.grad[unseen].abs().max() == 0 and logits.grad[~unseen].abs().max() > 0


def test_losses_of_a_mask_ignore_what_is_unknown():
    target = torch.zeros(1, 8, 8)
    target[:, 2:5, 2:5] = 1
    known = torch.zeros(1, 8, 8, dtype=torch.bool)
    known[:, 1:6, 1:6] = True
    one = torch.randn(1, 4, 8, 8)
    other = torch.where(known[:, None], one, torch.randn(1, 4, 8, 8) * 9)
    iou = torch.full((1, 4), 0.5)
    for first in (True, False):
        results = [mask_losses(x, iou, target, first, False, known) for x in (one, other)]
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    everything = torch.ones_like(known)
    for loss in (focal_loss, dice_loss):
        assert torch.allclose(loss(one[:, 0], target), loss(one[:, 0], target, known=everything))


def test_corrections_are_never_asked_for_in_the_unknown():
    target = torch.zeros(1, 6, 6)
    target[0, 1:3, 1:3] = 1
    known = target > 0
    logits = torch.ones(1, 6, 6)  # spills everywhere that nobody has looked
    points, labels = error_points(logits, target, torch.Generator().manual_seed(0), known)
    assert labels.tolist() == [1] and target[0, points[0, 0], points[0, 1]] == 1


def test_nothing_is_pasted_onto_what_nobody_has_looked_at():
    rng = np.random.default_rng(0)
    labels = np.zeros((200, 200), np.int32)
    for number, (row, col) in enumerate(rng.integers(10, 180, (12, 2)), start=1):
        labels[row : row + 12, col : col + 9] = number
    image = np.where(labels > 0, 200, 20).astype(np.uint8)
    config = CropConfig(size=96, stretch_sides=0.0)
    pasted = 0
    half = np.zeros(labels.shape, bool)
    half[:, :100] = True
    source = labelled_image("a", "a", image, labels, seen=half)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        onto, other = (cut(source, rng, config, Geometry(200, 2)) for _ in range(2))
        after = paste_objects(onto, other, rng)
        new = after.labels > int(onto.labels.max())
        pasted += int(new.any())
        assert bool((onto.seen[new] == SEEN).all())
    assert pasted > 3
