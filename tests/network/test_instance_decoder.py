"""The instance decoder against a plain rendering that reads weights by published name."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segment_anything.network.instance_decoder import InstanceDecoder, InstanceDecoderConfig

from .test_tiny_vit import randomise

State = dict[str, Tensor]


def small(transposed: bool = False, samplers: bool = False) -> InstanceDecoderConfig:
    return InstanceDecoderConfig(
        inputs=12,
        widths=(32, 16, 8, 4),
        transposed=transposed,
        transposed_samplers=samplers,
    )


def double(s: State, name: str, x: Tensor) -> Tensor:
    for i in (1, 4):
        mean = x.mean((2, 3), keepdim=True)
        var = ((x - mean) ** 2).mean((2, 3), keepdim=True)
        x = (x - mean) / torch.sqrt(var + 1e-5)
        x = F.relu(F.conv2d(x, s[f"{name}.block.{i}.weight"], s[f"{name}.block.{i}.bias"], 1, 1))
    return x


def upsample(s: State, name: str, x: Tensor) -> Tensor:
    if f"{name}.block.weight" in s:
        return F.conv_transpose2d(x, s[f"{name}.block.weight"], s[f"{name}.block.bias"], 2)
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return F.conv2d(x, s[f"{name}.conv.weight"], s[f"{name}.conv.bias"])


def deconv(s: State, name: str, x: Tensor) -> Tensor:
    x = upsample(s, f"{name}.block.0", x)
    x = F.conv2d(x, s[f"{name}.block.1.block.weight"], s[f"{name}.block.1.block.bias"], 1, 1)
    mean, var = s[f"{name}.block.2.running_mean"], s[f"{name}.block.2.running_var"]
    x = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
    x = x * s[f"{name}.block.2.weight"][:, None, None] + s[f"{name}.block.2.bias"][:, None, None]
    return F.relu(x)


def oracle(s: State, embedding: Tensor) -> Tensor:
    z9 = deconv(s, "deconv1", embedding)
    z6 = deconv(s, "deconv2", z9)
    z3 = deconv(s, "deconv3", z6)
    z0 = deconv(s, "deconv4", z3)
    x = double(s, "base", embedding)
    for i, skip in enumerate((z9, z6, z3)):
        x = upsample(s, f"decoder.samplers.{i}", x)
        spare = (skip.shape[1] - x.shape[1]) // 2
        x = double(s, f"decoder.blocks.{i}", torch.cat([x, skip[:, spare:-spare]], dim=1))
    x = double(s, "decoder_head", torch.cat([upsample(s, "deconv_out", x), z0], dim=1))
    return torch.sigmoid(F.conv2d(x, s["out_conv.weight"], s["out_conv.bias"]))


@pytest.mark.parametrize(("transposed", "samplers"), [(False, False), (True, False), (True, True)])
def test_equals_the_plain_rendering(transposed: bool, samplers: bool) -> None:
    decoder = InstanceDecoder(small(transposed, samplers)).eval()
    state = randomise(decoder)
    embedding = torch.randn(2, 12, 6, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = decoder(embedding)
        plain = oracle(state, embedding)
    assert ours.shape == (2, 3, 96, 128)
    assert ours.min() >= 0
    assert ours.max() <= 1
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        state = InstanceDecoder().state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    expected: dict[str, tuple[int, ...]] = {"out_conv.weight": (3, 64, 1, 1), "out_conv.bias": (3,)}

    def add(name: str, outputs: int, inputs: int, side: int) -> None:
        expected[f"{name}.weight"] = (outputs, inputs, side, side)
        expected[f"{name}.bias"] = (outputs,)

    add("base.block.1", 512, 256, 3)
    add("base.block.4", 512, 512, 3)
    add("decoder_head.block.1", 64, 128, 3)
    add("decoder_head.block.4", 64, 64, 3)
    add("deconv_out.conv", 64, 64, 1)
    for i, (a, b) in enumerate(((512, 256), (256, 128), (128, 64))):
        add(f"decoder.blocks.{i}.block.1", b, a, 3)
        add(f"decoder.blocks.{i}.block.4", b, b, 3)
        add(f"decoder.samplers.{i}.conv", b, a, 1)
    for i, (a, b) in enumerate(((256, 512), (512, 256), (256, 128), (128, 64)), start=1):
        add(f"deconv{i}.block.0.conv", b, a, 1)
        add(f"deconv{i}.block.1.block", b, b, 3)
        for part in ("weight", "bias", "running_mean", "running_var"):
            expected[f"deconv{i}.block.2.{part}"] = (b,)
        expected[f"deconv{i}.block.2.num_batches_tracked"] = ()
    assert shapes == expected


def test_training_has_the_same_shape_and_reaches_every_weight() -> None:
    decoder = InstanceDecoder(small()).train()
    randomise(decoder)
    out = decoder(torch.randn(2, 12, 4, 4, generator=torch.Generator().manual_seed(2)))
    assert out.shape == (2, 3, 64, 64)
    out.square().mean().backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_sixteen_bits_stay_near() -> None:
    decoder = InstanceDecoder(small()).eval()
    randomise(decoder)
    embedding = torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        exact = decoder(embedding)
        decoder.set_precision(torch.bfloat16)
        rough = decoder(embedding)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().mean() < 0.01


def test_four_levels_or_none() -> None:
    with pytest.raises(ValueError, match="four levels"):
        InstanceDecoder(InstanceDecoderConfig(widths=(8, 4)))
