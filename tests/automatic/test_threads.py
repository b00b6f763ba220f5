"""The number of threads changes sums in their last bits, and no more than that."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_segment_anything import load_model
from napari_segment_anything.engine import Predictor, Prompts
from napari_segment_anything.samples import sample


@pytest.mark.weights
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_scores_agree_between_one_thread_and_two(precision) -> None:
    image = sample("coins").image[:160, :160]
    predictor = Predictor(load_model("default", "cpu", precision))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            embedding = predictor.embed(image)
            prompts = Prompts.from_points([[54, 44], [54, 98], [110, 40], [8, 8]])
            found.append(predictor.predict(embedding, prompts))
    finally:
        torch.set_num_threads(before)
    one, two = found
    assert np.abs(one.scores - two.scores).max() < 1e-4
    assert (one.masks != two.masks).mean() < 1e-4
