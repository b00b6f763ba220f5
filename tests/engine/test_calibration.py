"""Quantisation to int8: which layers, by measurement; its checkpoint; where it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_segment_anything as nsa
from napari_segment_anything.engine import Model, Predictor, quantize
from napari_segment_anything.engine import device as devices
from napari_segment_anything.engine.device import choose_precision, has_int8, int8_fault
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.network import Sam, SamConfig
from napari_segment_anything.network.quantised import quantised_layers
from napari_segment_anything.training.initial import trainable

from ..network.oracle import SMALL, randomise

needs_int8 = pytest.mark.skipif(not has_int8(), reason="the processor has no VNNI")
FLOATS = nsa.Checkpoint


@pytest.fixture(scope="module")
def image():
    return nsa.sample("coins").image[:200, :256]


@pytest.fixture
def exact():
    sam = randomise(Sam(SamConfig(SMALL))).eval()
    return Model.from_checkpoint(FLOATS(sam, "small", "vit", "f" * 64), "cpu", "fp32")


def features(model, image):
    return Predictor(model).embed(image).features


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


@needs_int8
def test_a_checkpoint_of_its_own(exact, image, tmp_path):
    made = quantize(exact, [image])
    assert len(made.layers) == 16
    assert not any(each.kept for each in made.layers)
    path = nsa.save_checkpoint(
        made.checkpoint.network, tmp_path / "int8.safetensors", made.checkpoint.metadata
    )
    loaded = nsa.load_model(path, "cpu")
    assert loaded.precision.startswith("int8+")
    assert loaded.encoder_precision == loaded.precision
    assert loaded.fingerprint == made.checkpoint.fingerprint != exact.fingerprint
    assert loaded.metadata["int8"]["of"] == exact.fingerprint
    expected = features(exact, image)
    assert 0 < error(features(loaded, image), expected) < 0.05
    again = nsa.load_model(path, "cpu", "int8+fp32")
    made_here = Model.from_checkpoint(made.checkpoint, "cpu", "int8+fp32")
    assert torch.equal(features(again, image), features(made_here, image))
    # without its kernel the same weights run in floats
    restored = nsa.load_model(path, "cpu", "fp32")
    assert "rounded to int8" in restored.precision_reason
    assert not quantised_layers(restored.network.image_encoder)
    assert 0 < error(features(restored, image), expected) < 0.05
    assert not quantised_layers(exact.network.image_encoder)


@needs_int8
def test_a_large_channel_is_spread_and_bad_layers_stay_in_floats(exact, image):
    block = exact.network.image_encoder.blocks[1]
    # one channel far above the others, of which the product needs the small ones
    block.norm1.weight.data[5] = 3e4
    block.attn.qkv.weight.data[:, 5] = 0.0
    made = quantize(exact, [image])
    by_name = {each.name: each for each in made.layers}
    first = by_name["blocks.1.attn.qkv"]
    assert first.plain_error > 0.5
    assert first.smoothed
    assert first.error < 0.05
    fast = Model.from_checkpoint(made.checkpoint, "cpu", "int8+fp32")
    assert error(features(fast, image), features(exact, image)) < 0.1
    limit = sorted(each.error for each in made.layers)[10]
    strict = quantize(exact, [image], largest_error=limit)
    kept = [each.name for each in made.layers if each.error > limit]
    assert len(kept) == 5
    assert kept == [each.name for each in strict.layers if each.kept]
    assert strict.checkpoint.metadata["int8"]["kept in floats"] == kept
    assert len(quantised_layers(strict.checkpoint.network.image_encoder)) == 11


@needs_int8
def test_without_calibration(exact, image):
    sam = randomise(Sam(SamConfig(SMALL))).eval()
    fast = Model.from_checkpoint(FLOATS(sam, "small", "vit", "f" * 64), "cpu", "int8")
    assert fast.precision in ("int8+fp32", "int8+bf16")
    assert len(quantised_layers(fast.network.image_encoder)) == 16
    assert error(features(fast, image), features(exact, image)) < 0.05
    keys = [Predictor(m).embed(image).precision for m in (exact, fast)]
    assert keys == ["fp32", fast.precision]


@needs_int8
def test_refused_where_it_makes_no_sense(exact, image):
    with pytest.raises(ParameterError, match="consists of convolutions"):
        nsa.load_model("default", "cpu", "int8")
    with pytest.raises(ParameterError, match="convolutions"):
        quantize(nsa.load_model("default", "cpu", "fp32"), [image])
    with pytest.raises(ParameterError, match="few images"):
        quantize(exact, [])
    with pytest.raises(ParameterError, match="no linear layer"):
        quantize(exact, [image], largest_error=1e-6)
    made = quantize(exact, [image]).checkpoint
    with pytest.raises(ParameterError, match="train the model it was"):
        trainable(made.network, made.name)
    fast = Model.from_checkpoint(made, "cpu")
    with pytest.raises(ParameterError, match="in fp32"):
        quantize(fast, [image])


def test_refused_where_it_cannot_run(monkeypatch):
    assert "on cuda take auto" in int8_fault(torch.device("cuda"))
    with pytest.raises(ParameterError, match="on cuda"):
        choose_precision("int8", torch.device("cuda"))
    monkeypatch.setattr(devices, "_cpu_flags", lambda: {"avx2"})
    with pytest.raises(ParameterError, match="no VNNI"):
        nsa.load_model("vit_b", "cpu", "int8")
    with pytest.raises(ParameterError, match="for the image encoder"):
        choose_precision("fp32+int8", "cpu")
    monkeypatch.setenv(devices.AUTO_VARIABLE, "int8")
    with pytest.raises(ParameterError, match="takes no int8"):
        choose_precision("auto", "cpu")


@needs_int8
def test_a_processor_without_vnni_runs_the_checkpoint_in_floats(
    exact, image, tmp_path, monkeypatch
):
    made = quantize(exact, [image]).checkpoint
    path = nsa.save_checkpoint(made.network, tmp_path / "int8.safetensors")
    monkeypatch.setattr(devices, "_cpu_flags", lambda: {"avx2"})
    loaded = nsa.load_model(path, "cpu")
    assert loaded.precision == "fp32"
    assert np.isfinite(features(loaded, image).numpy()).all()
