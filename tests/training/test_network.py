"""The micro encoder, and the decoder over windows."""

from __future__ import annotations

import pytest
import torch

from napari_segment_anything.network.micro import DENSE_CHANNELS, MicroConfig, MicroEncoder
from napari_segment_anything.network.sam import Sam, SamConfig
from napari_segment_anything.training.decoding import (
    decode_windows,
    window_cells,
    window_positions,
)
from napari_segment_anything.training.initial import share_frequencies, tie_positions

SMALL = MicroConfig(image_size=128, widths=(8, 8, 16, 32), attention_blocks=2, heads=4)


def test_shapes_for_frames_and_crops():
    encoder = MicroEncoder(SMALL).eval()
    for height, width in ((128, 128), (96, 64)):
        output = encoder(torch.randn(2, 3, height, width))
        assert output.embedding.shape == (2, 256, height // 8, width // 8)
        assert output.heads["dense"].shape == (2, len(DENSE_CHANNELS), height // 2, width // 2)


def test_folding_keeps_the_function():
    torch.manual_seed(0)
    encoder = MicroEncoder(MicroConfig(128, widths=(8, 8, 16, 32), heads=4, norm="batch"))
    encoder.train()
    for _ in range(3):
        encoder(torch.randn(2, 3, 64, 64))
    encoder.eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        a, b = encoder(x), encoder.folded()(x)
    assert torch.allclose(a.heads["dense"], b.heads["dense"], atol=1e-3)
    assert torch.allclose(a.embedding, b.embedding, atol=1e-3)
    assert not any("running" in key for key in encoder.folded().state_dict())


def test_origin_moves_the_marks_of_a_crop():
    torch.manual_seed(0)
    encoder = MicroEncoder(SMALL).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        here = encoder(x).embedding
        same = encoder(x, torch.zeros(1, 2)).embedding
        there = encoder(x, torch.tensor([[32.0, 64.0]])).embedding
    assert torch.equal(here, same) and not torch.allclose(here, there)


def test_a_wrong_frame_size_is_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        MicroEncoder(MicroConfig(image_size=100))


def test_windows_decode_as_the_whole_embedding_does():
    torch.manual_seed(0)
    network = Sam(SamConfig(SMALL)).eval()
    embedding = torch.randn(1, 256, 16, 16)
    coords = torch.tensor([[[10.0, 50.0]], [[100.0, 20.0]]])
    labels = torch.ones(2, 1, dtype=torch.int64)
    with torch.no_grad():
        logits, iou = network.decode(embedding, coords, labels, return_all=True)
        sparse, dense = network.prompt_encoder(coords, labels)
        corner = torch.zeros(2, 2, dtype=torch.int64)
        cells = window_cells(embedding, torch.zeros(2, dtype=torch.int64), corner, 16)
        cells = cells + dense.flatten(2).transpose(1, 2)
        position = window_positions(network.prompt_encoder, corner, torch.zeros(2, 2), 16)
        mine, own_iou = decode_windows(network.mask_decoder, cells, position, sparse)
    assert torch.allclose(mine, logits, atol=1e-5) and torch.allclose(own_iou, iou, atol=1e-5)


def test_a_tied_decoder_looks_at_its_prompt_before_any_training():
    torch.manual_seed(0)
    network = Sam(SamConfig(MicroConfig()))
    share_frequencies(network, 0)
    tie_positions(network, 0)
    assert torch.equal(
        network.image_encoder.frequencies,
        network.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix,
    )
    coords = torch.rand(6, 1, 2) * 500
    with torch.no_grad():
        sparse, dense = network.prompt_encoder(coords, torch.ones(6, 1, dtype=torch.int64))
        attention = network.mask_decoder.transformer.layers[0].cross_attn_token_to_image
        cells = (0.3 * torch.randn(1, 256, 64, 64) + dense).flatten(2).transpose(1, 2)
        position = network.prompt_encoder.image_encoding(64, 64).flatten(2).transpose(1, 2)
        tokens = torch.nn.functional.layer_norm(sparse, (256,)) + sparse
        q = attention.q_proj(tokens).unflatten(-1, (8, 16)).transpose(1, 2)
        k = attention.k_proj(cells + position).unflatten(-1, (8, 16)).transpose(1, 2)
        weights = (q @ k.transpose(-1, -2) / 4).softmax(-1)[:, :, 0]
    at = weights.argmax(-1)
    distance = (torch.stack([at % 64, at // 64], -1) * 8 + 4 - coords).norm(dim=-1)
    assert distance.median() < 32
