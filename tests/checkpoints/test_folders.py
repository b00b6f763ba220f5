"""The first SAM from folders of transformers; models that take images in another way."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from napari_segment_anything import Predictor, Prompts
from napari_segment_anything.checkpoints import (
    catalogue,
    fingerprint,
    load_checkpoint,
    obtaining,
    save_checkpoint,
)
from napari_segment_anything.checkpoints.catalogue import CatalogueEntry, RemoteFile
from napari_segment_anything.engine import Model
from napari_segment_anything.errors import CheckpointError
from napari_segment_anything.families import load_family
from napari_segment_anything.families.published import published_names, transformers_names
from napari_segment_anything.network import Sam
from napari_segment_anything.network.vit import ViTEncoder

from ..families.tiny import filled, saved
from .conftest import TINY, same_weights

DECODING = ("prompt_encoder.", "mask_decoder.")
MEDSAM = catalogue()["medsam"].preparation


def written(folder: Path, state: dict[str, Tensor], **processor: object) -> Path:
    """Write a SAM as a folder of transformers."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "sam"}))
    tensors = {k: v.clone() for k, v in transformers_names(state).items()}
    save_file(tensors, folder / "model.safetensors")
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_names_are_those_of_transformers(vit: Sam) -> None:
    import transformers

    with torch.device("meta"):
        sam = transformers.SamModel(transformers.SamConfig())
    names = transformers_names(vit.state_dict())
    layers = [name for name in sam.state_dict() if "vision_encoder.layers." not in name]
    assert set(layers) == {name for name in names if "vision_encoder.layers." not in name}
    assert set(published_names(names)) == set(vit.state_dict())


def test_a_folder_is_the_same_model_as_the_published_file(tmp_path: Path, vit: Sam) -> None:
    state = dict(vit.state_dict())
    loaded = load_checkpoint(written(tmp_path / "mine", state))
    assert isinstance(loaded.network, Sam)
    assert same_weights(loaded.network, vit)
    assert (loaded.name, loaded.fingerprint) == ("mine", fingerprint(state))
    assert "train" in loaded.network.abilities
    with pytest.raises(CheckpointError, match="takes no instance decoder"):
        load_checkpoint(tmp_path / "mine", instance_decoder=True)


def test_a_folder_says_how_images_are_normalised(tmp_path: Path, vit: Sam) -> None:
    state = dict(vit.state_dict())
    usual = written(tmp_path / "a", state, image_mean=[0.485, 0.456, 0.406])
    other = written(tmp_path / "b", state, image_mean=[0.5, 0.5, 0.5])
    one, two = load_checkpoint(usual), load_checkpoint(other)
    assert one.network.config == vit.config
    assert two.network.config.pixel_mean == (127.5, 127.5, 127.5)
    assert one.fingerprint != two.fingerprint, "their embeddings are kept apart"


def test_what_a_folder_lacks(tmp_path: Path, vit: Sam) -> None:
    state = dict(vit.state_dict())
    del state["mask_decoder.iou_token.weight"]
    with pytest.raises(CheckpointError, match="lacks 1 tensor"):
        load_checkpoint(written(tmp_path / "a", state))


@pytest.fixture
def medsam(tmp_path: Path, vit: Sam, monkeypatch: pytest.MonkeyPatch) -> Sam:
    torch.save(vit.state_dict(), tmp_path / "m.pt")
    entry = CatalogueEntry(
        "medsam", "vit_b", "A.", "MIT", "B", RemoteFile("m.pt", "https://x.invalid/m.pt"),
        preparation=MEDSAM,
    )  # fmt: skip
    monkeypatch.setattr(obtaining, "find_entry", lambda name: entry if name == "medsam" else None)
    network = load_checkpoint("medsam", directory=tmp_path).network
    assert isinstance(network, Sam)
    return network


def test_medsam_takes_stretched_images_in_0_to_1(medsam: Sam, vit: Sam, tmp_path: Path) -> None:
    assert isinstance(MEDSAM, MappingProxyType)
    assert medsam.config.frame_fit == "stretch"
    assert medsam.abilities == {"prompt", "everything"}
    pixels = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        ours = medsam.encode(pixels).embedding
        assert torch.equal(ours, vit.image_encoder(pixels / 255).embedding)
    by_path = load_checkpoint(tmp_path / "m.pt")
    by_name = load_checkpoint("medsam", directory=tmp_path)
    assert by_path.fingerprint != by_name.fingerprint
    # an image of another shape fills the frame, and its masks come back to its own pixels
    predictor = Predictor(Model.from_checkpoint(by_name, "cpu", "fp32"))
    embedding = predictor.embed(np.random.default_rng(0).integers(0, 255, (40, 90), np.uint8))
    assert embedding.frame_shape == (64, 64)
    assert predictor.predict(embedding, Prompts.from_boxes([[5, 5, 30, 70]])).masks.shape[2:] == (
        40, 90,
    )  # fmt: skip


def test_how_images_are_taken_is_saved(medsam: Sam, vit: Sam, tmp_path: Path) -> None:
    save_checkpoint(medsam, tmp_path / "x.safetensors", {})
    again = load_checkpoint(tmp_path / "x.safetensors").network
    assert again.config == medsam.config
    # and nothing is added to the files of other models, which earlier versions can read
    save_checkpoint(vit, tmp_path / "y.safetensors", {})
    assert b"frame_fit" not in (tmp_path / "y.safetensors").read_bytes()[:5000]


@pytest.fixture(scope="module")
def hq() -> torch.nn.Module:
    """A SAM-HQ of transformers with a small image encoder and random weights."""
    import transformers

    config = transformers.SamHQConfig(
        vision_config={
            "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 128,
            "window_size": 3, "global_attn_indexes": [1, 2], "mlp_dim": 128,
        },
        prompt_encoder_config={"image_size": 128},
        mask_decoder_config={"vit_dim": 32},
    )  # fmt: skip
    return filled(transformers.SamHQModel(config)).eval()


@pytest.mark.slow
def test_hqs_own_file_is_transformers_model(tmp_path: Path, hq: torch.nn.Module) -> None:
    state = published_names(hq.state_dict())
    assert "mask_decoder.hf_token.weight" in state
    torch.save(state, tmp_path / "sam_hq_vit_x.pth")
    loaded = load_checkpoint(tmp_path / "sam_hq_vit_x.pth")
    assert (loaded.name, loaded.architecture) == ("sam_hq_vit_x", "sam_hq_vit_32x3")
    assert loaded.fingerprint == fingerprint(state)
    # its image encoder is the one here, and it answers as with transformers' encoder
    folder = saved(hq, tmp_path / "folder")
    networks = (loaded.network, load_checkpoint(folder).network, load_family(folder))
    assert isinstance(loaded.network.module.vision_encoder.network, ViTEncoder)
    pixels = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 255
    boxes = torch.tensor([[20.0, 30.0, 90.0, 100.0]])
    with torch.inference_mode():
        answers = []
        for network in networks:
            seen = network.encode(pixels)
            answers.append(network.decode(seen.embedding, boxes=boxes, heads=seen.heads))
    for ours, again, theirs in zip(*answers, strict=True):
        assert torch.equal(ours, again)
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_what_is_wrong_with_hqs_own_files(tmp_path: Path, hq: torch.nn.Module, tiny: Sam) -> None:
    state = published_names(hq.state_dict())
    path = tmp_path / "x.pth"
    torch.save({k: v for k, v in state.items() if "hf_mlp.layers.1" not in k}, path)
    with pytest.raises(CheckpointError, match=r"no complete SAM-HQ: 2 missing tensors"):
        load_checkpoint(path)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="takes no instance decoder"):
        load_checkpoint(path, instance_decoder=True)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(path)
    light = {**tiny.state_dict(), "mask_decoder.hf_token.weight": torch.zeros(1, 256)}
    torch.save(light, path)
    with pytest.raises(CheckpointError, match=r"no complete SAM-HQ: .* missing tensors \(mask_dec"):
        load_checkpoint(path)


@pytest.mark.slow
def test_light_hq(tmp_path: Path, hq: torch.nn.Module, tiny: Sam) -> None:
    own = {k: v for k, v in tiny.state_dict().items() if k.startswith("image_encoder.")}
    state = {k: v for k, v in published_names(hq.state_dict()).items() if k.startswith(DECODING)}
    width = TINY.encoder.widths[2]  # of the early features
    name = "mask_decoder.compress_vit_feat.0.weight"
    state[name] = torch.randn(width, *state[name].shape[1:]) * 0.1
    torch.save({**own, **state}, tmp_path / "sam_hq_vit_tiny.pth")
    loaded = load_checkpoint(tmp_path / "sam_hq_vit_tiny.pth")
    assert loaded.architecture.startswith("sam_hq_tiny_vit")
    assert loaded.network.config.image_size == 1024
    pixels = torch.rand(1, 3, 1024, 700, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        seen = loaded.network.encode(pixels)
        assert torch.equal(seen.embedding, tiny.encode(pixels).embedding)
        encoder = tiny.image_encoder
        early = encoder.layers[1](encoder.layers[0](encoder.patch_embed(tiny.preprocess(pixels))))
        expected = fused(seen.embedding, state, "embedding_encoder")
        expected = expected + fused(early, state, "compress_vit_feat")
        assert torch.allclose(seen.heads["fine"], expected, atol=1e-4)
        boxes = torch.tensor([[200.0, 300.0, 500.0, 600.0]])
        logits, iou = loaded.network.decode(seen.embedding, boxes=boxes, heads=seen.heads)
    assert (logits.shape, iou.shape) == ((1, 3, 256, 256), (1, 3))
    loaded.network.set_precision(torch.bfloat16)
    with torch.inference_mode():
        rough = loaded.network.encode(pixels).embedding
    assert (rough - seen.embedding).abs().mean() < 0.05 * seen.embedding.abs().mean()


def fused(x: Tensor, state: dict[str, Tensor], part: str) -> Tensor:
    """Upscale features as SAM-HQ's mask decoder does, by the tensors' published names."""
    first, norm, last = (
        [state[f"mask_decoder.{part}.{index}.{kind}"] for kind in ("weight", "bias")]
        for index in (0, 1, 3)
    )
    x = F.conv_transpose2d(x, *first, stride=2).permute(0, 2, 3, 1)
    x = F.gelu(F.layer_norm(x, (x.shape[-1],), *norm, eps=1e-6)).permute(0, 3, 1, 2)
    return F.conv_transpose2d(x, *last, stride=2)
