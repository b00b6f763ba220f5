"""TinyViT as MobileSAM uses it: convolutions first, then attention in windows.

Source: Wu et al. 2022 (TinyViT, arXiv:2207.10666); Zhang et al. 2023 (MobileSAM,
arXiv:2306.14289): the last merging does not stride, so that the embedding has SAM's
stride of 16, and SAM's neck replaces the classifier. The classifier's tensors are
in the published file and are kept here, unused, so that the state dict is the published
one.

Everything runs channels-last: (B, C, H, W) in memory as (B, H, W, C), so that tokens are
a view of the map and no transposition is needed between convolutions and attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import EncoderOutput
from .layers import LayerNorm2d, input_dtype, normalise, product_dtype


@dataclass(frozen=True, slots=True)
class TinyViTConfig:
    """Shape of a TinyViT image encoder; the defaults are MobileSAM's.

    Parameters
    ----------
    widths, depths : tuple of int
        Channels and blocks of each stage; the first stage is convolutional.
    heads, windows : tuple of int
        Attention heads and window side, in tokens, of each stage; the first stage's
        are not used.
    image_size : int
        Frame side in pixels.
    classes : int
        Outputs of the unused classifier in the checkpoint; 0 for none.
    expansion : int
        Hidden channels of the first stage's blocks over its width.
    mlp_ratio : int
        Hidden width of the MLPs over the stage's width.
    out_channels : int
        Embedding channels.
    """

    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)
    image_size: int = 1024
    classes: int = 1000
    expansion: int = 4
    mlp_ratio: int = 4
    out_channels: int = 256
    kind: str = "tiny_vit"

    @property
    def stride(self) -> int:
        """Pixels a cell of the embedding, along one axis: 16 with four stages."""
        return 1 << len(self.widths)

    @property
    def embedding_size(self) -> int:
        """Side of the embedding of a whole frame."""
        return self.image_size // self.stride

    def build(self) -> TinyViTEncoder:
        """Make the encoder with random weights."""
        return TinyViTEncoder(self)


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation.

    Out of training the two are one convolution: the normalisation's scale is folded
    into the weights, in float32, on the way.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        conv, norm = self.c, self.bn
        if self.training or norm.running_var is None or norm.running_mean is None:
            return norm(conv(x).float()).to(x.dtype)  # type: ignore[no-any-return]
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = conv.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        dtype = conv.weight.dtype
        weight, bias = weight.to(dtype), bias.to(dtype)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, groups=conv.groups)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project back, add: the first stage's block."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        hidden = width * expansion
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(hidden))


class PatchMerging(nn.Module):
    """Between stages: change the width, and halve the sides where it strides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Attention within square windows, with a learned bias for each |offset|.

    Parameters
    ----------
    width, heads : int
        Token width and number of heads.
    window : int
        Window side in tokens.
    """

    attention_bias_idxs: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("attention_bias_idxs", offset_indices(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within windows.

        Parameters
        ----------
        x : Tensor
            (B, H, W, width); padded with zeros to whole windows. The padding takes part
            in the attention, as it did when the published weights were trained.

        Returns
        -------
        Tensor
            (B, H, W, width).
        """
        side = self.window
        batch, height, width, channels = x.shape
        down, across = -(-height // side), -(-width // side)
        padded = F.pad(x, (0, 0, 0, across * side - width, 0, down * side - height))
        dtype = product_dtype(self.qkv)
        qkv = self.qkv(normalise(padded, self.norm).to(input_dtype(self.qkv))).to(dtype)
        qkv = qkv.reshape(batch, down, side, across, side, self.heads, 3, -1)
        # (q/k/v, windows, heads, tokens of a window, channels of a head)
        qkv = qkv.permute(6, 0, 1, 3, 5, 2, 4, 7).flatten(1, 3).flatten(3, 4)
        query, key, value = qkv.unbind(0)
        bias = self.attention_biases[:, self.attention_bias_idxs].to(dtype)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        out = out.reshape(batch, down, across, self.heads, side, side, -1)
        out = out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, down * side, across * side, channels)
        return self.proj(out[:, :height, :width]).to(x.dtype)  # type: ignore[no-any-return]


class TokenMLP(nn.Module):
    """Norm and two linear layers with GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        hidden = normalise(x, self.norm).to(input_dtype(self.fc1))
        return self.fc2(F.gelu(self.fc1(hidden))).to(x.dtype)  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Window attention, a 3 x 3 convolution for each channel, and an MLP."""

    def __init__(self, width: int, heads: int, window: int, mlp_ratio: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window)
        self.mlp = TokenMLP(width, width * mlp_ratio)
        self.local_conv = ConvNorm(width, width, 3, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same."""
        x = x + self.attn(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks of one width, then the merging that leads to the next stage."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the next stage's input."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)  # type: ignore[no-any-return]


class PatchEmbed(nn.Module):
    """Two strided convolutions: pixels to the first stage, at a quarter of the sides."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2)
        )

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are cast to."""
        return self.seq[0].c.weight.dtype  # type: ignore[union-attr, return-value]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, width, H / 4, W / 4)."""
        return self.seq(x)  # type: ignore[no-any-return]


class TinyViTEncoder(nn.Module):
    """TinyViT image encoder with SAM's neck and the state-dict keys of MobileSAM.

    Parameters
    ----------
    config : TinyViTConfig
        Its shape.
    """

    def __init__(self, config: TinyViTConfig) -> None:
        super().__init__()
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = PatchEmbed(config.widths[0])
        self.layers = nn.ModuleList(_stage(config, i) for i in range(len(config.widths)))
        last, out = config.widths[-1], config.out_channels
        if config.classes:
            self.norm_head = nn.LayerNorm(last)
            self.head = nn.Linear(last, config.classes)
        self.neck = nn.Sequential(
            nn.Conv2d(last, out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )

    def forward(self, x: Tensor, early: int | None = None) -> EncoderOutput:
        """Encode frames.

        Parameters
        ----------
        x : Tensor
            (B, 3, H, W) normalised. Any H and W do; multiples of `config.stride` give
            an embedding of exactly H / stride by W / stride. There are no absolute
            positions, hence nothing to interpolate.
        early : int, optional
            A stage whose output is returned as well.

        Returns
        -------
        EncoderOutput
            Embedding (B, 256, H / 16, W / 16), and the head "early" (B, C, h, w) if asked for.
        """
        dtype, heads = self.patch_embed.dtype, {}
        x = self.patch_embed(x.to(dtype).contiguous(memory_format=torch.channels_last))
        for index, stage in enumerate(self.layers):
            x = stage(x)
            if index == early:
                heads["early"] = x.float()
        return EncoderOutput(self.neck(x).float().contiguous(), heads)


def offset_indices(window: int) -> Tensor:
    """Return which bias each pair of tokens of a window uses.

    Parameters
    ----------
    window : int
        Window side in tokens.

    Returns
    -------
    Tensor
        (window**2, window**2) int64: the pair's |row offset| * window + |column offset|,
        which is the order in which the published weights count offsets.
    """
    along = torch.arange(window)
    rows, columns = (m.flatten() for m in torch.meshgrid(along, along, indexing="ij"))
    row_offset = (rows[:, None] - rows[None]).abs()
    column_offset = (columns[:, None] - columns[None]).abs()
    return row_offset * window + column_offset


def _stage(config: TinyViTConfig, index: int) -> Stage:
    width, depth = config.widths[index], config.depths[index]
    blocks: list[nn.Module]
    if index == 0:
        blocks = [InvertedResidual(width, config.expansion) for _ in range(depth)]
    else:
        heads, window = config.heads[index], config.windows[index]
        blocks = [AttentionBlock(width, heads, window, config.mlp_ratio) for _ in range(depth)]
    if index + 1 == len(config.widths):
        return Stage(blocks, None)
    to_last = index + 2 == len(config.widths)
    return Stage(blocks, PatchMerging(width, config.widths[index + 1], 1 if to_last else 2))
