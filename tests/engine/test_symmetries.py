"""Averaging dense maps over symmetric views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_segment_anything as nsa
from napari_segment_anything.engine.symmetries import (
    SYMMETRIES,
    symmetric_maps,
    turned,
    turned_back,
)
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.training.dense import encode_dense


def ideal(frame: torch.Tensor) -> torch.Tensor:
    """Dense maps of a frame whose gray levels are its labels, as a perfect encoder gives them."""
    labels = torch.zeros(1, 32, 32, dtype=torch.int64)
    found = frame[0, 0, ::2, ::2].long()
    labels[0, : found.shape[0], : found.shape[1]] = found
    targets = encode_dense(labels, torch.zeros(labels.shape, dtype=torch.uint8))
    return torch.cat([targets.foreground[:, None], targets.interior[:, None], targets.box], 1)


@pytest.mark.parametrize("shape", [(64, 64), (64, 41), (23, 64)])
def test_a_perfect_encoder_gives_the_same_maps_in_every_view(shape):
    frame = torch.zeros(1, 3, *shape)
    frame[..., 4:14, 6:12], frame[..., 4:22, 12:20] = 1, 2
    expected = ideal(frame)
    for count in range(1, 9):
        averaged = symmetric_maps(ideal, frame, count)
        assert torch.allclose(averaged, expected, atol=1e-5), count


def test_every_symmetry_is_undone_and_no_two_are_alike():
    x = torch.arange(2 * 6 * 4 * 6.0).reshape(2, 6, 4, 6)
    seen = set()
    for symmetry in SYMMETRIES:
        there = turned(x, *symmetry)
        seen.add(tuple(there[0, 0].flatten().tolist()) + tuple(there.shape))
        back = turned_back(there, *symmetry)
        assert torch.equal(back[:, :2], x[:, :2])
        assert torch.equal(back[:, 2:].sum(1), x[:, 2:].sum(1))
    assert len(seen) == 8


ONE_LAYER = {"crop_n_layers": 0, "reduced_n_layers": 0}


def test_everything_mode_turns_with_the_image(default_model):
    image = nsa.sample("coins").image[:128, :128]
    found = [
        nsa.segment_everything(view, default_model, "instances", symmetries=8, **ONE_LAYER)
        for view in (image, np.ascontiguousarray(image[::-1].T))
    ]
    first, second = (table.to_labels() > 0 for table in found)
    assert len(found[0]) == len(found[1]) > 0
    assert (second == first[::-1].T).mean() > 0.999


def test_models_without_dense_maps_say_so(default_model):
    with pytest.raises(ParameterError, match="symmetries"):
        nsa.segment_everything(np.zeros((64, 64)), default_model, "grid", symmetries=2)
    with pytest.raises(ParameterError, match="1 to 8"):
        nsa.Predictor(default_model).embed(np.zeros((64, 64)), symmetries=9)
