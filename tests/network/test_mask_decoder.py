"""The mask decoder's shortcuts give what the plain computation gives."""

from __future__ import annotations

import copy

import pytest
import torch

from napari_segment_anything.network import Sam, SamConfig
from napari_segment_anything.network.mask_decoder import cells_of, unfold_cells

from .oracle import SMALL, randomise

POINT = {"coords": torch.tensor([[[40.0, 60.0]]]), "labels": torch.ones(1, 1)}


@pytest.fixture
def sam():
    return randomise(Sam(SamConfig(SMALL))).eval().requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixels_come_out_in_order(sam, dtype):
    upscaling = sam.mask_decoder.output_upscaling.to(dtype)
    cells, classifiers = torch.randn(6, 5, 256).to(dtype), torch.randn(3, 32)
    plain = classifiers.to(dtype) @ upscaling(cells.flatten(0, 1)).flatten(0, -2).T
    expected = unfold_cells(plain.float()[None], 6, 5)[0]
    found = upscaling.classified(cells, classifiers)
    assert found.dtype == torch.float32
    assert torch.allclose(
        found, expected, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5
    )


@pytest.mark.parametrize("count", [1, 2])
def test_cells_are_contiguous(count):
    maps = torch.randn(count, 8, 3, 5)
    found = cells_of(maps, torch.bfloat16)
    assert found.is_contiguous()
    assert torch.equal(found, maps.flatten(2).transpose(1, 2).bfloat16())


def test_a_kept_embedding_is_not_taken_for_another(sam):
    fresh = copy.deepcopy(sam)
    first, second = torch.randn(2, 1, 256, 16, 16)
    mask = torch.randn(1, 1, 64, 64)
    steps = [(first, {}), (second, {}), (second, {"masks": mask}), (second, {}), (first, {})]
    with torch.inference_mode():
        for embedding, more in steps:
            found = sam.decode(embedding, **POINT, **more)
            expected = copy.deepcopy(fresh).decode(embedding, **POINT, **more)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert copy.deepcopy(sam).mask_decoder._last is None
        sam.set_precision(torch.bfloat16)
        fresh.set_precision(torch.bfloat16)
        found, expected = (each.decode(first, **POINT)[0] for each in (sam, fresh))
        assert torch.equal(found, expected)
