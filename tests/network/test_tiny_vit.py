"""TinyViT against a plain, slow rendering of it that reads weights by published name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segment_anything.network import Sam, SamConfig
from napari_segment_anything.network.tiny_vit import TinyViTConfig, TinyViTEncoder, offset_indices

SMALL = TinyViTConfig(
    widths=(8, 16, 24, 32),
    depths=(1, 1, 2, 1),
    heads=(1, 2, 3, 4),
    windows=(3, 3, 4, 3),
    image_size=128,
    classes=5,
)
State = dict[str, Tensor]


def randomise(encoder: torch.nn.Module, seed: int = 0) -> State:
    """Fill every tensor with random values, running statistics too."""
    generator = torch.Generator().manual_seed(seed)
    state = encoder.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif name.endswith("attention_biases"):
            tensor.copy_(noise)
        elif tensor.ndim == 1:
            tensor.copy_(0.3 * noise + (1.0 if name.endswith("weight") else 0.0))
        else:
            tensor.copy_(noise * tensor[0].numel() ** -0.5)
    return state


def conv_bn(s: State, name: str, x: Tensor, stride: int = 1, depthwise: bool = False) -> Tensor:
    weight = s[f"{name}.c.weight"]
    pad = weight.shape[-1] // 2
    x = F.conv2d(x, weight, None, stride, pad, groups=weight.shape[0] if depthwise else 1)
    mean, var = s[f"{name}.bn.running_mean"], s[f"{name}.bn.running_var"]
    x = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
    return x * s[f"{name}.bn.weight"][:, None, None] + s[f"{name}.bn.bias"][:, None, None]


def layer_norm(s: State, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    var = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps) * s[f"{name}.weight"] + s[f"{name}.bias"]


def attention(s: State, name: str, tokens: Tensor, window: int, heads: int) -> Tensor:
    """One window: (window**2, channels)."""
    channels = tokens.shape[-1]
    d = channels // heads
    x = layer_norm(s, f"{name}.norm", tokens)
    qkv = x @ s[f"{name}.qkv.weight"].T + s[f"{name}.qkv.bias"]
    # Biases are numbered in the order in which pairs of tokens first show an offset.
    points = [(r, c) for r in range(window) for c in range(window)]
    numbers: dict[tuple[int, int], int] = {}
    index = torch.zeros(len(points), len(points), dtype=torch.long)
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            offset = (abs(a[0] - b[0]), abs(a[1] - b[1]))
            index[i, j] = numbers.setdefault(offset, len(numbers))
    out = []
    for h in range(heads):
        q, k, v = qkv[:, h * 3 * d : (h + 1) * 3 * d].split(d, dim=1)
        scores = q @ k.T * d**-0.5 + s[f"{name}.attention_biases"][h][index]
        out.append(scores.softmax(dim=-1) @ v)
    return torch.cat(out, dim=1) @ s[f"{name}.proj.weight"].T + s[f"{name}.proj.bias"]


def block(s: State, name: str, x: Tensor, window: int, heads: int) -> Tensor:
    """One image: (channels, height, width)."""
    channels, height, width = x.shape
    down, across = -(-height // window), -(-width // window)
    padded = torch.zeros(channels, down * window, across * window)
    padded[:, :height, :width] = x
    attended = torch.zeros_like(padded)
    for i in range(down):
        for j in range(across):
            rows = slice(i * window, (i + 1) * window)
            columns = slice(j * window, (j + 1) * window)
            tokens = padded[:, rows, columns].reshape(channels, -1).T
            out = attention(s, f"{name}.attn", tokens, window, heads)
            attended[:, rows, columns] = out.T.reshape(channels, window, window)
    x = x + attended[:, :height, :width]
    x = conv_bn(s, f"{name}.local_conv", x[None], depthwise=True)[0]
    tokens = x.permute(1, 2, 0)
    hidden = layer_norm(s, f"{name}.mlp.norm", tokens)
    hidden = F.gelu(hidden @ s[f"{name}.mlp.fc1.weight"].T + s[f"{name}.mlp.fc1.bias"])
    hidden = hidden @ s[f"{name}.mlp.fc2.weight"].T + s[f"{name}.mlp.fc2.bias"]
    return x + hidden.permute(2, 0, 1)


def oracle(s: State, config: TinyViTConfig, x: Tensor) -> Tensor:
    """One frame: (1, 3, H, W)."""
    x = F.gelu(conv_bn(s, "patch_embed.seq.0", x, stride=2))
    x = conv_bn(s, "patch_embed.seq.2", x, stride=2)
    for i, depth in enumerate(config.depths):
        for j in range(depth):
            name = f"layers.{i}.blocks.{j}"
            if i == 0:
                y = F.gelu(conv_bn(s, f"{name}.conv1", x))
                y = F.gelu(conv_bn(s, f"{name}.conv2", y, depthwise=True))
                x = F.gelu(x + conv_bn(s, f"{name}.conv3", y))
            else:
                x = block(s, name, x[0], config.windows[i], config.heads[i])[None]
        if i < 3:
            name = f"layers.{i}.downsample"
            x = F.gelu(conv_bn(s, f"{name}.conv1", x))
            x = F.gelu(conv_bn(s, f"{name}.conv2", x, stride=1 if i == 2 else 2, depthwise=True))
            x = conv_bn(s, f"{name}.conv3", x)
    x = F.conv2d(x, s["neck.0.weight"]).permute(0, 2, 3, 1)
    x = layer_norm(s, "neck.1", x, eps=1e-6).permute(0, 3, 1, 2)
    x = F.conv2d(x, s["neck.2.weight"], padding=1).permute(0, 2, 3, 1)
    return layer_norm(s, "neck.3", x, eps=1e-6).permute(0, 3, 1, 2)


def published() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of MobileSAM's image encoder, spelled out."""

    def conv(name: str, outputs: int, inputs: int, side: int) -> Iterator:
        yield f"{name}.c.weight", (outputs, inputs, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.bn.{part}", (outputs,)
        yield f"{name}.bn.num_batches_tracked", ()

    def linear(name: str, outputs: int, inputs: int) -> Iterator:
        yield f"{name}.weight", (outputs, inputs)
        yield f"{name}.bias", (outputs,)

    def norm(name: str, width: int) -> Iterator:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)

    yield from conv("patch_embed.seq.0", 32, 3, 3)
    yield from conv("patch_embed.seq.2", 64, 32, 3)
    for j in range(2):
        yield from conv(f"layers.0.blocks.{j}.conv1", 256, 64, 1)
        yield from conv(f"layers.0.blocks.{j}.conv2", 256, 1, 3)
        yield from conv(f"layers.0.blocks.{j}.conv3", 64, 256, 1)
    widths = [64, 128, 160, 320]
    for i in range(3):
        w = widths[i + 1]
        yield from conv(f"layers.{i}.downsample.conv1", w, widths[i], 1)
        yield from conv(f"layers.{i}.downsample.conv2", w, 1, 3)
        yield from conv(f"layers.{i}.downsample.conv3", w, w, 1)
    for i, w, depth, heads, window in ((1, 128, 2, 4, 7), (2, 160, 6, 5, 14), (3, 320, 2, 10, 7)):
        for j in range(depth):
            name = f"layers.{i}.blocks.{j}"
            yield f"{name}.attn.attention_biases", (heads, window * window)
            yield from norm(f"{name}.attn.norm", w)
            yield from linear(f"{name}.attn.qkv", 3 * w, w)
            yield from linear(f"{name}.attn.proj", w, w)
            yield from norm(f"{name}.mlp.norm", w)
            yield from linear(f"{name}.mlp.fc1", 4 * w, w)
            yield from linear(f"{name}.mlp.fc2", w, 4 * w)
            yield from conv(f"{name}.local_conv", w, 1, 3)
    yield from norm("norm_head", 320)
    yield from linear("head", 1000, 320)
    yield "neck.0.weight", (256, 320, 1, 1)
    yield from norm("neck.1", 256)
    yield "neck.2.weight", (256, 256, 3, 3)
    yield from norm("neck.3", 256)


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Sam(SamConfig(TinyViTConfig()))
    encoder = network.image_encoder
    assert {k: tuple(v.shape) for k, v in encoder.state_dict().items()} == dict(published())
    # TinyViT-5M has 5,392,764 parameters, SAM's neck 672,768.
    assert sum(p.numel() for p in encoder.parameters()) == 5_392_764 + 672_768
    # The published file has 40,728,226 bytes; what is not tensors is names and padding.
    stored = sum(v.numel() * v.element_size() for v in network.state_dict().values())
    assert 0 < 40_728_226 - stored < 500 * len(network.state_dict())


@pytest.mark.parametrize(("height", "width"), [(128, 128), (64, 96), (48, 144)])
def test_equals_the_plain_rendering(height: int, width: int) -> None:
    encoder = TinyViTEncoder(SMALL).eval()
    state = randomise(encoder)
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = encoder(x)
        plain = oracle(state, SMALL, x)
    assert ours.heads == {}
    assert ours.embedding.shape == (1, 256, height // 16, width // 16)
    assert ours.embedding.dtype == torch.float32
    torch.testing.assert_close(ours.embedding, plain, rtol=1e-4, atol=1e-4)


def test_images_of_a_batch_are_independent() -> None:
    encoder = TinyViTEncoder(SMALL).eval()
    randomise(encoder)
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together = encoder(x).embedding
        alone = torch.cat([encoder(x[i : i + 1]).embedding for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_published_shape_at_full_frame() -> None:
    encoder = TinyViTConfig().build().eval()
    assert encoder.image_size == 1024
    with torch.inference_mode():
        assert encoder(torch.zeros(1, 3, 1024, 1024)).embedding.shape == (1, 256, 64, 64)


def test_sixteen_bits_stay_near() -> None:
    network = Sam(SamConfig(SMALL)).eval()
    randomise(network.image_encoder)
    pixels = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(3)) * 255
    with torch.inference_mode():
        exact = network.encode(pixels).embedding
        network.set_precision(torch.bfloat16)
        rough = network.encode(pixels).embedding
    assert rough.dtype == torch.float32
    error = (rough - exact).norm() / exact.norm()
    assert 0 < error < 0.03


def test_training_reaches_every_used_weight() -> None:
    encoder = TinyViTEncoder(SMALL).train()
    randomise(encoder)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    encoder(x).embedding.square().mean().backward()
    idle = {n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {"head.weight", "head.bias", "norm_head.weight", "norm_head.bias"}


def test_offsets_are_counted_in_rows_first() -> None:
    index = offset_indices(3)
    assert index.shape == (9, 9)
    assert index[0, 5] == 1 * 3 + 2  # (0, 0) to (1, 2)
    assert torch.equal(index, index.T)


def test_configuration_is_plain_data() -> None:
    assert TinyViTConfig().embedding_size == 64
    assert TinyViTConfig().kind == "tiny_vit"
    assert json.loads(json.dumps(dataclasses.asdict(SMALL)))["classes"] == 5
