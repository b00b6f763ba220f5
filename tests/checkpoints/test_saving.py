from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from napari_segment_anything.checkpoints import (
    download,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from napari_segment_anything.checkpoints.download import embedded_path
from napari_segment_anything.errors import CheckpointError, ParameterError, ResourceError
from napari_segment_anything.network import Sam, SamConfig
from napari_segment_anything.network.instance_decoder import InstanceDecoder
from napari_segment_anything.network.micro import MicroConfig

from .conftest import random_network, same_weights

MICRO = SamConfig(MicroConfig(image_size=64, widths=(8, 8, 16, 16), attention_blocks=2, heads=2))


def test_round_trip(tmp_path: Path, vit: Sam) -> None:
    metadata = {"licence": "BSD-3-Clause", "everything": {"grid": {"pred_iou_thresh": 0.8}}}
    path = save_checkpoint(vit, tmp_path / "new" / "mine.safetensors", metadata)
    assert [p.name for p in path.parent.iterdir()] == ["mine.safetensors"]
    checkpoint = load_checkpoint(path)
    assert checkpoint.metadata == metadata
    assert checkpoint.name == "mine"
    assert checkpoint.network.config == vit.config
    assert same_weights(checkpoint.network, vit)
    assert checkpoint.fingerprint == fingerprint(vit.state_dict())


def test_the_frame_size_of_a_tiny_vit_is_kept(tmp_path: Path, tiny: Sam) -> None:
    path = save_checkpoint(tiny, tmp_path / "t.safetensors")
    assert load_checkpoint(path).network.config == tiny.config


@pytest.mark.parametrize("half", [False, True])
def test_micro(tmp_path: Path, half: bool) -> None:
    network = random_network(MICRO)
    checkpoint = load_checkpoint(save_checkpoint(network, tmp_path / "m.safetensors", half=half))
    assert checkpoint.network.config == MICRO
    assert checkpoint.architecture == "micro"
    pixels = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        before, after = network.encode(pixels), checkpoint.network.encode(pixels)
    assert set(after.heads) == set(before.heads)
    torch.testing.assert_close(after.embedding, before.embedding, rtol=0, atol=0.05 if half else 0)


def test_half_is_half_the_size_and_keeps_what_is_small(tmp_path: Path, vit: Sam) -> None:
    whole = save_checkpoint(vit, tmp_path / "whole.safetensors")
    half = save_checkpoint(vit, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.52 * whole.stat().st_size
    stored = safetensors.torch.load_file(half)
    assert stored["mask_decoder.transformer.layers.0.mlp.lin1.weight"].dtype == torch.float16
    assert stored["mask_decoder.transformer.layers.0.norm1.weight"].dtype == torch.float32
    frequencies = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    assert stored[frequencies].dtype == torch.float32


def test_a_bundled_instance_decoder(tmp_path: Path, vit: Sam, decoder: InstanceDecoder) -> None:
    path = save_checkpoint(vit, tmp_path / "x.safetensors", instance_decoder=decoder)
    checkpoint = load_checkpoint(path)
    assert checkpoint.instance_decoder is not None
    assert checkpoint.instance_decoder.config == decoder.config
    assert same_weights(checkpoint.instance_decoder, decoder)
    assert same_weights(checkpoint.network, vit)
    again = load_checkpoint(path, instance_decoder=path)
    assert again.fingerprint == checkpoint.fingerprint


def test_what_cannot_be_stored(tmp_path: Path, vit: Sam) -> None:
    with pytest.raises(ParameterError, match=r"must end in \.safetensors"):
        save_checkpoint(vit, tmp_path / "x.pt")
    with pytest.raises(ParameterError, match="JSON"):
        save_checkpoint(vit, tmp_path / "x.safetensors", {"a": torch.zeros(1)})
    network = random_network(vit.config)
    weight = network.mask_decoder.transformer.layers[0].mlp.lin1.weight
    with torch.no_grad():
        weight[0, 0] = 1e6
    save_checkpoint(network, tmp_path / "large.safetensors")
    with pytest.raises(CheckpointError, match="too large for 16 bits"):
        save_checkpoint(network, tmp_path / "x.safetensors", half=True)
    with torch.no_grad():
        weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(network, tmp_path / "x.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["large.safetensors"]


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, vit: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(vit, tmp_path / "x.safetensors", {"version": 1})

    def full(tensors: dict[str, Tensor], partial: Path, metadata: Any) -> None:
        partial.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        save_checkpoint(vit, path, {"version": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
    assert load_checkpoint(path).metadata == {"version": 1}


def test_embedded_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    module = __import__("sys").modules[embedded_path.__module__]
    monkeypatch.setattr(module, "files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match="weights of 'default' are missing"):
        load_checkpoint("default")
    network = random_network(MICRO)
    save_checkpoint(network, tmp_path / "data" / "default.safetensors", {"auto_mode": "instances"})
    checkpoint = load_checkpoint("default")
    assert checkpoint.name == "default"
    assert checkpoint.architecture == "micro"
    assert checkpoint.metadata["auto_mode"] == "instances"
    assert checkpoint.metadata["licence"] == "BSD-3-Clause"
    assert download("default") == tmp_path / "data" / "default.safetensors"


def test_file_has_the_permissions_any_new_file_has(tmp_path: Path, tiny: Sam) -> None:
    (tmp_path / "other").touch()
    path = save_checkpoint(tiny, tmp_path / "model.safetensors")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
