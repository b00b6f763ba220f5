"""Encoders of other families in int8, by the same code as the first SAM's."""

from __future__ import annotations

import pytest

import napari_segment_anything as nsa
from napari_segment_anything.engine.device import has_int8
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.network.quantised import quantised_layers
from tests.families.tiny import tiny_edgetam, tiny_sam2, tiny_sam3, tiny_sam_hq

pytestmark = pytest.mark.skipif(not has_int8(), reason="the processor has no VNNI")


def made(write, folder):
    folder.mkdir()
    write(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("write", [tiny_sam2, tiny_sam3, tiny_sam_hq])
def test_embeddings_stay_close(write, tmp_path):
    folder = made(write, tmp_path / "model")
    image = nsa.sample("coins").image[:100, :120]
    exact, fast = (nsa.load_model(folder, "cpu", each) for each in ("fp32", "int8+fp32"))
    assert len(quantised_layers(fast.network.image_encoder)) >= 8
    expected, found = (nsa.Predictor(each).embed(image).features for each in (exact, fast))
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.05


@pytest.mark.slow
def test_refused_for_convolutions(tmp_path):
    folder = made(tiny_edgetam, tmp_path / "model")
    with pytest.raises(ParameterError, match="consists of convolutions"):
        nsa.load_model(folder, "cpu", "int8")
