"""Prompts on planes to objects through the stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_segment_anything import Prompts
from napari_segment_anything.engine import PlaneSource, View, Window
from napari_segment_anything.errors import FormatError, ImageError, ParameterError, PromptError
from napari_segment_anything.formats import open_labels
from napari_segment_anything.stacks import propagate, propagate_steps

from .helpers import LIMITS, Recording, balls, iou


def run(volume, prompts, model, **options):
    # cells of the stand-in's embedding are as large as its objects: they say little of them
    chosen = {"contrast_limits": LIMITS, "likeness_thresh": 0.0, **options}
    return propagate(volume, prompts, model, **chosen)


CENTRES = {12: {1: {"points": [[20, 20]]}, 2: {"box": [36, 32, 52, 48]}}}


def test_a_volume_from_one_click(model):
    image, truth = balls()
    result = run(image, {12: Prompts.from_points([20, 20])}, model)
    assert iou(result.labels == 1, truth == 1) > 0.85
    planes = np.flatnonzero((truth == 1).any((1, 2)))
    assert abs(result.planes[1][0] - planes[0]) <= 1
    assert abs(result.planes[1][-1] - planes[-1]) <= 1
    assert set(result.ends[1]) == {result.planes[1][0] - 1, result.planes[1][-1] + 1}
    assert result.labels.dtype == np.uint32
    assert result.prompted == {1: (12,)}
    assert set(result.scores[1]) == set(result.planes[1])
    assert result.table["area"][0] == (result.labels == 1).sum()


@pytest.mark.slow
def test_objects_by_points_boxes_and_masks_at_once(model):
    image, truth = balls()
    by_id = run(image, CENTRES, model)
    assert sorted(by_id.planes) == [1, 2]
    for number in (1, 2):
        assert iou(by_id.labels == number, truth == number) > 0.85
    by_labels = run(image, {10: truth[10]}, model)
    for number in (1, 2):
        assert iou(by_labels.labels == number, truth == number) > 0.85
        np.testing.assert_array_equal(by_labels.labels[10] == number, truth[10] == number)
        assert by_labels.scores[number][10] == 1
    by_mask = run(image, {10: {7: truth[10] == 2}}, model)
    assert list(by_mask.planes) == [7]
    only = run(image, CENTRES, model, objects=[2])
    assert list(only.planes) == [2]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis(model, axis):
    image, truth = balls((30, 40, 50), [(14, 20, 22)], [9])
    moved, expected = np.moveaxis(image, 0, axis), np.moveaxis(truth, 0, axis)
    middle = expected.take(14, axis)
    result = run(moved, {14: middle}, model, axis=axis)
    assert result.labels.shape == moved.shape
    assert iou(result.labels == 1, expected == 1) > 0.85


def test_a_plane_source_with_transposed_planes(model):
    image, truth = balls((20, 40, 64), [(10, 20, 40)], [8])
    source = PlaneSource(image, displayed=(2, 1), contrast_limits=LIMITS)
    assert source.shape == (64, 40)
    result = propagate(source, {10: Prompts.from_points([40, 20])}, model)
    assert iou(result.labels == 1, truth == 1) > 0.85


def test_channels_and_further_axes(model):
    image, truth = balls((16, 40, 40), [(8, 20, 20)], [6])
    channels = np.stack([image, np.zeros_like(image)], axis=1)
    result = run(channels, {8: Prompts.from_points([20, 20])}, model, channel_axis=1, channels=(0,))
    assert result.labels.shape == truth.shape
    assert iou(result.labels == 1, truth == 1) > 0.8
    movie = Recording(np.stack([image * 0, image, image * 0]))
    result = run(movie, {8: Prompts.from_points([20, 20])}, model, axes="TZYX", at=(1,))
    assert result.labels.shape == truth.shape
    assert iou(result.labels == 1, truth == 1) > 0.8
    with pytest.raises(ParameterError, match="at= needs an index"):
        run(movie, {8: Prompts.from_points([20, 20])}, model, axes="TZYX")


def test_only_planes_on_the_way_are_read(model):
    image, _ = balls((40, 64, 64), [(20, 30, 30)], [6])
    volume = Recording(image)
    propagate(volume, {20: Prompts.from_points([30, 30])}, model, contrast_limits=LIMITS)
    assert all(isinstance(key[0], int) for key in volume.reads)
    # the signature looks at small pieces of the first, middle and last plane
    whole = {key[0] for key in volume.reads}
    assert whole <= {0, 39, *range(12, 29)}


def test_direction(model):
    image, _ = balls()
    forward = run(image, {12: Prompts.from_points([20, 20])}, model, direction="forward")
    assert forward.planes[1][0] == 12
    assert forward.planes[1][-1] > 15
    backward = run(image, {12: Prompts.from_points([20, 20])}, model, direction="backward")
    assert backward.planes[1][-1] == 12


def test_it_ends_where_it_looks_like_something_else(model):
    image = np.full((20, 64, 64), 20, np.uint8)
    image[5:12, 16:48, 16:48] = 220
    image[12:, 16:48, 16:48] = 150
    seeds = {8: Prompts.from_points([30, 30])}
    result = run(image, seeds, model, likeness_thresh=0.8)
    assert result.planes[1] == tuple(range(5, 12))
    assert result.ends == {1: {4: "empty", 12: "likeness"}}
    assert run(image, seeds, model).planes[1] == tuple(range(5, 20))


def test_it_ends_where_it_changes_at_once(model):
    image = np.full((12, 64, 64), 20, np.uint8)
    image[:6, 24:40, 24:40] = 220
    image[6:, 4:60, 4:60] = 220
    seeds = {2: Prompts.from_points([30, 30])}
    assert run(image, seeds, model, max_area_change=4, overlap_thresh=0).ends == {1: {6: "area"}}
    found = run(image, seeds, model, max_area_change=40, overlap_thresh=0.5)
    assert found.ends == {1: {6: "overlap"}}
    assert run(image, seeds, model, pred_iou_thresh=0.99).ends[1][3] == "score"


def test_touching_objects_share_no_pixel(model):
    image, truth = balls((16, 48, 48), [(8, 18, 24), (8, 30, 24)], [7, 7])
    result = run(image, {8: truth[8]}, model)
    a, b = result.mask(1, 9), result.mask(2, 9)
    labels = result.labels[9]
    np.testing.assert_array_equal(labels > 0, a | b)
    assert not ((labels == 1) & ~a).any()


def two_prompts(image, truth):
    return {7: truth[7], 17: truth[17]}


def test_prompts_on_two_planes_meet(model):
    image, truth = balls((24, 64, 64), [(12, 30, 30)], [8])
    result = run(image, two_prompts(image, truth), model)
    assert iou(result.labels == 1, truth == 1) > 0.85
    for plane in (7, 17):
        np.testing.assert_array_equal(result.labels[plane], truth[plane])
    assert result.planes[1] == tuple(range(result.planes[1][0], result.planes[1][-1] + 1))


def test_where_they_disagree_they_meet_in_the_middle(model):
    image = np.full((21, 64, 64), 20, np.uint8)
    image[:, 10:30, 10:30] = 220
    image[:, 36:56, 36:56] = 220
    seeds = {0: {1: {"points": [[20, 20]]}}, 20: {1: {"points": [[46, 46]]}}}
    result = run(image, seeds, model)
    assert result.labels[9, 20, 20] and not result.labels[9, 46, 46]
    assert result.labels[12, 46, 46] and not result.labels[12, 20, 20]


class TestEdits:
    """A second run with the first as `previous`."""

    @pytest.mark.slow
    def test_equals_a_fresh_run_and_decodes_what_it_touches(self, model):
        image, truth = balls((30, 64, 64), [(14, 20, 20), (14, 44, 44)], [11, 11])
        first = run(image, {14: truth[14]}, model)
        edited = {14: truth[14], 18: {2: truth[18] == 2}}
        before = model.network.decoded
        second = run(image, edited, model, previous=first)
        work = model.network.decoded - before
        fresh = run(image, edited, model)
        np.testing.assert_array_equal(second.labels, fresh.labels)
        assert second.scores == fresh.scores
        assert second.ends == fresh.ends
        assert set(second.decoded) <= set(range(15, 30))
        assert 0 < work <= 30
        assert first.labels is not second.labels

    def test_a_prompt_taken_back(self, model):
        image, truth = balls((24, 64, 64), [(12, 30, 30)], [9])
        one = run(image, {12: truth[12]}, model)
        both = run(image, {12: truth[12], 16: truth[16]}, model, previous=one)
        back = run(image, {12: truth[12]}, model, previous=both)
        np.testing.assert_array_equal(back.labels, one.labels)
        assert back.planes == one.planes

    def test_an_object_taken_away_costs_nothing(self, model):
        image, truth = balls()
        first = run(image, {11: truth[11]}, model)
        before = model.network.decoded
        second = run(image, {11: truth[11] * (truth[11] == 2)}, model, previous=first)
        assert model.network.decoded == before
        assert second.decoded == ()
        assert not (second.labels == 1).any()
        np.testing.assert_array_equal(second.labels == 2, first.labels == 2)

    def test_nothing_changed(self, model):
        image, truth = balls()
        first = run(image, {11: truth[11]}, model)
        again = run(image, {11: truth[11]}, model, previous=first)
        assert again.decoded == again.changed == ()
        np.testing.assert_array_equal(again.labels, first.labels)

    def test_embeddings_are_still_there(self, model):
        image, truth = balls()
        first = run(image, {11: truth[11]}, model)
        before = model.network.encoded
        run(image, {11: truth[11], 13: truth[13]}, model, previous=first)
        assert model.network.encoded <= before + 2  # the planes next to the object's ends

    def test_of_something_else(self, model):
        image, truth = balls()
        first = run(image, {11: truth[11]}, model)
        with pytest.raises(ParameterError, match="leave it out"):
            run(image[:, ::-1], {11: truth[11]}, model, previous=first)
        with pytest.raises(ParameterError, match="leave it out"):
            run(image, {11: truth[11]}, model, previous=first, stiffness=3)


@pytest.mark.slow
def test_labels_in_a_store(model, tmp_path):
    image, truth = balls()
    expected = run(image, {11: truth[11]}, model)
    path = tmp_path / "labels.ome.zarr"
    result = run(image, {11: truth[11]}, model, output=path, axes="ZYX")
    assert isinstance(result.labels, zarr.Array)
    np.testing.assert_array_equal(result.labels[:], expected.labels)
    np.testing.assert_array_equal(open_labels(path).array[:], expected.labels)
    assert open_labels(path).axes == "ZYX"
    with pytest.raises(FormatError, match="already"):
        run(image, {11: truth[11]}, model, output=path, axes="ZYX")
    edited = {11: truth[11], 14: truth[14]}
    again = run(image, edited, model, output=path, axes="ZYX", previous=result)
    fresh = run(image, edited, model)
    np.testing.assert_array_equal(again.labels[:], fresh.labels)


def test_progress_and_cancelling(model):
    image, truth = balls()
    steps = propagate_steps(image, {11: truth[11]}, model, contrast_limits=LIMITS)
    seen = []
    for step in steps:
        seen.append(step)
        assert 0 <= step.done <= step.total
        if step.done == 3:
            assert step.partial.labels.any()
            steps.close()
            break
    assert [step.done for step in seen] == sorted(step.done for step in seen)


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([], "maps planes"),
        ({}, "no prompts"),
        ({99: Prompts.from_points([5, 5])}, "lies outside the volume"),
        ({1.5: Prompts.from_points([5, 5])}, "whole number"),
        ({3: Prompts.from_points([500, 5])}, "object 1 on plane 3.*outside"),
        ({3: np.zeros((5, 5), int)}, "shape"),
        ({3: np.zeros((64, 64))}, "label image of integers"),
        ({3: np.zeros((64, 64), int)}, "no prompts"),
        ({3: {0: np.ones((64, 64), bool)}}, "between 1 and"),
        ({3: {1: np.zeros((64, 64), bool)}}, "empty"),
        ({3: {1: np.ones((64, 64), int)}}, "bool mask"),
        ({3: {1: Prompts.each_point([[5, 5], [9, 9]])}}, "prompts of 2 objects"),
        ({3: Prompts.from_points([60, 60]), -21: Prompts.from_points([60, 60])}, "twice"),
        ({3: Prompts.from_points([60, 60])}, "gave no mask"),
    ],
)
def test_prompts_that_cannot_be_used(model, prompts, words):
    with pytest.raises(PromptError, match=words):
        run(balls()[0], prompts, model)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"direction": "up"}, ParameterError, "direction"),
        ({"pred_iou_thresh": 2}, ParameterError, "pred_iou_thresh"),
        ({"max_area_change": 1}, ParameterError, "max_area_change"),
        ({"stiffness": -1}, ParameterError, "stiffness"),
        ({"window_size": 0}, ParameterError, "window_size"),
        ({"axis": 3}, ParameterError, "axis 3 does not exist"),
        ({"axis": "Z"}, ParameterError, "no axis 'Z'"),
        ({"objects": [9]}, PromptError, "no prompts for object 9"),
        ({"axes": "ZY"}, ImageError, "name 2 dimensions"),
        ({"axes": "CYX"}, ImageError, "a stack has planes"),
    ],
)
def test_options_that_cannot_be_used(model, options, error, words):
    with pytest.raises(error, match=words):
        run(balls()[0], {12: Prompts.from_points([20, 20])}, model, **options)


@pytest.mark.slow
@pytest.mark.parametrize("best", [16.0, 100.0])
def test_objects_are_seen_at_the_size_that_the_model_wants(model, best):
    image, truth = balls()
    plain = run(image, CENTRES, model)
    sizes = {"least": 0.8 * best, "most": 1.2 * best, "best": best}
    model = replace(model, metadata={"focus": sizes})
    result = run(image, CENTRES, model)
    for number in (1, 2):
        assert iou(result.labels == number, truth == number) > 0.75
    embeddings = result._state.embeddings
    whole = View(Window.full(embeddings.volume.canvas))
    others = {place.view for place in embeddings.kept} - {whole}
    if best < 30:
        assert any(view.span is not None for view in others)
    else:
        assert others and all(view.window.width < 384 for view in others)
    # an edit decodes what it touches, from the same places
    again = run(image, {**CENTRES, 14: {1: truth[14] == 1}}, model, previous=result)
    assert len(again.decoded) < len(result.decoded)
    fixed = run(image, CENTRES, model, window_size=512)
    assert np.array_equal(fixed.labels, plain.labels)
