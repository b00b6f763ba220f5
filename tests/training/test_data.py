"""Crops: aligned with their labels, repeatable, split by file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_segment_anything.training.augment import AugmentConfig, augment
from napari_segment_anything.training.cropping import CropConfig, CropSampler, cut
from napari_segment_anything.training.data import labelled_image, pixels
from napari_segment_anything.training.generated import generate
from napari_segment_anything.training.geometry import Geometry
from napari_segment_anything.training.paste import paste_objects
from napari_segment_anything.training.prefetch import Prefetch
from napari_segment_anything.training.shapes import shapes


def coded(side: int = 300):
    """An image whose gray level is 40 times its label."""
    labels = np.zeros((side, side + 40), np.int32)
    for k in range(1, 6):
        labels[10 * k : 10 * k + 150, 50 * k : 50 * k + 50] = k
    image = np.repeat((labels * 40)[..., None], 3, 2).astype(np.uint8)
    return labelled_image("coded", "coded", image, labels)


@pytest.mark.slow
def test_labels_stay_on_the_image_through_scaling_turning_and_mirroring():
    sampler = CropSampler([coded()], {"coded": 1.0}, seed=3)
    for step in range(6):
        crops = sampler.batch(step, 2, CropConfig(size=128))
        gray = crops.images[:, 0].float().unfold(1, 2, 2).unfold(2, 2, 2).mean((-1, -2))
        agree = ((gray / 40).round().long() == crops.labels).float().mean()
        assert agree > 0.95


def test_a_batch_is_a_function_of_seed_and_step():
    images = generate(3, seed=5)
    first, second = (CropSampler(images, {"generated": 1.0}, 9) for _ in range(2))
    a, b, c = first.batch(4, 2, CropConfig(64)), second.batch(4, 2, CropConfig(64)), None
    c = first.batch(5, 2, CropConfig(64))
    assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
    assert not torch.equal(a.images, c.images)


@pytest.mark.slow
def test_batches_cut_ahead_are_the_same():
    sampler = CropSampler(generate(3, seed=5), {"generated": 1.0}, 9)
    ahead = Prefetch(sampler, 2, CropConfig(64), 2, 12)
    for step in (4, 5, 6, 5, 9):
        assert torch.equal(ahead.batch(step).images, sampler.batch(step, 2, CropConfig(64)).images)
    ahead.close()


def test_a_whole_frame_has_labels_on_the_grid_of_its_logits():
    sampler = CropSampler([coded()], {"coded": 1.0}, 3, Geometry(frame=256, stride=4))
    crops = sampler.batch(0, 2, CropConfig(size=256, near=1.0))
    assert crops.labels.shape == (2, 64, 64) and crops.side == 256
    gray = crops.images[:, 0].float().unfold(1, 4, 4).unfold(2, 4, 4).mean((-1, -2))
    assert ((gray / 40).round().long() == crops.labels).float().mean() > 0.93


def test_small_images_are_padded_at_the_bottom_and_the_right():
    image = labelled_image("s", "s", np.full((512, 40, 3), 200, np.uint8), np.ones((512, 40), int))
    crops = CropSampler([image], {"s": 1.0}, 0).batch(0, 4, CropConfig(256, near=1.0))
    assert not crops.valid.all() and crops.valid[:, :, 0, 0].all()
    assert (crops.images[(~crops.valid).expand_as(crops.images)] == 0).all()
    outside = ~crops.valid[:, 0, ::2, ::2]
    assert (crops.labels[outside] == 0).all()


def test_stretch_takes_rgb_bytes_as_they_are_and_percentiles_of_the_rest():
    rgb = np.random.default_rng(0).integers(40, 90, (20, 20, 3)).astype(np.uint8)
    assert (pixels(rgb) == rgb).all()
    gray = np.linspace(1000, 3000, 10_000).reshape(100, 100).astype(np.uint16)
    out = pixels(gray)
    assert out.shape == (100, 100, 1) and out.min() == 0 and out.max() == 255
    assert abs(int(out[50, 0, 0]) - 127) <= 1


def test_augmentation_is_repeatable_bounded_and_keeps_gray_gray():
    x = (torch.rand(4, 1, 32, 32) * 255).expand(-1, 3, -1, -1)
    a = augment(x, AugmentConfig(), torch.Generator().manual_seed(1))
    b = augment(x, AugmentConfig(), torch.Generator().manual_seed(1))
    assert torch.equal(a, b) and a.min() >= 0 and a.max() <= 255
    assert torch.allclose(a[:, 0], a[:, 1], atol=1e-2)


def test_generated_images_are_a_function_of_the_seed():
    first, second = generate(2, 3), generate(2, 3)
    assert (first[1].image == second[1].image).all() and first[1].labels.max() >= 0


def touching_squares():
    labels = np.zeros((64, 96), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50], labels[40:44, 70:74] = 1, 2, 3
    return labels


def test_anchors_lie_in_their_objects_and_say_which_touch():
    labels = touching_squares()
    source = labelled_image("a", "a", (labels * 60).astype(np.uint8), labels)
    rows, cols, crowded = source.anchors.T
    assert labels[rows, cols].tolist() == [1, 2, 3] and crowded.tolist() == [1, 1, 0]


def test_crops_around_objects_reach_small_ones_as_often_as_large_ones():
    labels = np.zeros((400, 400), np.int32)
    labels[20:220, 20:220], labels[380:384, 380:384] = 1, 2
    source = labelled_image("a", "a", (labels * 60).astype(np.uint8), labels)
    seen = {}
    for share in (0.0, 1.0):
        config = CropConfig(size=64, near=0.0, wide=(1.0, 1.0), by_object=share)
        sampler = CropSampler([source], {"a": 1.0}, seed=1)
        crops = [sampler.batch(step, 4, config).labels for step in range(20)]
        seen[share] = sum(int((c == 2).flatten(1).any(1).sum()) for c in crops)
    assert seen[1.0] > 3 * max(seen[0.0], 1)


def test_of_incomplete_images_only_the_objects_are_known():
    labels = touching_squares()
    image = (labels * 60).astype(np.uint8)
    config = CropConfig(size=64)
    for complete in (True, False):
        seen = None if complete else np.zeros(labels.shape, bool)
        source = labelled_image("a", "a", image, labels, seen=seen)
        crops = CropSampler([source], {"a": 1.0}, seed=1).batch(0, 4, config)
        expected = torch.ones_like(crops.known) if complete else crops.labels > 0
        assert torch.equal(crops.known, expected)


def test_pasted_objects_are_whole_touch_others_and_carry_their_pixels():
    rng = np.random.default_rng(0)
    labels = np.zeros((200, 200), np.int32)
    for number, (row, col) in enumerate(rng.integers(10, 180, (12, 2)), start=1):
        labels[row : row + 12, col : col + 9] = number
    image = np.where(labels > 0, 200, 20).astype(np.uint8)
    source = labelled_image("a", "a", image, labels)
    geometry = Geometry(200, 2)
    config = CropConfig(size=96, stretch_sides=0.0)
    pasted = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        onto, other = cut(source, rng, config, geometry), cut(source, rng, config, geometry)
        after = paste_objects(onto, other, rng)
        new = after.labels > int(onto.labels.max())
        pasted += int(after.labels[new].unique().numel())
        assert torch.equal(after.labels[~new], onto.labels[~new])
        gray = after.image[0].float().unfold(0, 2, 2).unfold(1, 2, 2).mean((-1, -2))
        assert not bool(new.any()) or float((gray[new] > 100).float().mean()) > 0.9
        assert bool((after.interior[new] > 0).all())
    assert pasted > 10


def test_stains_change_in_bright_colour_images_alone():
    torch.manual_seed(0)
    still = AugmentConfig(*[0.0] * 9, stain=1.0)
    gray = torch.rand(1, 1, 16, 16).expand(-1, 3, -1, -1) * 255
    dark = torch.rand(1, 3, 16, 16) * 60
    bright = 150 + torch.rand(1, 3, 16, 16) * 100
    for image, changes in ((gray, False), (dark, False), (bright, True)):
        without = augment(image, AugmentConfig(*[0.0] * 10), torch.Generator().manual_seed(2))
        out = augment(image, still, torch.Generator().manual_seed(2))
        assert torch.allclose(out, without, atol=0.01) != changes
        assert out.min() >= 0 and out.max() <= 255


@pytest.mark.slow
def test_generated_shapes_are_labelled_repeatable_and_of_every_kind():
    first, second = shapes(6, 3), shapes(6, 3)
    assert {image.name.rpartition("-")[2] for image in first} == {
        "packed", "worms", "branching", "textured", "grains", "tissue"
    }  # fmt: skip
    for a, b in zip(first, second, strict=True):
        assert (a.image == b.image).all() and (a.labels == b.labels).all()
        assert len(a.anchors) >= 1
