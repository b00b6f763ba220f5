"""Following objects by a plane's own instances, brightness and shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch.nn.functional as F
from scipy import ndimage

from napari_segment_anything.automatic.dense import DenseInstances
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.stacks import propagate
from napari_segment_anything.stacks.spacing import Spacing, plane_change
from napari_segment_anything.stacks.volume import Volume

from ..bright import GRID, SIDE
from .helpers import LIMITS, balls, iou, seen_planes


@pytest.fixture
def dense(model, monkeypatch):
    """The stand-in with a dense head: what is bright and connected is an instance."""

    def read(_, embedding, values):
        cells = F.pixel_shuffle(embedding.features[:, :16].float(), 4)[0, 0].numpy()
        rows, cols = (-(-n * 4 * GRID // SIDE) for n in embedding.frame_shape)
        labels, count = ndimage.label(cells[:rows, :cols] > 0.5)
        nothing = np.zeros((count, 4), np.float32)
        scores = np.ones(count, np.float32)
        return DenseInstances(labels.astype(np.int32), scores, nothing, nothing[:, :2]), None, 4

    package = "napari_segment_anything.stacks"
    for name in ("dense_following", "methods"):
        monkeypatch.setattr(f"{package}.{name}.dense_head", lambda _: "dense")
    monkeypatch.setattr(f"{package}.dense_following.read_instances", read)
    monkeypatch.setattr(f"{package}.axis_reach.plane_maps", seen_planes)
    return model


def follow(image, seeds, model, **options):
    return propagate(image, seeds, model, **{"contrast_limits": LIMITS, "axes": "ZYX", **options})


@pytest.mark.slow
def test_balls_are_followed_to_their_ends(dense):
    image, truth = balls()
    seeds = {12: {1: truth[12] == 1}, 10: {2: truth[10] == 2}}
    result = follow(image, seeds, dense, anisotropy=1.0)
    for number in (1, 2):
        planes = np.flatnonzero((truth == number).any((1, 2)))
        assert iou(result.labels == number, truth == number) > 0.8
        assert abs(result.planes[number][0] - planes[0]) <= 1
        assert abs(result.planes[number][-1] - planes[-1]) <= 1
    assert all(0 <= score <= 1 for found in result.scores.values() for score in found.values())


def test_it_does_not_run_on_into_the_object_above(dense):
    """Two balls that touch in the middle of their planes: no plane between them is dark."""
    image, truth = balls((30, 64, 64), ((9, 30, 30), (22, 30, 30)), (8, 8))
    result = follow(image, {9: {1: truth[9] == 1}}, dense)
    assert abs(result.planes[1][-1] - 16) <= 3
    assert iou(result.labels == 1, truth == 1) > 0.7


def test_outlines_keep_the_distance_from_instances_that_the_prompt_has(dense):
    image, truth = balls()
    wide = np.stack([ndimage.binary_dilation(plane == 1, iterations=3) for plane in truth])
    result = follow(image, {12: {1: wide[12]}}, dense)
    assert iou(result.mask(1, 11), wide[11]) > 0.75
    assert iou(result.mask(1, 11), wide[11]) > iou(result.mask(1, 11), truth[11] == 1)


@pytest.mark.slow
def test_frames_of_a_time_lapse_do_not_shrink(dense):
    rows, cols = np.indices((64, 96))
    truth = np.stack([(rows - 30) ** 2 + (cols - 20 - 2 * t) ** 2 < 100 for t in range(20)])
    image = (20 + 200 * truth).astype(np.uint8)
    result = follow(image, {4: {1: truth[4]}}, dense, axes="TYX")
    assert result.planes[1] == tuple(range(20))
    assert min(iou(result.mask(1, t), truth[t]) for t in range(20)) > 0.7


@pytest.mark.slow
def test_the_farther_apart_planes_are_the_sooner_objects_end(dense):
    image = np.full((40, 64, 64), 20, np.uint8)
    image[:, 22:42, 22:42] = 220
    seeds = {20: {1: image[20] > 100}}
    near, far = (follow(image, seeds, dense, anisotropy=value) for value in (0.5, 4))
    assert len(far.planes[1]) < len(near.planes[1])


@pytest.mark.slow
def test_an_edit_decodes_only_what_it_touches(dense):
    image, truth = balls((30, 64, 64), ((9, 20, 20), (20, 44, 40)), (8, 7))
    seeds = {9: {1: truth[9] == 1}, 20: {2: truth[20] == 2}}
    first = follow(image, seeds, dense)
    second = follow(image, {**seeds, 12: {1: truth[12] == 1}}, dense, previous=first)
    again = follow(image, {**seeds, 12: {1: truth[12] == 1}}, dense)
    np.testing.assert_array_equal(second.labels, again.labels)
    assert len(second.decoded) < len(first.decoded)


@pytest.mark.slow
def test_an_object_prompted_near_its_end_goes_on_as_far_as_it_is_seen_to(dense, monkeypatch):
    image, truth = balls((30, 64, 64), ((15, 32, 32),), (9,))
    seeds = {9: {1: truth[9] == 1}}
    result = follow(image, seeds, dense)
    monkeypatch.setattr("napari_segment_anything.stacks.spacing.THICK", 99)
    alone = follow(image, seeds, dense)
    found, before = (iou(each.labels == 1, truth == 1) for each in (result, alone))
    assert found > before + 0.1
    assert result.mask(1, 14).sum() > 1.2 * truth[9].sum()


@pytest.mark.slow
def test_between_two_planes_with_prompts_one_section_turns_into_the_other(dense):
    """A bar that becomes wide where hardly anything is seen: brightness does not tell its edge."""
    image = np.full((24, 64, 64), 100, np.uint8)
    truth = np.zeros(image.shape, bool)
    for plane in range(4, 20):
        truth[plane, 26:38, 20 : 28 + plane] = True
    image += np.random.default_rng(0).integers(0, 12, image.shape, np.uint8)
    image[:, 26:38, 20:30] += 80
    ends = {5: {1: truth[5]}, 18: {1: truth[18]}}
    both = follow(image, ends, dense)
    alone = follow(image, {5: ends[5]}, dense)
    assert set(range(5, 19)) <= set(both.planes[1])
    found = [iou(both.mask(1, plane), truth[plane]) for plane in range(6, 18)]
    assert min(found) > 0.7
    assert np.mean(found) > np.mean([iou(alone.mask(1, p), truth[p]) for p in range(6, 18)])


@pytest.mark.slow
@pytest.mark.parametrize("drift", [0, 3])
def test_a_prompt_on_another_plane_is_followed_as_if_both_had_been_given_at_once(dense, drift):
    """Also where the object is seen in other windows as it moves across a larger plane."""
    rows, cols = np.indices((64, 200))
    truth = np.stack(
        [(rows - 30) ** 2 + (cols - 40 - drift * z) ** 2 < 144 - (z - 14) ** 2 for z in range(30)]
    )
    image = (20 + 200 * truth).astype(np.uint8)
    image += np.random.default_rng(0).integers(0, 30, image.shape, np.uint8)
    options = {"window_size": 80} if drift else {}
    seeds = {10: {1: truth[10]}}
    first = follow(image, seeds, dense, **options)
    for plane in (18, 14):
        seeds = {**seeds, plane: {1: truth[plane]}}
        first = follow(image, seeds, dense, previous=first, **options)
        again = follow(image, seeds, dense, **options)
        np.testing.assert_array_equal(first.labels, again.labels)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "dense"}, "no dense head"),
        ({"method": "magic"}, "method must be one of"),
        ({"anisotropy": 2.0}, "method='dense' only"),
    ],
)
def test_methods_that_a_model_cannot_do(model, options, words):
    image, truth = balls()
    with pytest.raises(ParameterError, match=words):
        follow(image, {12: truth[12]}, model, **options)


def test_anisotropy_is_above_0(dense):
    image, truth = balls()
    with pytest.raises(ParameterError, match="anisotropy must be above 0"):
        follow(image, {12: truth[12]}, dense, anisotropy=0)


def test_how_much_planes_change():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((40, 80, 80)), (4, 2, 2))
    rough = ndimage.gaussian_filter(rng.random((40, 80, 80)), (1, 2, 2))
    slow, quick = (
        plane_change(Volume.of((2000 * stack).astype(np.uint16)), ()) for stack in (smooth, rough)
    )
    assert 0.2 < slow < 0.6 < quick < 3.5
    stiff, soft = (Spacing.of(Volume.of((2000 * s).astype(np.uint16)), ()) for s in (smooth, rough))
    assert stiff.rigidity > 1 > soft.rigidity
    assert stiff.distance < soft.distance
    assert Spacing.of(Volume.of(smooth, axes="TYX"), ()).distance == 0
    assert plane_change(Volume.of(np.zeros((9, 64, 64), np.uint8)), ()) == 1
