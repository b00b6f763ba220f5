from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_segment_anything.checkpoints import architecture_name, infer_config
from napari_segment_anything.checkpoints.architecture import infer_decoder_config
from napari_segment_anything.checkpoints.configuration import (
    config_from_json,
    config_to_json,
    decoder_config_from_json,
)
from napari_segment_anything.errors import CheckpointError
from napari_segment_anything.network import VIT_B, VIT_H, VIT_L, Sam, SamConfig, ViTConfig
from napari_segment_anything.network.blank import WithoutInitialisation
from napari_segment_anything.network.instance_decoder import InstanceDecoder, InstanceDecoderConfig
from napari_segment_anything.network.micro import MicroConfig
from napari_segment_anything.network.tiny_vit import TinyViTConfig


def shapes(config: SamConfig) -> dict[str, Tensor]:
    with torch.device("meta"), WithoutInitialisation():
        return dict(Sam(config).state_dict())


@st.composite
def vits(draw: st.DrawFn) -> SamConfig:
    depth = draw(st.integers(1, 5))
    heads = draw(st.integers(1, 4))
    side = draw(st.integers(3, 9))
    windows = st.integers(1, 9).filter(lambda w: w != side)
    encoder = ViTConfig(
        width=heads * draw(st.sampled_from([4, 8])),
        depth=depth,
        heads=heads,
        global_blocks=tuple(sorted(draw(st.sets(st.integers(0, depth - 1), max_size=depth - 1)))),
        patch_size=draw(st.sampled_from([8, 16])),
        image_size=0,
        window=draw(windows),
        mlp_ratio=draw(st.sampled_from([2.0, 4.0])),
    )
    values = {f: getattr(encoder, f) for f in ViTConfig.__dataclass_fields__}
    values["image_size"] = side * encoder.patch_size
    return SamConfig(ViTConfig(**values), mask_channels=draw(st.sampled_from([8, 16])))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(vits())
def test_any_vit_is_recognised(config: SamConfig) -> None:
    assert infer_config(shapes(config)) == config


@pytest.mark.parametrize(("name", "config"), [("vit_b", VIT_B), ("vit_l", VIT_L), ("vit_h", VIT_H)])
def test_published_vits(name: str, config: SamConfig) -> None:
    inferred = infer_config(shapes(config))
    assert inferred == config
    assert architecture_name(inferred) == name


def test_published_tiny_vit() -> None:
    config = SamConfig(TinyViTConfig())
    assert infer_config(shapes(config)) == config
    assert architecture_name(config) == "vit_t"


def test_larger_tiny_vit_without_classifier() -> None:
    encoder = TinyViTConfig(widths=(64, 128, 256, 448), heads=(2, 4, 8, 14), classes=0)
    assert infer_config(shapes(SamConfig(encoder))).encoder == encoder
    assert architecture_name(SamConfig(encoder)) == "tiny_vit_448x12"


def test_frame_size_comes_from_the_positions() -> None:
    config = SamConfig(ViTConfig(image_size=512))
    inferred = infer_config(shapes(config))
    assert inferred.image_size == 512
    assert architecture_name(inferred) == "vit_b"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("vision_encoder.pos_embed", "transformers"),
        ("image_encoder.trunk.blocks.0.norm1.weight", "SAM 2"),
        ("layer1.0.conv1.weight", "no image encoder"),
    ],
)
def test_other_networks_are_named(key: str, hint: str) -> None:
    with pytest.raises(CheckpointError, match=hint):
        infer_config({key: torch.zeros(1)})


def test_what_the_shape_cannot_be_told_from() -> None:
    state = shapes(VIT_B)
    for key in ("image_encoder.pos_embed", "image_encoder.blocks.4.attn.rel_pos_h"):
        without = {k: v for k, v in state.items() if k != key}
        with pytest.raises(CheckpointError, match=f"lacks {key}"):
            infer_config(without)
    state["image_encoder.blocks.0.attn.rel_pos_h"] = torch.zeros(21, 64)
    with pytest.raises(CheckpointError, match="different window sizes"):
        infer_config(state)
    with pytest.raises(CheckpointError, match="axes"):
        infer_config({**shapes(VIT_B), "image_encoder.pos_embed": torch.zeros(4096, 768)})


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("samplers", [False, True])
def test_instance_decoders(transposed: bool, samplers: bool) -> None:
    config = InstanceDecoderConfig(
        widths=(32, 16, 8, 4), transposed=transposed, transposed_samplers=samplers
    )
    with torch.device("meta"):
        state = InstanceDecoder(config).state_dict()
    assert infer_decoder_config(state) == config
    assert decoder_config_from_json(config_to_json(config)) == config
    with pytest.raises(CheckpointError, match="not an instance decoder"):
        infer_decoder_config({"a": torch.zeros(1)})


@pytest.mark.parametrize(
    "encoder", [ViTConfig(depth=3), TinyViTConfig(classes=0), MicroConfig(widths=(8, 8, 16, 16))]
)
def test_configuration_survives_json(encoder: object) -> None:
    config = SamConfig(encoder, mask_channels=8)  # type: ignore[arg-type]
    assert config_from_json(config_to_json(config)) == config


def test_our_own_kind_needs_its_header() -> None:
    config = SamConfig(MicroConfig(widths=(8, 16, 24, 32), attention_blocks=2))
    assert architecture_name(config) == "micro"
    with pytest.raises(CheckpointError, match=r"use that file"):
        infer_config(shapes(config))


def test_configurations_of_another_version() -> None:
    good = json.loads(config_to_json(VIT_B))
    cases = [
        ({**good, "encoder": {**good["encoder"], "kind": "hiera"}}, "kind 'hiera'"),
        ({**good, "encoder": {**good["encoder"], "registers": 4}}, "registers"),
        ({**good, "encoder": 3}, "no image encoder"),
        ([], "should be an object"),
    ]
    for values, reason in cases:
        with pytest.raises(CheckpointError, match=reason):
            config_from_json(json.dumps(values))
    with pytest.raises(CheckpointError, match="damaged"):
        config_from_json("{")
