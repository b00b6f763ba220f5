from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_segment_anything.checkpoints import Checkpoint, save_checkpoint
from napari_segment_anything.engine import Model, Predictor, Prompts, load_model
from napari_segment_anything.errors import CheckpointError, ParameterError
from napari_segment_anything.network.instance_decoder import (
    InstanceDecoder,
    InstanceDecoderConfig,
)

METADATA = {
    "auto_mode": "proposals",
    "everything": {"grid": {"points_per_side": 8}},
    "licence": "BSD-3-Clause",
}


@pytest.fixture
def checkpoint(network):
    return Checkpoint(copy.deepcopy(network), "tiny", "vit_tiny", "ab" * 32, METADATA)


def test_a_model_says_what_it_is_and_how_it_runs(checkpoint):
    model = Model.from_checkpoint(checkpoint, "cpu", "fp32")
    assert (model.precision, model.image_size, model.auto_mode) == ("fp32", 128, "proposals")
    assert model.everything_defaults("grid") == {"points_per_side": 8}
    assert model.everything_defaults("instances") == {}
    described = model.describe()
    assert described["precision"] == "fp32 (as asked)"
    assert described["licence"] == "BSD-3-Clause"
    assert model.instance_decoder is None


def test_an_instance_decoder_comes_along(network):
    decoder = InstanceDecoder(InstanceDecoderConfig(widths=(8, 8, 8, 8))).train()
    checkpoint = Checkpoint(network, "tiny", "vit", "a", instance_decoder=decoder)
    model = Model.from_checkpoint(checkpoint, "cpu", "fp32")
    assert model.instance_decoder is decoder
    assert not decoder.training


def test_a_saved_model_is_loaded(tmp_path, network, photo):
    path = tmp_path / "mine.safetensors"
    save_checkpoint(network, path, METADATA)
    model = load_model(path, device="cpu", precision="fp32")
    assert model.name == "mine"
    assert model.auto_mode == "proposals"
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    prompts = Prompts.from_points([40, 50])
    predictor = Predictor(model)
    found = predictor.predict(predictor.embed(photo), prompts)
    expected = Predictor(Model(network, "x", "vit", "f", torch.device("cpu")))
    wanted = expected.predict(expected.embed(photo), prompts)
    np.testing.assert_allclose(found.logits, wanted.logits, rtol=1e-4, atol=1e-5)


def test_wrong_wishes_are_found_before_anything_is_loaded(tmp_path):
    with pytest.raises(ParameterError):
        load_model(tmp_path / "missing.pt", precision="fp8")
    with pytest.raises(ParameterError):
        load_model(tmp_path / "missing.pt", device="abacus")
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "missing.pt", device="cpu")


def test_bf16_gives_nearly_the_same_masks(model, checkpoint, photo):
    half = Model.from_checkpoint(checkpoint, "cpu", "bf16")
    assert half.precision == "bf16"
    rows, cols = np.mgrid[10:80:15, 10:140:15]
    prompts = Prompts.each_point(np.stack([rows.ravel(), cols.ravel()], axis=1))
    masks = []
    for one in (model, half):
        predictor = Predictor(one)
        result = predictor.predict(predictor.embed(photo), prompts)
        assert result.logits.dtype == np.float32
        masks.append(result.masks)
    union = (masks[0] | masks[1]).sum((2, 3))
    agreement = (masks[0] & masks[1]).sum((2, 3)) / np.maximum(union, 1)
    assert np.median(agreement[union > 0]) > 0.95


def test_the_cpu_copy_is_made_once_and_equal(network):
    model = Model(network, "x", "vit", "f", torch.device("meta"))
    one, two = model.network_on(torch.device("cpu")), model.network_on(torch.device("cpu"))
    assert one is two
    assert one is not network
    pixels = torch.rand(1, 3, 100, 128) * 255
    with torch.inference_mode():
        expected = network.encode(pixels).embedding
    torch.testing.assert_close(
        model.encode(pixels, torch.device("cpu")).embedding, expected, rtol=0, atol=0
    )


def test_encoder_and_decoder_each_in_a_precision_of_their_own(checkpoint, photo, tmp_path):
    """Embeddings are shared with a model whose encoder is as exact; the model's name is not."""
    from napari_segment_anything.engine import EmbeddingCache, Predictor, Prompts

    made = {
        name: Model.from_checkpoint(copy.deepcopy(checkpoint), "cpu", name)
        for name in ("fp32", "fp32+bf16", "bf16+fp32", "bf16")
    }
    assert {name: each.precision for name, each in made.items()} == {name: name for name in made}
    assert made["fp32+bf16"].encoder_precision == "fp32"
    assert "fp32+bf16" in made["fp32+bf16"].describe()["precision"]
    prompts, results = Prompts.from_points([[40, 60]]), {}
    for name, each in made.items():
        predictor = Predictor(each, EmbeddingCache(tmp_path / each.encoder_precision))
        results[name] = predictor.predict(predictor.embed(photo), prompts).logits
    assert len(EmbeddingCache(tmp_path / "fp32")) == len(EmbeddingCache(tmp_path / "bf16")) == 1
    assert len({each.tobytes() for each in results.values()}) == 4
