"""A ViT encoder on the visible patches of an image alone, and the decoder of its pre-training.

Source: He et al. 2022 (arXiv:2111.06377). SAM's ViT attends within windows in most of its blocks,
and adds relative positions; here, each visible patch keeps its place in the frame, so that it
attends to the same patches at the same distances as in the whole image.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..network.layers import normalise
from ..network.vit import Block, ViTConfig, ViTEncoder
from .masking import Masks

_HEAD = 32  # channels of an attention head of the decoder


def encode_visible(encoder: ViTEncoder, pixels: Tensor, masks: Masks, origin: Tensor) -> Tensor:
    """Encode the visible patches of images; the neck is not run.

    Parameters
    ----------
    encoder : ViTEncoder
    pixels : Tensor
        (batch, 3, h, w), normalised; h and w multiples of the patch side, at most the frame.
    masks : Masks
        Which patches are visible.
    origin : Tensor
        (batch, 2) int64, row and column of the first patch in the frame.

    Returns
    -------
    Tensor
        (batch, visible patches, width), in the order of `masks.shown`.
    """
    every = encoder.patch_embed(pixels)
    cols = every.shape[2]
    every = every.flatten(1, 2)
    tokens = every.gather(1, masks.shown[..., None].expand(-1, -1, every.shape[2])).float()
    row, col = masks.shown // cols + origin[:, :1], masks.shown % cols + origin[:, 1:]
    tokens = tokens + encoder.pos_embed[0][row, col]
    for block in encoder.blocks:
        tokens = _block(block, tokens, row, col)
    return tokens


def _block(block: Any, tokens: Tensor, row: Tensor, col: Tensor) -> Tensor:
    """A transformer block of the encoder: (batch, n, width) -> the same."""
    attention = block.attn
    qkv = attention.qkv(normalise(tokens, block.norm1).to(attention.qkv.weight.dtype))
    q, k, v = qkv.unflatten(2, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    bias = _relative(q, row, attention.rel_pos_h) + _relative(q, col, attention.rel_pos_w)
    if block.window:
        window = torch.stack([row, col], -1) // block.window
        apart = (window[:, :, None] != window[:, None]).any(-1)
        bias = bias.masked_fill(apart[:, None], float("-inf"))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    tokens = tokens + attention.proj(mixed.transpose(1, 2).flatten(2))
    hidden = normalise(tokens, block.norm2).to(block.mlp.lin1.weight.dtype)
    return tokens + block.mlp(hidden)  # type: ignore[no-any-return]


def _relative(q: Tensor, place: Tensor, table: Tensor) -> Tensor:
    """Bias of each query towards each key, along one axis.

    Parameters
    ----------
    q : Tensor
        (batch, heads, n, d), unscaled.
    place : Tensor
        (batch, n), row or column of each patch.
    table : Tensor
        (2 * size - 1, d), by distance.
    """
    distance = place[:, :, None] - place[:, None] + table.shape[0] // 2
    distance = distance.clamp(0, table.shape[0] - 1)  # of patches in other windows
    towards = q @ table.to(q.dtype).T
    return towards.gather(3, distance[:, None].expand(-1, q.shape[1], -1, -1))


class PatchDecoder(nn.Module):
    """Predicts the pixels of all patches from the encoded visible ones.

    Parameters
    ----------
    encoder : ViTConfig
        Shape of the encoder.
    width, depth : int
        Channels, a multiple of 32, and transformer blocks, of which the last one is global.
    """

    def __init__(self, encoder: ViTConfig, width: int, depth: int) -> None:
        super().__init__()
        shape = ViTConfig(
            width=width,
            depth=depth,
            heads=width // _HEAD,
            image_size=encoder.image_size,
            patch_size=encoder.patch_size,
        )
        self.norm = nn.LayerNorm(encoder.width)
        self.embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        nn.init.normal_(self.mask_token, std=0.02)
        self.blocks = nn.ModuleList(
            Block(shape, window=shape.window if i < depth - 1 else 0) for i in range(depth)
        )
        self.last_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * encoder.patch_size**2)

    def forward(self, tokens: Tensor, masks: Masks) -> Tensor:
        """Predict patches.

        Parameters
        ----------
        tokens : Tensor
            (batch, visible patches, encoder width).
        masks : Masks
            Which those are.

        Returns
        -------
        Tensor
            (batch, rows, cols, 3 * patch * patch), as `masking.to_patches` cuts pixels.
        """
        seen = self.embed(self.norm(tokens))
        batch, _, rows, cols = masks.visible.shape
        width = seen.shape[2]
        every = self.mask_token.to(seen.dtype).expand(batch, rows * cols, width)
        every = every.scatter(1, masks.shown[..., None].expand(-1, -1, width), seen)
        x = every.unflatten(1, (rows, cols)).float() + _positions(rows, cols, width, seen.device)
        for block in self.blocks:
            x = block(x)
        return self.head(self.last_norm(x))  # type: ignore[no-any-return]


def _positions(rows: int, cols: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of row and column: (rows, cols, width)."""
    quarter = width // 4
    rate = torch.exp(-math.log(10_000.0) * torch.arange(quarter, device=device) / quarter)
    row = torch.arange(rows, device=device)[:, None] * rate
    col = torch.arange(cols, device=device)[:, None] * rate
    along_row = torch.cat([row.sin(), row.cos()], 1)[:, None].expand(-1, cols, -1)
    along_col = torch.cat([col.sin(), col.cos()], 1)[None].expand(rows, -1, -1)
    return torch.cat([along_row, along_col], 2)
