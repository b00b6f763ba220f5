"""All instances of a concept in a stack."""

from __future__ import annotations

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.finding import Query

from .spots import GRID, spots
from .test_find import Bright


@pytest.fixture(scope="module")
def volume() -> tuple[np.ndarray, list]:
    image, masks = spots()
    return np.stack([image] * 3), masks


def test_instances_are_linked_through_the_planes(predictor, volume) -> None:
    stack, masks = volume
    result = nsa.find_stack(stack, "disk", predictor.model, finder=Bright(), min_extent=1)
    labels = np.asarray(result.labels)
    assert labels.shape == stack.shape
    assert len(result.table["label"]) == len(masks) // 2
    for mask in masks[: len(masks) // 2]:
        row, col = mask.window.row + mask.window.height // 2, mask.window.col + 6
        assert len(np.unique(labels[:, row, col])) == 1 and labels[0, row, col] > 0


def test_examples_in_one_plane_are_learned_once(predictor, volume) -> None:
    stack, masks = volume
    learned = []

    class Watched(Bright):
        def learn(self, query, masks, source, predictor):
            learned.append((query, len(masks)))
            return (yield from super().learn(query, masks, source, predictor))

    result = nsa.find_stack(
        stack, model=predictor.model, examples=[masks[-1]], plane=2, finder=Watched(), min_extent=1
    )
    assert learned == [(Query("", (masks[-1],)), 1)]
    labels = np.asarray(result.labels)
    row, col = masks[-1].window.row + 6, masks[-1].window.col + 6
    assert labels[2, row, col] and not labels[0, row, col]  # a dim one: found as an example only


def test_own_features_find_through_a_stack(predictor, volume) -> None:
    stack, masks = volume
    result = nsa.find_stack(
        stack[:2], model=predictor.model, examples=[masks[0]], min_extent=1, **GRID
    )
    row, col = masks[0].window.row + 6, masks[0].window.col + 6
    assert np.asarray(result.labels)[0, row, col] > 0


def test_what_does_not_work_is_said(predictor, volume) -> None:
    stack, masks = volume
    finder = Bright()
    with pytest.raises(nsa.ParameterError, match="plane 9 does not exist"):
        nsa.find_stack(stack, "x", predictor.model, finder=finder, plane=9)
    finder.elsewhere = False
    with pytest.raises(nsa.ParameterError, match="add words"):
        nsa.find_stack(stack, examples=masks[:1], model=predictor.model, finder=finder)
    with pytest.raises(nsa.SegmentAnythingError, match="likeness_tresh"):
        nsa.find_stack(stack, "x", predictor.model, finder=finder, likeness_tresh=1)


def test_a_run_into_a_store_is_another_with_other_words(predictor, volume, tmp_path) -> None:
    stack, _ = volume
    options = {"finder": Bright(), "output": tmp_path / "a.ome.zarr", "min_extent": 1}
    nsa.find_stack(stack, "disk", predictor.model, **options)
    with pytest.raises(nsa.SegmentAnythingError):
        nsa.find_stack(stack, "ring", predictor.model, **options)
