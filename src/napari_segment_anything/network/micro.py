"""The embedded default's image encoder: a small convolution and attention hybrid.

A convolutional stem and residual stages go down to stride 16, where a few global attention
blocks see the whole frame. Features are merged as in a feature pyramid to the embedding at stride
8 (64 x 64 for the 512 px frame, the size that the published mask decoder expects), and a light
decoder with skip connections continues to stride 2 for the dense head.

The dense head
--------------
``EncoderOutput.heads["dense"]`` is float32 (batch, 6, S/2, S/2); cell (i, j) describes the frame
pixel (2 i + 0.5, 2 j + 0.5). Its channels are named in `DENSE_CHANNELS`:

======  ==========  =============================================================================
index   name        meaning
======  ==========  =============================================================================
0       foreground  logit: the cell belongs to an object
1       interior    logit of the distance to the object's edge over the largest such distance in
                    the object: 1 on its ridge, 0 at its edge and in the background
2       top         frame pixels from the cell up to the top edge of its object's box
3       left        frame pixels from the cell to the left edge of the box
4       bottom      frame pixels from the cell down to the bottom edge of the box
5       right       frame pixels from the cell to the right edge of the box
======  ==========  =============================================================================

Channels 2 to 5 are defined in the foreground only. The box is that of the visible part of the
object; it is constant over an object, which separates touching objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import EncoderOutput
from .layers import normalise

DENSE_CHANNELS = ("foreground", "interior", "top", "left", "bottom", "right")
DENSE_STRIDE = 2
MICRO_CELL = 16
"""Frame pixels along a cell of the coarsest map: frames have whole cells."""

_CORNERS = (slice(0, 2), slice(2, 4))
_BOX_UNIT = 16.0  # the box channels leave the last convolution in units of this many frame pixels


@dataclass(frozen=True)
class MicroConfig:
    """Size and shape of a `MicroEncoder`.

    Parameters
    ----------
    image_size : int
        Side of the frame in pixels, a multiple of 16. Other input sizes are accepted too, so
        that training can run on crops.
    out_channels : int
        Channels of the embedding.
    widths : tuple of int
        Channels at strides 2, 4, 8 and 16.
    attention_blocks : int
        Global attention blocks at stride 16.
    heads : int
        Attention heads.
    positions : bool
        Add to the embedding the positional encoding of the two corners of the box that the dense
        head predicts at each cell, in the frequencies of the prompt encoder: the cells of an object
        then share a code, and so do the tokens of a box prompt for it. Also add the finer features
        within each cell, which the dense head gets through skip connections and the mask decoder
        would otherwise lack.
    norm : {"batch", "folded"}
        "batch": batch normalisation after each convolution, for training from scratch.
        "folded": none; the convolutions have absorbed it (see `MicroEncoder.folded`).
    """

    image_size: int = 512
    out_channels: int = 256
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    attention_blocks: int = 4
    heads: int = 8
    positions: bool = True
    norm: str = "folded"

    @property
    def kind(self) -> str:
        """Name of the encoder family."""
        return "micro"

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding for a whole frame."""
        return self.image_size // 8

    def build(self) -> MicroEncoder:
        """Make the encoder, with random weights."""
        return MicroEncoder(self)


class ConvNorm(nn.Module):
    """A convolution with batch normalisation, or with a bias that has absorbed it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, norm: str) -> None:
        super().__init__()
        batch = norm == "batch"
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not batch)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, momentum=0.03) if batch else nn.Identity()
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, h, w) to (batch, outputs, h / stride, w / stride)."""
        return self.norm(self.conv(x))


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a skip connection."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.first = ConvNorm(width, width, 3, 1, norm)
        self.second = ConvNorm(width, width, 3, 1, norm)
        if isinstance(self.second.norm, nn.BatchNorm2d):
            nn.init.constant_(self.second.norm.weight, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, h, w) to the same shape."""
        y = self.second(_relu(self.first(x)))
        y += x
        return _relu(y)


class AttentionBlock(nn.Module):
    """A pre-norm transformer block over all positions of a map.

    It has no positional encoding, and so no fixed grid: positions reach it through the zero padding
    of the convolutions around it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 3 * width)
        self.reduce = nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, h, w) to the same shape."""
        _, width, height, columns = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, width // self.heads))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + self.reduce(F.gelu(self.expand(self.norm2(tokens))))
        # strides as those of a channels-last map, so that convolutions keep the layout
        return tokens.unflatten(1, (height, columns)).permute(0, 3, 1, 2)


class MicroEncoder(nn.Module):
    """Image encoder and dense head of the embedded default model.

    Parameters
    ----------
    config : MicroConfig
        Size and shape.
    """

    frequencies: Tensor

    def __init__(self, config: MicroConfig) -> None:
        super().__init__()
        if config.image_size % MICRO_CELL:
            raise ValueError(
                f"image_size must be a multiple of {MICRO_CELL}, not {config.image_size}"
            )
        self.config = config
        self.image_size = config.image_size
        norm = config.norm
        w2, w4, w8, w16 = config.widths
        self.stem = ConvNorm(3, w2, 3, 2, norm)
        self.stem2 = ConvNorm(w2, w2, 3, 1, norm)
        self.down4 = ConvNorm(w2, w4, 3, 2, norm)
        self.stage4 = nn.Sequential(Residual(w4, norm), Residual(w4, norm))
        self.down8 = ConvNorm(w4, w8, 3, 2, norm)
        self.stage8 = nn.Sequential(Residual(w8, norm), Residual(w8, norm))
        self.down16 = ConvNorm(w8, w16, 3, 2, norm)
        half = config.attention_blocks // 2
        blocks = [AttentionBlock(w16, config.heads) for _ in range(config.attention_blocks)]
        self.stage16 = nn.Sequential(
            Residual(w16, norm), *blocks[:half], Residual(w16, norm), *blocks[half:]
        )
        out = config.out_channels
        self.lateral16 = ConvNorm(w16, out, 1, 1, norm)
        self.lateral8 = ConvNorm(w8, out, 1, 1, norm)
        self.merge = nn.Conv2d(out, out, 3, 1, 1)
        self.merge_norm = nn.LayerNorm(out)
        if config.positions:
            self.register_buffer("frequencies", torch.randn(2, out // 2))
            self.mark = nn.Linear(out, out)
            nn.init.eye_(self.mark.weight)
            nn.init.zeros_(self.mark.bias)
            self.detail = nn.Linear(16 * (w2 + 2), out)
        channels = len(DENSE_CHANNELS)
        self.coarse = nn.Conv2d(out, channels, 1)
        self.up4 = ConvNorm(out, w4, 1, 1, norm)
        self.skip4 = ConvNorm(w4, w4, 1, 1, norm)
        self.fuse4 = ConvNorm(w4, w4, 3, 1, norm)
        self.up2 = ConvNorm(w4, w2, 1, 1, norm)
        self.skip2 = ConvNorm(w2, w2, 1, 1, norm)
        self.fuse2 = ConvNorm(w2, w2, 3, 1, norm)
        self.dense = nn.Conv2d(w2, channels, 1)
        for head in (self.coarse, self.dense):
            nn.init.normal_(head.weight, std=0.01)
            offset = torch.ones(channels)
            offset[:2] = -1.0
            head.bias = nn.Parameter(offset)

    def forward(self, x: Tensor, origin: Tensor | None = None) -> EncoderOutput:
        """Encode normalised pixels.

        Parameters
        ----------
        x : Tensor
            (batch, 3, h, w), normalised and padded, h and w multiples of 16; S x S for a frame.
        origin : Tensor, optional
            (batch, 2) row and column in the frame of the first pixel, when `x` is a crop.

        Returns
        -------
        EncoderOutput
            Embedding (batch, 256, h/8, w/8); heads ``"dense"`` (batch, 6, h/2, w/2) and
            ``"coarse"``, the same channels read off the embedding by one linear layer at
            stride 8 (an auxiliary output of training).
        """
        merged, x4, x2 = self._trunk(x)
        y2, dense = self._read_dense(merged, x4, x2)
        heads = {"dense": dense, "coarse": _scaled(self.coarse(merged).float())}
        embedding = merged.float()
        if self.config.positions:
            # features are scaled down, so that positions dominate in the decoder's first attention
            embedding = torch.add(self._marks(dense.detach(), origin), embedding, alpha=0.3)
            # detail within a cell: masks are four times as fine as the embedding
            embedding += self._details(y2, dense[:, :2].sigmoid().to(y2.dtype))
        return EncoderOutput(embedding=embedding, heads=heads)

    def dense_maps(self, x: Tensor) -> Tensor:
        """Return the head ``"dense"`` of `forward` alone, in less time."""
        return self._read_dense(*self._trunk(x))[1]

    def _trunk(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Merged features at stride 8, and finer ones at strides 4 and 2."""
        x = x.to(self.dense.weight.dtype).contiguous(memory_format=torch.channels_last)
        x2 = _relu(self.stem2(_relu(self.stem(x))))
        x4 = self.stage4(_relu(self.down4(x2)))
        x8 = self.stage8(_relu(self.down8(x4)))
        x16 = self.stage16(_relu(self.down16(x8)))
        merged = self.lateral8(x8)
        merged += _double(self.lateral16(x16))
        merged = self.merge(_relu(merged))
        merged = normalise(merged.permute(0, 2, 3, 1), self.merge_norm).permute(0, 3, 1, 2)
        return merged, x4, x2

    def _read_dense(self, merged: Tensor, x4: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Features at stride 2, and the dense maps."""
        y4 = self.skip4(x4)
        y4 += _double(self.up4(merged))
        y4 = _relu(self.fuse4(_relu(y4)))
        y2 = self.skip2(x2)
        y2 += _double(self.up2(y4))
        y2 = _relu(self.fuse2(_relu(y2)))
        return y2, _scaled(self.dense(y2).float())

    def _marks(self, dense: Tensor, origin: Tensor | None) -> Tensor:
        """Encoded corners of the predicted boxes, (batch, 256, h/8, w/8)."""
        foreground = dense[:, :1].sigmoid()
        top, left, bottom, right = box_edges(dense[:, 2:])
        corners = torch.stack([left, top, right, bottom], 1)
        weight = foreground * dense[:, 1:2].sigmoid() + 1e-4
        share = F.avg_pool2d(weight, 4)
        pooled = F.avg_pool2d(corners * weight, 4) / share
        if origin is not None:
            pooled = pooled + origin.flip(1).repeat(1, 2)[:, :, None, None]
        unit = (pooled.permute(0, 2, 3, 1) + 0.5) / self.image_size
        place = 4 * math.pi * unit - 2 * math.pi
        first, second = (place[..., side] @ self.frequencies for side in _CORNERS)
        encoded = torch.cat([first.sin() + second.sin(), first.cos_() + second.cos_()], dim=-1)
        encoded *= F.avg_pool2d(foreground, 4).permute(0, 2, 3, 1)
        return self.mark(encoded.to(self.mark.weight.dtype)).permute(0, 3, 1, 2).float()

    def _details(self, y2: Tensor, chances: Tensor) -> Tensor:
        """Finer features and chances within cells at stride 8, (batch, 256, h/8, w/8)."""
        # `detail` as a convolution: no copy of the features, cell by cell
        weight = self.detail.weight.unflatten(1, (-1, 4, 4))
        width = y2.shape[1]
        found = F.conv2d(y2, weight[:, :width], self.detail.bias, 4)
        found += F.conv2d(chances, weight[:, width:], None, 4)
        return found.float()

    def folded(self) -> MicroEncoder:
        """Return the same function with batch normalisation folded into the convolutions.

        Returns
        -------
        MicroEncoder
            A new encoder with ``norm="folded"``; its output equals this one's in eval mode.
        """
        other = MicroEncoder(replace(self.config, norm="folded"))
        state = {}
        modules = dict(self.named_modules())
        for key, value in self.state_dict().items():
            owner = modules.get(key.split(".conv.")[0]) if ".conv." in key else None
            if isinstance(owner, ConvNorm):
                continue
            if ".norm." in key and isinstance(modules.get(key.split(".norm.")[0]), ConvNorm):
                continue
            state[key] = value.clone()
        for name, module in modules.items():
            if not isinstance(module, ConvNorm):
                continue
            if isinstance(module.norm, nn.BatchNorm2d):
                weight, bias = _fold(module.conv.weight, module.norm)
            else:
                weight, bias = module.conv.weight, module.conv.bias  # type: ignore[assignment]
            state[f"{name}.conv.weight"] = weight.detach().clone()
            state[f"{name}.conv.bias"] = bias.detach().clone()
        other.load_state_dict(state)
        return other.train(self.training)


def box_edges(sides: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Edges of the box that each cell of the dense head predicts, in pixels from the first.

    Parameters
    ----------
    sides : Tensor
        (..., 4, h, w), channels 2 to 5 of the head.

    Returns
    -------
    top, left, bottom, right : Tensor
        (..., h, w).
    """
    shift = (DENSE_STRIDE - 1) / 2
    rows, cols = (torch.arange(n, device=sides.device) * DENSE_STRIDE for n in sides.shape[-2:])
    rows, cols = rows[:, None] + shift, cols[None] + shift
    top, left, bottom, right = sides.unbind(-3)
    return rows - top, cols - left, rows + bottom, cols + right


def _fold(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one convolution equal to `weight` followed by `norm`."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a norm without running statistics cannot be folded")
    scale = norm.weight / (variance + norm.eps).sqrt()
    return weight * scale[:, None, None, None], norm.bias - mean * scale


def _relu(x: Tensor) -> Tensor:
    return F.relu(x, inplace=True)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def _scaled(x: Tensor) -> Tensor:
    return torch.cat([x[:, :2], x[:, 2:] * _BOX_UNIT], dim=1)
