"""SAM's image encoder: a plain ViT with windowed attention, as adapted by ViTDet.

Source: Kirillov et al. 2023, appendix A; Li et al. 2022 (ViTDet, arXiv:2203.16527).

Attention is the published one, computed in bands: a row of windows (or, in a global
block, a row of queries) at a time, so that temporaries stay in cache. Relative positions
enter as an additive bias made band by band, never for the whole image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import EncoderOutput
from .layers import LayerNorm2d, MLPBlock, input_dtype, normalise, product_dtype

# Attention scores held at a time: 16 MB in float32.
_SCORES_PER_BAND = 1 << 22
# The same within windows: 3 MB.
_SCORES_PER_WINDOWS = 3 << 18
# Rows of tokens a global block takes at a time after attention.
_GLOBAL_STEP = 16


@dataclass(frozen=True, slots=True)
class ViTConfig:
    """Shape of a ViT image encoder; the defaults are ViT-B's.

    Parameters
    ----------
    width, depth, heads : int
        Token width, number of blocks, attention heads.
    global_blocks : tuple of int
        Blocks that attend to the whole image; the others attend within windows.
    image_size, patch_size : int
        Frame and patch side in pixels.
    window : int
        Window side in patches.
    out_channels : int
        Embedding channels.
    mlp_ratio : float
        Hidden width of the MLPs over `width`.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    image_size: int = 1024
    patch_size: int = 16
    window: int = 14
    out_channels: int = 256
    mlp_ratio: float = 4.0
    kind: str = "vit"

    @property
    def embedding_size(self) -> int:
        """Side of the embedding of a whole frame."""
        return self.image_size // self.patch_size

    def build(self) -> ViTEncoder:
        """Make the encoder with random weights."""
        return ViTEncoder(self)


class PatchEmbed(nn.Module):
    """Patches to tokens: (B, 3, H, W) -> (B, h, w, width)."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """Project each patch; a product, since patches do not overlap."""
        patch = self.proj.kernel_size[0]
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(x, self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Multi-head attention over a 2-D field with decomposed relative positions.

    Parameters
    ----------
    width, heads : int
        Token width and number of heads.
    size : int
        Side of the field the relative positions are stored for.
    """

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, width // heads))

    def split(self, qkv: Tensor) -> Tensor:
        """(B, rows, width, 3 * channels) -> (3, B, heads, rows * width, d)."""
        return qkv.flatten(1, 2).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, split: Tensor, height: int, width: int) -> Tensor:
        """Attend within each of a batch of fields.

        Parameters
        ----------
        split : Tensor
            (3, B, heads, height * width, d): queries, keys and values.
        height, width : int
            Of the field.

        Returns
        -------
        Tensor
            (B, height, width, channels), before the output projection.
        """
        batch = split.shape[1]
        q, k, v = split.flatten(1, 2).contiguous().unbind(0)
        along_h, along_w = self._relative(q.unflatten(1, (height, width)))
        q = q * q.shape[-1] ** -0.5
        on_cpu = q.device.type == "cpu" and not torch.is_grad_enabled()
        if not on_cpu:
            attend = _attend
        elif height + width <= q.shape[-1]:
            attend = _attend_small
        else:
            attend = _attend_in_cache
        out = attend(q, k, v, along_h, along_w)
        out = out.unflatten(0, (batch, self.heads)).transpose(1, 2)
        return out.reshape(batch, height, width, -1)

    def _relative(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Bias of each query towards each row and each column of its field.

        Parameters
        ----------
        q : Tensor
            (n, height, width, d), unscaled.

        Returns
        -------
        along_h, along_w : Tensor
            (n, height * width, height) and (n, height * width, width).
        """
        n, height, width, d = q.shape
        rel_h = relative_positions(self.rel_pos_h, height).to(q.dtype).transpose(1, 2)
        rel_w = relative_positions(self.rel_pos_w, width).to(q.dtype).transpose(1, 2)
        # One product for all queries of a row (column), instead of one for each query.
        by_row = torch.bmm(q.transpose(0, 1).reshape(height, -1, d), rel_h)
        by_row = by_row.reshape(height, n, width, height).transpose(0, 1)
        by_column = torch.bmm(q.permute(2, 0, 1, 3).reshape(width, -1, d), rel_w)
        by_column = by_column.reshape(width, n, height, width).permute(1, 2, 0, 3)
        return by_row.reshape(n, -1, height), by_column.reshape(n, -1, width)


def _attend(q: Tensor, k: Tensor, v: Tensor, along_h: Tensor, along_w: Tensor) -> Tensor:
    """Softmax attention with a bias that is a row part plus a column part.

    Parameters
    ----------
    q, k, v : Tensor
        (n, places, d), q scaled.
    along_h, along_w : Tensor
        (n, places, key rows), (n, places, key columns).

    Returns
    -------
    Tensor
        (n, places, d).
    """
    places = q.shape[1]
    step = max(1, _SCORES_PER_BAND // places)
    bands = []
    for i in range(0, places, step):
        part = slice(i, i + step)
        bias = (along_h[:, part, :, None] + along_w[:, part, None, :]).flatten(2)
        out = F.scaled_dot_product_attention(q[:, part], k, v, attn_mask=bias, scale=1.0)
        bands.append(out)
    return torch.cat(bands, dim=1) if len(bands) > 1 else bands[0]


def _attend_in_cache(q: Tensor, k: Tensor, v: Tensor, along_h: Tensor, along_w: Tensor) -> Tensor:
    """`_attend` for a CPU, without gradients.

    Scores of a few heads and a band of queries are computed, normalised and used in one
    buffer that stays in cache: allocating memory for each costs as much as the arithmetic.
    """
    n, places, _ = q.shape
    heads = min(n, max(2, _SCORES_PER_BAND // places**2))
    step = min(places, max(1, _SCORES_PER_BAND // (heads * places)))
    scratch = q.new_empty(heads * step * places)
    keys = k.transpose(1, 2)
    out = torch.empty_like(q)
    for j in range(0, n, heads):
        for i in range(0, places, step):
            row = along_h[j : j + heads, i : i + step, :, None]
            column = along_w[j : j + heads, i : i + step, None, :]
            band = (*row.shape[:3], column.shape[3])
            scores = scratch[: math.prod(band)].view(band)
            torch.add(row, column, out=scores)
            scores = scores.flatten(2)
            query = q[j : j + heads, i : i + step]
            torch.baddbmm(scores, query, keys[j : j + heads], out=scores)
            torch.softmax(scores, -1, out=scores)
            out[j : j + heads, i : i + step] = torch.bmm(scores, v[j : j + heads])
    return out


def _attend_small(q: Tensor, k: Tensor, v: Tensor, along_h: Tensor, along_w: Tensor) -> Tensor:
    """`_attend` for a CPU, without gradients, within windows.

    A query's bias is part of the product: the bias follows the query's channels, and keys have a
    one in the channels of their row and column. Adding it takes longer, in runs of one window row.
    """
    n, places, d = q.shape
    height, width = along_h.shape[2], along_w.shape[2]
    query = torch.cat([q, along_h, along_w], dim=2)
    key = q.new_zeros(n, height, width, d + height + width)
    key[..., :d] = k.unflatten(1, (height, width))
    key[..., d : d + height] = torch.eye(height, dtype=q.dtype)[:, None]
    key[..., d + height :] = torch.eye(width, dtype=q.dtype)
    keys = key.flatten(1, 2).transpose(1, 2)
    heads = min(n, max(1, _SCORES_PER_WINDOWS // places**2))
    scratch = q.new_empty(heads, places, places)
    out = torch.empty_like(q)
    for j in range(0, n, heads):
        part = slice(j, j + heads)
        scores = scratch[: min(heads, n - j)]
        torch.bmm(query[part], keys[part], out=scores)
        torch.softmax(scores, -1, out=scores)
        torch.bmm(scores, v[part], out=out[part])
    return out


def relative_positions(table: Tensor, size: int) -> Tensor:
    """Relative-position vectors for every pair of places along one axis.

    Parameters
    ----------
    table : Tensor
        (2 * stored - 1, head width). Interpolated where it was stored for another size.
    size : int
        Places along the axis.

    Returns
    -------
    Tensor
        (size, size, head width), [query, key].
    """
    span = 2 * size - 1
    if table.shape[0] != span:
        table = F.interpolate(table.float().T[None], size=span, mode="linear")[0].T
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places[None, :] + size - 1]


class Block(nn.Module):
    """A transformer block; windowed when `window` is above 0, else global."""

    def __init__(self, config: ViTConfig, *, window: int) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, config.heads, window or config.embedding_size)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, int(width * config.mlp_ratio), gelu=True)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, width) -> the same; the residual stream keeps its dtype."""
        if self.window:
            step, attended = self.window, None
        else:
            step, attended = _GLOBAL_STEP, self._everywhere(x)
        bands = []
        for top in range(0, x.shape[1], step):
            band = x[:, top : top + step]
            inner = attended[:, top : top + step] if attended is not None else self._windows(band)
            band = band + self.attn.proj(inner)
            hidden = normalise(band, self.norm2).to(input_dtype(self.mlp.lin1))
            bands.append(band + self.mlp(hidden))
        return torch.cat(bands, dim=1)

    def _qkv(self, x: Tensor) -> Tensor:
        qkv = self.attn.qkv(normalise(x, self.norm1).to(input_dtype(self.attn.qkv)))
        return qkv.to(product_dtype(self.attn.qkv))

    def _everywhere(self, x: Tensor) -> Tensor:
        """Attention within the whole image: (B, h, w, width) -> the same."""
        height, width = x.shape[1:3]
        bands = [
            self.attn.split(self._qkv(x[:, top : top + _GLOBAL_STEP]))
            for top in range(0, height, _GLOBAL_STEP)
        ]
        return self.attn(torch.cat(bands, dim=3), height, width)

    def _windows(self, band: Tensor) -> Tensor:
        """Attention within one row of windows: (B, rows <= window, w, width) -> the same."""
        size = self.window
        batch, rows, width, _ = band.shape
        across = -(-width // size)
        qkv = self._qkv(band)
        if rows < size or across * size > width:
            # A padded token is zero after the norm, so its qkv is the bias alone.
            bias = self.attn.qkv.bias.to(qkv.dtype)
            padded = bias.expand(batch, size, across * size, -1).clone()
            padded[:, :rows, :width] = qkv
            qkv = padded
        qkv = qkv.unflatten(2, (across, size)).transpose(1, 2).flatten(0, 1)
        attended = self.attn(self.attn.split(qkv), size, size)
        out = attended.unflatten(0, (batch, across)).transpose(1, 2)
        return out.flatten(2, 3)[:, :rows, :width]


class ViTEncoder(nn.Module):
    """ViT image encoder with SAM's neck.

    Parameters
    ----------
    config : ViTConfig
        Its shape.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.image_size = config.image_size
        side = config.embedding_size
        self.patch_embed = PatchEmbed(config.patch_size, config.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, config.width))
        self.blocks = nn.ModuleList(
            Block(config, window=0 if i in config.global_blocks else config.window)
            for i in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, config.out_channels, 1, bias=False),
            LayerNorm2d(config.out_channels),
            nn.Conv2d(config.out_channels, config.out_channels, 3, padding=1, bias=False),
            LayerNorm2d(config.out_channels),
        )

    def forward(self, x: Tensor, early: int | None = None) -> EncoderOutput:
        """Encode frames.

        Parameters
        ----------
        x : Tensor
            (B, 3, H, W) normalised; H and W are multiples of the patch side. Positions
            are interpolated where the frame is not `image_size` square.
        early : int, optional
            A block whose output is returned as well.

        Returns
        -------
        EncoderOutput
            Embedding (B, 256, H / patch, W / patch), and the head "early" (B, width, h, w) if
            asked for.
        """
        heads = {}
        dtype = self.patch_embed.proj.weight.dtype
        tokens = self.patch_embed(x.to(dtype)).float()
        tokens = tokens + self._positions(tokens.shape[1], tokens.shape[2])
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index == early:
                heads["early"] = tokens.permute(0, 3, 1, 2)
        embedding = self.neck(tokens.to(dtype).permute(0, 3, 1, 2))
        return EncoderOutput(embedding.float().contiguous(), heads)

    def _positions(self, height: int, width: int) -> Tensor:
        if (height, width) == tuple(self.pos_embed.shape[1:3]):
            return self.pos_embed
        stored = self.pos_embed.permute(0, 3, 1, 2)
        resized = F.interpolate(stored, size=(height, width), mode="bicubic", antialias=False)
        return resized.permute(0, 2, 3, 1)
