"""Low-rank additions: nothing at first, plain weights in the end."""

from __future__ import annotations

import pytest
import torch

from napari_segment_anything.training.config import LoraConfig
from napari_segment_anything.training.lora import LowRank, add_lora, lora_layers, merge_lora

from .small import small_sam


def test_the_addition_by_hand():
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    addition = LowRank(weight, LoraConfig(rank=1, alpha=2))
    assert torch.equal(addition(weight), weight)
    with torch.no_grad():
        addition.down.copy_(torch.tensor([[1.0, -1.0]]))
        addition.up.copy_(torch.tensor([[0.5], [2.0]]))
    # alpha / rank = 2: W + 2 * [[.5], [2]] [[1, -1]]
    assert addition(weight).tolist() == [[2.0, 1.0], [7.0, 0.0]]


@pytest.mark.parametrize("kind", ["micro", "vit", "tiny_vit"])
def test_merged_weights_do_what_the_additions_did(kind):
    network = small_sam(kind)
    encoder = network.image_encoder
    keys = set(network.state_dict())
    x = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        before = encoder(x).embedding
        add_lora(encoder, LoraConfig(rank=3, alpha=6), seed=1)
        assert torch.equal(encoder(x).embedding, before)
        for name, parameter in encoder.named_parameters():
            if name.endswith(".0.up"):
                parameter.normal_(std=0.1)
        adapted = encoder(x).embedding
        merge_lora(encoder)
        merged = encoder(x).embedding
    assert not torch.allclose(adapted, before, atol=1e-3)
    assert torch.equal(merged, adapted)
    assert set(network.state_dict()) == keys


def test_only_the_additions_and_the_small_heads_are_trained():
    encoder = small_sam("vit").image_encoder
    assert sorted(lora_layers(encoder)) == ["blocks.0.attn.qkv", "blocks.1.attn.qkv"]
    add_lora(encoder, LoraConfig(), seed=1)
    trained = [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert len(trained) == 4 and all("parametrizations.weight.0" in name for name in trained)
    micro = small_sam("micro").image_encoder
    add_lora(micro, LoraConfig(), seed=1)
    names = {name for name, p in micro.named_parameters() if p.requires_grad}
    assert {"dense.weight", "coarse.bias", "detail.weight"} < names
    assert not any(name.startswith(("stem", "stage4")) for name in names)


def test_additions_are_a_function_of_the_seed_and_leave_the_random_state_alone():
    first, second = small_sam("vit").image_encoder, small_sam("vit").image_encoder
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    add_lora(first, LoraConfig(), seed=5)
    assert torch.equal(torch.rand(1), expected)
    add_lora(second, LoraConfig(), seed=5)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b), name
