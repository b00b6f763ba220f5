"""What a segmenter is given, and which candidate it takes; masks are tested in `tests/faces`."""

from __future__ import annotations

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.engine import Ask, PlacedMask, Segmented, View, Window
from napari_segment_anything.errors import ParameterError

from ..tiny import tiny_model

SIDE = 16


def test_what_is_not_a_predictor_a_model_or_a_prompt_is_named() -> None:
    model = tiny_model()
    with pytest.raises(ParameterError, match=r"is a Model; make one with Predictor\(model\)"):
        nsa.Segmenter(model)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="is a str; load one with load_model"):
        nsa.Predictor("default")  # type: ignore[arg-type]
    segmenter = nsa.Segmenter(nsa.Predictor(model))
    with pytest.raises(ParameterError, match=r"a prompt is a list; .* Prompts.from_points"):
        segmenter.segment(np.zeros((SIDE, SIDE)), [[5, 5]])  # type: ignore[list-item]
    with pytest.raises(nsa.ImageError, match=r"not Sample; give its \.image"):
        segmenter.segment(nsa.sample("coins"), nsa.Prompts.from_points([5, 5]))


def test_multimask_is_one_of_three() -> None:
    with pytest.raises(ParameterError, match="'auto', True or False"):
        nsa.Segmenter(nsa.Predictor(tiny_model()), multimask="yes")


def candidates(ask: Ask, *corners: tuple[int, int, int, int]) -> Segmented:
    """Rectangles as candidates, in order of preference; (0, 0, 0, 0) is empty."""
    drawn = {}
    for index, (top, left, bottom, right) in enumerate(corners):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[top:bottom, left:right] = True
        drawn[index] = PlacedMask.of(mask)
    return Segmented(
        ask, View(Window(0, 0, SIDE, SIDE)), None, np.zeros((len(corners), 1, 1)),
        np.linspace(0.9, 0.5, len(corners)), tuple(range(len(corners))), None, drawn,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("points", "inside", "best"),
    [
        ([], [], 1),  # no point: the first that is not empty
        ([(5, 5)], [True], 1),
        ([(5, 5), (9, 9)], [True, False], 2),  # the first agrees with one only
        ([(5, 5), (9, 9), (5, 7)], [True, False, True], 2),
        ([(14, 14)], [True], 1),  # all disagree: the one that is preferred
        ([(1, 1), (9, 9)], [True, False], 2),
    ],
)
def test_points_decide_before_preference(points, inside, best):
    ask = Ask(np.array(points, float).reshape(-1, 2), np.array(inside, bool))
    made = candidates(ask, (0, 0, 0, 0), (4, 4, 12, 12), (4, 4, 8, 8), (4, 4, 7, 6))
    assert made.best == best


def test_all_empty_is_the_preferred_one():
    ask = Ask(np.array([[5.0, 5.0]]), np.array([False]))
    assert candidates(ask, (0, 0, 0, 0), (0, 0, 0, 0)).best == 0
