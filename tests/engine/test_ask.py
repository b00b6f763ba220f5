"""Prompts of one object, as the mask decoder takes them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.engine import Ask, Predictor, Window
from napari_segment_anything.engine.predictor import decoder_arguments, group_arrays, groups_of
from napari_segment_anything.engine.prompts import Prompts
from napari_segment_anything.errors import PromptError

from ..tiny import tiny_model

WINDOW = Window(10, 20, 40, 50)


@pytest.fixture(scope="module")
def embedding():
    image = np.random.default_rng(0).integers(0, 256, (80, 100), np.uint8)
    return Predictor(tiny_model()).embed(image, window=WINDOW)


def ask(points=(), inside=(), **others):
    return Ask(np.array(points, float).reshape(-1, 2), np.array(inside, bool), **others)


@pytest.mark.parametrize(
    "item",
    [
        {"points": [[12.3, 30]]},
        {"points": [[12.3, 30], [40, 60]], "labels": [1, 0]},
        {"box": [11, 21.7, 49, 69]},
        {"points": [[40, 60]], "labels": [0], "box": [11, 21.7, 49, 69]},
        {"points": [[40, 60]], "mask": np.full((32, 32), 2.5)},
    ],
)
def test_it_is_what_prompts_become(embedding, item):
    prompts = Prompts.from_objects([item])
    (group,) = groups_of(prompts)
    wanted = decoder_arguments(embedding, group_arrays(prompts, group), True)
    (single,) = Ask.each(prompts)
    arrays = {name: np.stack([array]) for name, array in single.seen_in(embedding).items()}
    found = decoder_arguments(embedding, arrays, True)
    assert found.keys() == wanted.keys()
    assert all(found[name].equal(wanted[name]) for name in wanted)


def test_negative_points_outside_the_window_are_left_out(embedding):
    seen = ask([(12, 30), (70, 30)], [True, False]).seen_in(embedding)
    assert seen["points"].tolist() == [[12, 30]] and seen["labels"].tolist() == [True]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ask([(70, 30)], [True]), "outside what is decoded, rows 10 to 49 and columns 20 to 69"),
        (ask(box=(5.0, 30.0, 40.0, 60.0)), "outside what is decoded"),
        (ask([(12, 30)], [False]), "only negative points"),
    ],
)
def test_other_prompts_are_inside(embedding, wrong, message):
    with pytest.raises(PromptError, match=message):
        wrong.seen_in(embedding)
