"""What is like an example is suggested."""

from __future__ import annotations

import numpy as np

from napari_segment_anything.engine import PlaneSource, Predictor, Window
from napari_segment_anything.finding import CandidatePool, describe_objects, likeness
from napari_segment_anything.formats.rle import encode
from napari_segment_anything.progress import finish
from napari_segment_anything.projects.similar import similar_suggestions
from tests.tiny import tiny_model

from ..finding.spots import spots


def test_bright_objects_are_found_by_a_bright_one() -> None:
    predictor = Predictor(tiny_model())
    image, masks = spots()
    traits = finish(describe_objects(masks, PlaneSource(image), predictor))
    score = np.full(len(masks), 0.8)
    found = likeness(traits[[0]], traits, score, score)
    bright = len(masks) // 2
    assert found[:bright].min() > found[bright:].max()
    candidates = CandidatePool(
        image.shape, tuple(encode(mask.within(Window.full(image.shape))) for mask in masks),
        score.astype(np.float32), score.astype(np.float32), np.zeros(len(masks), np.int16),
        traits, "f",
    )  # fmt: skip
    labels = np.zeros(image.shape, np.int32)
    masks[0].paste(labels, 1)
    made = similar_suggestions(candidates, traits[[0]], image.shape, labels=labels, version="v1")
    assert {item.source for item in made} == {"similar"}
    best = sorted(made, key=lambda item: -item.score)[: bright - 1]
    assert all(image[item.mask.decode()].mean() > 150 for item in best)
    assert made.at(16, 16) is None  # the example has its label already
