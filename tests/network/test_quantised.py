"""Linear layers in int8."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_segment_anything.engine.device import has_int8
from napari_segment_anything.network import Sam, SamConfig, TinyViTConfig
from napari_segment_anything.network.quantised import (
    Int8Linear,
    linear_layers,
    quantise_layers,
    quantised_layers,
    restore_layers,
    shape_as_stored,
)

from .oracle import SMALL, randomise

pytestmark = pytest.mark.skipif(not has_int8(), reason="the processor has no VNNI")
CONFIGS = [SamConfig(SMALL), SamConfig(TinyViTConfig(image_size=256))]


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(96, 160).requires_grad_(False)


def test_close_to_the_layer_for_tokens_of_any_size(layer):
    x = torch.randn(3, 5, 96) * torch.logspace(-6, 4, 15).reshape(3, 5, 1)
    made, expected = Int8Linear.of(layer)(x) - layer.bias, F.linear(x, layer.weight)
    for found, exact in zip(made.flatten(0, 1), expected.flatten(0, 1), strict=True):
        # the bias is larger than the smallest results, which lose digits to it
        assert error(found, exact) < 0.02 or exact.abs().max() < 1e-4
    assert torch.equal(Int8Linear.of(layer)(torch.zeros(1, 96))[0], layer.bias)


def test_the_sums_are_exact(layer):
    made, x = Int8Linear.of(layer), torch.randn(7, 96)
    step = x.abs().amax(1, keepdim=True) / 127
    whole = torch.round(x / step).double() @ made.weight.double().T
    expected = whole * step * made.scale + layer.bias
    assert torch.allclose(made(x).double(), expected, rtol=1e-5, atol=1e-5)


def test_without_bias():
    plain = nn.Linear(64, 64, bias=False).requires_grad_(False)
    x = torch.randn(4, 64)
    assert error(Int8Linear.of(plain)(x), plain(x)) < 0.02
    assert Int8Linear.of(plain).restored().bias is None


def test_factors_spread_a_large_channel_over_the_weights(layer):
    x = torch.randn(64, 96)
    x[:, 3] *= 200
    smooth = torch.ones(96)
    smooth[3] = 1 / 20
    plain, better = Int8Linear.of(layer), Int8Linear.of(layer, smooth)
    assert error(better(x), layer(x)) < 0.5 * error(plain(x), layer(x))
    assert error(better.restored()(x), layer(x)) < 0.05


def test_autocast_gets_its_type(layer):
    with torch.autocast("cpu", torch.bfloat16):
        assert Int8Linear.of(layer)(torch.randn(2, 96)).dtype == torch.bfloat16


def test_copies_do_not_share_the_kernel(layer):
    made = Int8Linear.of(layer)
    x = torch.randn(2, 96)
    expected = made(x)
    other = copy.deepcopy(made)
    made.weight.zero_()
    assert torch.equal(other(x), expected)


@pytest.mark.parametrize("config", CONFIGS, ids=["vit", "tiny_vit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_encoder(config, dtype):
    sam = randomise(Sam(config)).eval().requires_grad_(False)
    for name, buffer in sam.named_buffers():
        if name.endswith("running_var"):
            buffer.abs_().add_(0.5)
    pixels = torch.rand(1, 3, 256, 200) * 255
    with torch.inference_mode():
        expected = sam.encode(pixels).embedding
        quantise_layers(sam.image_encoder, dict.fromkeys(linear_layers(sam.image_encoder)))
        sam.set_precision(dtype)
        assert quantised_layers(sam.image_encoder)
        assert not linear_layers(sam.image_encoder)
        assert 0 < error(sam.encode(pixels).embedding, expected) < 0.05
        rebuilt = Sam(config).eval()
        shape_as_stored(rebuilt, sam.state_dict())
        rebuilt.load_state_dict(sam.state_dict())
        restore_layers(sam.image_encoder)
        sam.set_precision(torch.float32)
        assert 0 < error(sam.encode(pixels).embedding, expected) < 0.05
    assert not quantised_layers(sam.image_encoder)
