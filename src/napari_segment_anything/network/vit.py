"""SAM's image encoder: a plain ViT with windowed attention, as adapted by ViTDet.

Source: Kirillov et al. 2023, appendix A; Li et al. 2022 (ViTDet, arXiv:2203.16527).

Attention is the published one, computed in bands: a row of windows (or, in a global
block, a row of queries) at a time, so that temporaries stay in cache. Relative positions
enter as an additive bias made band by band, never for the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import EncoderOutput
from .layers import LayerNorm2d, MLPBlock, normalise


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

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, h, w, 3 width) -> three of (B, heads, h * w, head width)."""
        batch, height, width, _ = qkv.shape
        qkv = qkv.reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return q, k, v

    def bias(self, q: Tensor, rows: range, size: tuple[int, int]) -> Tensor:
        """Relative-position bias of the queries in `rows` towards a field of `size`.

        Parameters
        ----------
        q : Tensor
            (B, heads, len(rows) * width, head width), unscaled queries.

        Returns
        -------
        Tensor
            (B, heads, len(rows) * width, height * width).
        """
        height, width = size
        q = q.unflatten(2, (len(rows), width))
        rel_h = relative_positions(self.rel_pos_h, height)[rows.start : rows.stop].to(q.dtype)
        rel_w = relative_positions(self.rel_pos_w, width).to(q.dtype)
        # (..., r, w, d) x (r, k, d) and (..., r, w, d) x (w, k, d) as products over d.
        along_h = torch.matmul(q, rel_h.transpose(1, 2))
        along_w = torch.matmul(q.transpose(2, 3), rel_w.transpose(1, 2)).transpose(2, 3)
        both = along_h[..., :, None] + along_w[..., None, :]
        return both.flatten(4, 5).flatten(2, 3)


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
        return self._windowed(x) if self.window else self._global(x)

    def _qkv(self, x: Tensor) -> Tensor:
        return self.attn.qkv(normalise(x, self.norm1).to(self.attn.qkv.weight.dtype))  # type: ignore[no-any-return]

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.attn.proj(attended)
        hidden = normalise(x, self.norm2).to(self.mlp.lin1.weight.dtype)
        return x + self.mlp(hidden)

    def _windowed(self, x: Tensor) -> Tensor:
        size = self.window
        batch, height, width, channels = x.shape
        across = -(-width // size)
        bands = []
        for top in range(0, height, size):
            band = x[:, top : top + size]
            rows = band.shape[1]
            qkv = self._qkv(band)
            if rows < size or across * size > width:
                # A padded token is zero after the norm, so its qkv is the bias alone.
                padded = self.attn.qkv.bias.expand(batch, size, across * size, -1).clone()
                padded[:, :rows, :width] = qkv
                qkv = padded
            qkv = qkv.reshape(batch, size, across, size, -1).transpose(1, 2).flatten(0, 1)
            q, k, v = self.attn.split(qkv)
            bias = self.attn.bias(q, range(size), (size, size))
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
            out = out.transpose(1, 2).reshape(batch, across, size, size, channels)
            out = out.transpose(1, 2).reshape(batch, size, across * size, channels)
            bands.append(self._finish(band, out[:, :rows, :width]))
        return torch.cat(bands, dim=1)

    def _global(self, x: Tensor, band_rows: int = 2) -> Tensor:
        batch, height, width, channels = x.shape
        q, k, v = self.attn.split(self._qkv(x))
        k, v = k.contiguous(), v.contiguous()
        bands = []
        for top in range(0, height, band_rows):
            rows = range(top, min(top + band_rows, height))
            part = q[:, :, rows.start * width : rows.stop * width]
            bias = self.attn.bias(part, rows, (height, width))
            out = F.scaled_dot_product_attention(part, k, v, attn_mask=bias)
            out = out.transpose(1, 2).reshape(batch, len(rows), width, channels)
            bands.append(out)
        attended = torch.cat(bands, dim=1)
        step = 16
        done = [
            self._finish(x[:, i : i + step], attended[:, i : i + step])
            for i in range(0, height, step)
        ]
        return torch.cat(done, dim=1)


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

    def forward(self, x: Tensor) -> EncoderOutput:
        """Encode frames.

        Parameters
        ----------
        x : Tensor
            (B, 3, H, W) normalised; H and W are multiples of the patch side. Positions
            are interpolated where the frame is not `image_size` square.

        Returns
        -------
        EncoderOutput
            Embedding (B, 256, H / patch, W / patch).
        """
        dtype = self.patch_embed.proj.weight.dtype
        tokens = self.patch_embed(x.to(dtype)).float()
        tokens = tokens + self._positions(tokens.shape[1], tokens.shape[2])
        for block in self.blocks:
            tokens = block(tokens)
        embedding = self.neck(tokens.to(dtype).permute(0, 3, 1, 2))
        return EncoderOutput(embedding.float().contiguous())

    def _positions(self, height: int, width: int) -> Tensor:
        if (height, width) == tuple(self.pos_embed.shape[1:3]):
            return self.pos_embed
        stored = self.pos_embed.permute(0, 3, 1, 2)
        resized = F.interpolate(stored, size=(height, width), mode="bicubic", antialias=False)
        return resized.permute(0, 2, 3, 1)
