"""What a segmenter takes; its masks are tested where they are shared, in `tests/faces`."""

from __future__ import annotations

import pytest

import napari_segment_anything as nsa
from napari_segment_anything.errors import ParameterError

from ..tiny import tiny_model


def test_a_model_is_not_a_predictor() -> None:
    with pytest.raises(ParameterError, match=r"Segmenter\(Predictor\(model\)\)"):
        nsa.Segmenter(tiny_model())


def test_multimask_is_one_of_three() -> None:
    with pytest.raises(ParameterError, match="'auto', True or False"):
        nsa.Segmenter(nsa.Predictor(tiny_model()), multimask="yes")
