from __future__ import annotations

import functools
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from napari_segment_anything.checkpoints import (
    fingerprint,
    load_checkpoint,
    obtaining,
    save_checkpoint,
)
from napari_segment_anything.checkpoints.catalogue import CatalogueEntry, RemoteFile
from napari_segment_anything.errors import CheckpointError
from napari_segment_anything.network import VIT_B, Sam
from napari_segment_anything.network.instance_decoder import InstanceDecoder, InstanceDecoderConfig

from .conftest import DECODER, TINY, VIT, random_network, same_weights

State = dict[str, Tensor]


def prefixed(state: State, prefix: str) -> OrderedDict[str, Tensor]:
    return OrderedDict((prefix + k, v) for k, v in state.items())


FORMS = {
    "bare": lambda s: s,
    "ordered": lambda s: OrderedDict(s),
    "parallel": lambda s: prefixed(s, "module."),
    "state_dict": lambda s: {"state_dict": prefixed(s, "module."), "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": []}},
    "model_state": lambda s: {"model_state": prefixed(s, "sam."), "iteration": 10},
    "both prefixes": lambda s: {"model_state": prefixed(s, "module.sam.")},
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "index tables": lambda s: {**s, "image_encoder.x.attn.attention_bias_idxs": torch.zeros(2, 2)},
}


def test_training_state_beside_the_weights_is_left_alone(
    tmp_path: Path, vit: Sam, state: State, decoder: InstanceDecoder
) -> None:
    """What a trainer files for itself: its own classes, partials, arrays, paths."""
    called = []

    class Dataset(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.paths = [Path("a.tif")]
            self.patch = (slice(0, 3), range(4))
            self.values = np.arange(3.0)
            self.transform = functools.partial(torch.nn.functional.relu, inplace=False)

        def __setstate__(self, values: Any) -> None:
            called.append(values)

    modules = {"torch_em": types.ModuleType("torch_em"), "torch_em.data": types.ModuleType("x")}
    modules["torch_em.data"].Dataset = Dataset  # type: ignore[attr-defined]
    Dataset.__module__, Dataset.__qualname__ = "torch_em.data", "Dataset"
    path = tmp_path / "best.pt"
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        torch.save(
            {
                "model_state": prefixed(state, "sam."),
                "decoder_state": decoder.state_dict(),
                "init": {"data": Dataset(), "loss": torch.nn.MSELoss(), "metric": np.float64(3)},
            },
            path,
        )
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)
        checkpoint = load_checkpoint(path)
    assert called == []
    assert same_weights(checkpoint.network, vit)
    assert checkpoint.instance_decoder is not None


@pytest.mark.parametrize("form", FORMS)
def test_every_form_loads(form: str, tmp_path: Path, vit: Sam, state: State) -> None:
    path = tmp_path / "weights.pt"
    torch.save(FORMS[form](state), path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.network.config == VIT
    assert same_weights(checkpoint.network, vit)
    assert checkpoint.fingerprint == fingerprint(state)
    assert checkpoint.name == "weights"
    assert checkpoint.architecture == "vit_32x3"
    assert checkpoint.instance_decoder is None
    assert not checkpoint.network.training


def test_file_formats_agree(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "new.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, tmp_path / "plain.safetensors")
    # What the file is called does not matter.
    (tmp_path / "renamed.bin").write_bytes((tmp_path / "plain.safetensors").read_bytes())
    names = ("new.pth", "old.pth", "plain.safetensors", "renamed.bin")
    checkpoints = [load_checkpoint(str(tmp_path / name)) for name in names]
    assert len({c.fingerprint for c in checkpoints}) == 1
    assert [c.name for c in checkpoints] == ["new", "old", "plain", "renamed.bin"]


def test_tiny_vit(tmp_path: Path, tiny: Sam) -> None:
    torch.save(tiny.state_dict(), tmp_path / "t.pt")
    checkpoint = load_checkpoint(tmp_path / "t.pt")
    encoder = checkpoint.network.config.encoder
    assert encoder == TINY.encoder
    assert same_weights(checkpoint.network, tiny)
    pixels = torch.rand(1, 3, 64, 64) * 255
    checkpoint.network.image_encoder.image_size = 64
    with torch.inference_mode():
        ours = checkpoint.network.image_encoder(pixels).embedding
        assert torch.equal(ours, tiny.image_encoder(pixels).embedding)


@pytest.mark.slow
def test_published_vit_b_form(tmp_path: Path) -> None:
    network = random_network(VIT_B)
    path = tmp_path / "sam_vit_b.pth"
    torch.save(network.state_dict(), path)
    checkpoint = load_checkpoint(path)
    path.unlink()
    assert checkpoint.architecture == "vit_b"
    assert checkpoint.network.config == VIT_B
    assert same_weights(checkpoint.network, network)


def test_sixteen_bit_weights_become_float32(tmp_path: Path, state: State) -> None:
    torch.save({k: v.half() for k, v in state.items()}, tmp_path / "half.pt")
    checkpoint = load_checkpoint(tmp_path / "half.pt")
    assert {p.dtype for p in checkpoint.network.parameters()} == {torch.float32}
    assert checkpoint.fingerprint != fingerprint(state)


def test_the_loaded_network_does_not_need_the_file(tmp_path: Path, vit: Sam, state: State) -> None:
    for name, save in (("a.pt", torch.save), ("b.safetensors", safetensors.torch.save_file)):
        path = tmp_path / name
        save(state, path)
        network = load_checkpoint(path).network
        path.write_bytes(b"")
        assert same_weights(network, vit)


def test_file_urls(tmp_path: Path, state: State) -> None:
    path = tmp_path / "with space.pt"
    torch.save(state, path)
    assert load_checkpoint(path.as_uri()).fingerprint == fingerprint(state)
    with pytest.raises(CheckpointError, match="there is no file"):
        load_checkpoint((tmp_path / "absent.pt").as_uri())


class TestInstanceDecoder:
    def save(self, path: Path, content: Any) -> Path:
        torch.save(content, path)
        return path

    def test_bundled(self, tmp_path: Path, state: State, decoder: InstanceDecoder) -> None:
        bundle = {"model_state": prefixed(state, "sam."), "decoder_state": decoder.state_dict()}
        path = self.save(tmp_path / "best.pt", bundle)
        checkpoint = load_checkpoint(path)
        assert checkpoint.instance_decoder is not None
        assert checkpoint.instance_decoder.config == DECODER
        assert same_weights(checkpoint.instance_decoder, decoder)
        alone = load_checkpoint(path, instance_decoder=False)
        assert alone.instance_decoder is None
        assert alone.fingerprint == fingerprint(state) != checkpoint.fingerprint

    def test_separate(self, tmp_path: Path, state: State, decoder: InstanceDecoder) -> None:
        weights = self.save(tmp_path / "vit.pt", state)
        bare = self.save(tmp_path / "vit_decoder.pt", decoder.state_dict())
        whole = self.save(
            tmp_path / "bundle.pt", {"model_state": state, "decoder_state": decoder.state_dict()}
        )
        # An exported UNETR has the encoder in it too.
        unetr = self.save(
            tmp_path / "unetr.pt", {**decoder.state_dict(), "encoder.pos_embed": torch.zeros(1)}
        )
        bundled = load_checkpoint(whole)
        for given in (bare, whole, str(unetr), bare.as_uri()):
            checkpoint = load_checkpoint(weights, instance_decoder=given)
            assert checkpoint.instance_decoder is not None
            assert same_weights(checkpoint.instance_decoder, decoder)
            assert checkpoint.fingerprint == bundled.fingerprint

    def test_of_another_width(self, tmp_path: Path, state: State) -> None:
        narrow = InstanceDecoder(InstanceDecoderConfig(inputs=128, widths=(16, 8, 8, 4)))
        weights = self.save(tmp_path / "vit.pt", state)
        other = self.save(tmp_path / "decoder.pt", narrow.state_dict())
        with pytest.raises(CheckpointError, match="128 channels, but those of this model have 256"):
            load_checkpoint(weights, instance_decoder=other)

    def test_with_other_outputs(self, tmp_path: Path, state: State) -> None:
        affinities = InstanceDecoder(InstanceDecoderConfig(widths=(16, 8, 8, 4), outputs=4))
        weights = self.save(tmp_path / "vit.pt", state)
        other = self.save(tmp_path / "decoder.pt", affinities.state_dict())
        with pytest.raises(CheckpointError, match="has 4 outputs"):
            load_checkpoint(weights, instance_decoder=other)

    def test_incomplete_or_absent(
        self, tmp_path: Path, state: State, decoder: InstanceDecoder
    ) -> None:
        weights = self.save(tmp_path / "vit.pt", state)
        torn = {k: v for k, v in decoder.state_dict().items() if not k.startswith("deconv_out")}
        path = self.save(tmp_path / "torn.pt", torn)
        with pytest.raises(CheckpointError, match=r"lacks 2 tensors \(deconv_out"):
            load_checkpoint(weights, instance_decoder=path)
        with pytest.raises(CheckpointError, match="not an instance decoder"):
            load_checkpoint(weights, instance_decoder=weights)
        with pytest.raises(CheckpointError, match="has no instance decoder"):
            load_checkpoint(weights, instance_decoder=True)
        with pytest.raises(CheckpointError, match="there is no file"):
            load_checkpoint(weights, instance_decoder=tmp_path / "absent.pt")

    def test_of_the_catalogue(
        self,
        tmp_path: Path,
        state: State,
        decoder: InstanceDecoder,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        folder = tmp_path / "models"
        folder.mkdir()
        self.save(folder / "v.pt", state)
        self.save(folder / "v_decoder.pt", decoder.state_dict())
        entry = CatalogueEntry(
            name="v_lm",
            architecture="vit_32x3",
            description="For tests.",
            licence="CC-BY-4.0",
            citation="Nobody (2025)",
            checkpoint=RemoteFile("v.pt", "https://example.invalid/v.pt"),
            decoder=RemoteFile("v_decoder.pt", "https://example.invalid/v_decoder.pt"),
        )
        monkeypatch.setattr(obtaining, "find_entry", lambda name: entry if name == "v_lm" else None)
        checkpoint = load_checkpoint("v_lm", directory=folder)
        assert checkpoint.instance_decoder is not None
        assert checkpoint.name == "v_lm"
        assert checkpoint.metadata["licence"] == "CC-BY-4.0"
        assert checkpoint.metadata["source"] == "https://example.invalid/v.pt"
        without = load_checkpoint("v_lm", directory=folder, instance_decoder=False)
        assert without.instance_decoder is None


class TestRefusals:
    def refusal(self, path: Path) -> str:
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
        return str(caught.value)

    def test_truncated(self, tmp_path: Path, state: State) -> None:
        torch.save(state, tmp_path / "new.pt")
        torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
        safetensors.torch.save_file(state, tmp_path / "st.safetensors")
        for name in ("new.pt", "old.pt", "st.safetensors"):
            path = tmp_path / name
            content = path.read_bytes()
            for keep in (len(content) - 100, len(content) // 2, 200):
                path.write_bytes(content[:keep])
                assert "truncated or corrupt" in self.refusal(path), (name, keep)

    def test_flipped_bytes_never_crash(self, tmp_path: Path) -> None:
        path = tmp_path / "x.pt"
        torch.save({"image_encoder.a": torch.zeros(3)}, path)
        content = path.read_bytes()
        for at in range(0, len(content), 23):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
            self.refusal(path)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "it is empty"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "Git LFS pointer"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"GIF89a", "not a checkpoint"),
        ],
    )
    def test_other_files(self, tmp_path: Path, content: bytes, reason: str) -> None:
        path = tmp_path / "x.pth"
        path.write_bytes(content)
        assert reason in self.refusal(path)

    def test_code_is_not_run(self, tmp_path: Path, state: State) -> None:
        trace = tmp_path / "ran"

        class Payload:
            def __reduce__(self) -> tuple[Any, ...]:
                return (open, (str(trace), "w"))

        torch.save({"model_state": state, "extra": Payload()}, tmp_path / "new.pt")
        torch.save({"a": Payload()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
        (tmp_path / "bare.pt").write_bytes(pickle.dumps(Payload()))
        for name in ("new.pt", "old.pt", "bare.pt"):
            message = self.refusal(tmp_path / name)
            assert "io.open" in message or name == "bare.pt"
            assert "it was not opened" in message
            assert not trace.exists()
        pickle.loads((tmp_path / "bare.pt").read_bytes()).close()
        assert trace.exists()  # the trap was live

    def test_code_beside_training_state_is_not_run(self, tmp_path: Path, state: State) -> None:
        trace = tmp_path / "ran"

        class Payload:
            def __reduce__(self) -> tuple[Any, ...]:
                return (eval, (f"open({str(trace)!r}, 'w')",))

        extra = {"init": {"loss": torch.nn.MSELoss(), "payload": Payload()}}
        torch.save({"model_state": state, **extra}, tmp_path / "x.pt")
        assert "could run code" in self.refusal(tmp_path / "x.pt")
        assert not trace.exists()

    def test_whole_modules(self, tmp_path: Path) -> None:
        torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
        message = self.refusal(tmp_path / "module.pt")
        assert "torch.nn.modules.linear.Linear" in message
        assert "state_dict" in message

    def test_no_weights(self, tmp_path: Path) -> None:
        for content, reason in (
            ({"epoch": 3}, "no weights"),
            ({}, "no weights"),
            ([1, 2], "contains a list"),
            (torch.zeros(3), "contains a Tensor"),
            ({"model": {"epoch": 3}}, "no weights"),
        ):
            torch.save(content, tmp_path / "x.pt")
            assert reason in self.refusal(tmp_path / "x.pt")

    def test_missing_tensors(self, tmp_path: Path, state: State) -> None:
        torn = {k: v for k, v in state.items() if not k.startswith("mask_decoder.iou_prediction")}
        torch.save(torn, tmp_path / "x.pt")
        message = self.refusal(tmp_path / "x.pt")
        assert "lacks 6 tensors" in message
        assert "mask_decoder.iou_prediction_head.layers.0.weight" in message
        assert "and 2 more" in message

    def test_unexpected_tensors(self, tmp_path: Path, state: State) -> None:
        extra = {"image_encoder.blocks.0.attn.qkv.lora.weight": torch.zeros(1)}
        torch.save({**state, **extra}, tmp_path / "x.pt")
        message = self.refusal(tmp_path / "x.pt")
        assert "has 1 tensor (image_encoder.blocks.0.attn.qkv.lora.weight)" in message

    def test_wrong_shapes(self, tmp_path: Path, state: State) -> None:
        state["mask_decoder.iou_token.weight"] = torch.zeros(1, 128)
        torch.save(state, tmp_path / "x.pt")
        message = self.refusal(tmp_path / "x.pt")
        assert "mask_decoder.iou_token.weight is (1, 128) instead of (1, 256)" in message

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_values_that_are_no_numbers(self, tmp_path: Path, state: State, value: float) -> None:
        name = "image_encoder.neck.0.weight"
        state[name] = state[name].clone()
        state[name][0, 0] = value
        torch.save(state, tmp_path / "x.pt")
        assert f"not finite numbers in 1 tensor ({name})" in self.refusal(tmp_path / "x.pt")

    def test_names(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"did you mean vit_b"):
            load_checkpoint("vitb")
        with pytest.raises(CheckpointError, match=r"there is no file .*my_model\.pt"):
            load_checkpoint("my_model.pt")
        with pytest.raises(CheckpointError, match="is a folder"):
            load_checkpoint(tmp_path)
        with pytest.raises(CheckpointError, match="s3:// URLs are not supported"):
            load_checkpoint("s3://bucket/x.pt")

    def test_unknown_encoder_in_our_own_file(self, tmp_path: Path, vit: Sam) -> None:
        path = save_checkpoint(vit, tmp_path / "x.safetensors")
        content = path.read_bytes()
        path.write_bytes(content.replace(b'kind\\": \\"vit', b'kind\\": \\"wit'))
        assert "kind 'wit'" in self.refusal(path)
        assert str(path) in self.refusal(path)
