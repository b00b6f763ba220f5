"""The mask decoder's two-way transformer: tokens and image attend to each other.

An image has thousands of cells and a prompt a handful of tokens, so the work of
cross-attention is moved to the tokens. With head width d, the published form projects every
cell to a key, ``(token Wq) . (cell Wk)``; this one moves the projection to the token,
``(token Wq Wk^T) . cell``, which is the same number and touches each cell once. Values
and outputs move the same way. While the cells are the same for all objects (until the
first image-to-token step) they are also kept once, not once an object.

Cells may have a shorter dtype than tokens: most of the arithmetic is on cells, and rounding
matters most in tokens.

Source: Kirillov et al. 2023, appendix A, figure 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MLPBlock, normalise


class Attention(nn.Module):
    """Multi-head attention whose heads may be narrower than the embedding.

    Parameters
    ----------
    width : int
        Embedding width.
    heads : int
        Number of heads.
    downsample : int
        The heads together are ``width // downsample`` wide.
    """

    def __init__(self, width: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = width // downsample
        if inner % heads:
            raise ValueError(f"{heads} heads do not divide a width of {inner}")
        self.heads = heads
        self.head_width = inner // heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Plain attention among tokens: (B, T, C) from (B, T, C), (B, U, C), (B, U, C)."""
        out = F.scaled_dot_product_attention(
            self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        )
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def tokens_to_image(self, tokens: Tensor, keys: Tensor, cells: Tensor) -> Tensor:
        """Tokens attend to image cells.

        Parameters
        ----------
        tokens : Tensor
            (B, T, C), with their positional part.
        keys, cells : Tensor
            (B or 1, N, C): the cells with and without positional encoding.

        Returns
        -------
        Tensor
            (B, T, C).
        """
        batch, count, width = tokens.shape
        q = self._split(self.q_proj(tokens)) * self.head_width**-0.5
        # The key bias adds the same to all cells of a row, so softmax drops it.
        absorbed = torch.matmul(q, self._per_head(self.k_proj.weight)).reshape(batch, -1, width)
        scores = _rows_times_cells(absorbed.to(keys.dtype), keys)
        weights = scores.softmax(dim=-1)
        pooled = _rows_times_values(weights, cells).to(tokens.dtype)
        pooled = pooled.reshape(batch, self.heads, count, width)
        values = torch.matmul(pooled, self._per_head(self.v_proj.weight).transpose(1, 2))
        values = values.transpose(1, 2).flatten(2) + self.v_proj.bias
        return self.out_proj(values)

    def image_to_tokens(self, keys: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
        """Image cells attend to tokens.

        Parameters
        ----------
        keys : Tensor
            (B or 1, N, C): the cells with positional encoding.
        tokens, values : Tensor
            (B, T, C): the tokens with and without their positional part.

        Returns
        -------
        Tensor
            (B, N, C), what to add to the cells.
        """
        batch, count, width = tokens.shape
        k = self._split(self.k_proj(tokens)) * self.head_width**-0.5
        absorbed = torch.matmul(k, self._per_head(self.q_proj.weight))
        offset = torch.matmul(k, self.q_proj.bias.reshape(self.heads, self.head_width, 1))
        scores = _rows_times_cells(absorbed.reshape(batch, -1, width).to(keys.dtype), keys)
        scores = scores.reshape(batch, self.heads, count, -1).add_(offset.to(keys.dtype))
        weights = scores.softmax(dim=2).reshape(batch, self.heads * count, -1)
        v = self._split(self.v_proj(values))
        out_weight = self.out_proj.weight.reshape(width, self.heads, self.head_width)
        spread = torch.matmul(v, out_weight.permute(1, 2, 0)).reshape(batch, -1, width)
        bias = self.out_proj.bias.to(keys.dtype).expand(batch, 1, width)
        return torch.baddbmm(bias, weights.transpose(1, 2), spread.to(keys.dtype))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)

    def _per_head(self, weight: Tensor) -> Tensor:
        return weight.reshape(self.heads, self.head_width, -1)


def _rows_times_cells(rows: Tensor, cells: Tensor) -> Tensor:
    """(B, R, C) x (B or 1, N, C) -> (B, R, N)."""
    if cells.shape[0] == 1:
        return F.linear(rows, cells[0])
    return torch.bmm(rows, cells.transpose(1, 2))


def _rows_times_values(weights: Tensor, cells: Tensor) -> Tensor:
    """(B, R, N) x (B or 1, N, C) -> (B, R, C)."""
    if cells.shape[0] == 1:
        return torch.matmul(weights, cells[0])
    return torch.bmm(weights, cells)


class TwoWayAttentionBlock(nn.Module):
    """Self-attention of the tokens, tokens to image, MLP, image to tokens."""

    def __init__(self, width: int, heads: int, hidden: int, *, first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLPBlock(width, hidden, gelu=False)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample=2)
        self.first = first

    def forward(
        self, tokens: Tensor, cells: Tensor, token_pe: Tensor, cell_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, T, C) and cells (B or 1, N, C); the cells come out per object."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = normalise(tokens, self.norm1)

        keys = cells + cell_pe
        attended = self.cross_attn_token_to_image.tokens_to_image(tokens + token_pe, keys, cells)
        tokens = normalise(tokens + attended, self.norm2)
        tokens = normalise(tokens + self.mlp(tokens), self.norm3)
        update = self.cross_attn_image_to_token.image_to_tokens(keys, tokens + token_pe, tokens)
        return tokens, normalise(update.add_(cells), self.norm4)


class TwoWayTransformer(nn.Module):
    """Blocks of two-way attention, and a final attention of the tokens to the image."""

    def __init__(self, depth: int = 2, width: int = 256, heads: int = 8, hidden: int = 2048):
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(width, heads, hidden, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, cells: Tensor, cell_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer.

        Parameters
        ----------
        cells : Tensor
            (B or 1, N, C) image embedding, flattened.
        cell_pe : Tensor
            (1, N, C) its positional encoding.
        tokens : Tensor
            (B, T, C) output and prompt tokens, which are their own positional encoding.

        Returns
        -------
        tokens, cells : Tensor
            (B, T, C) and (B, N, C).
        """
        token_pe = tokens
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, token_pe, cell_pe)
        attended = self.final_attn_token_to_image.tokens_to_image(
            tokens + token_pe, cells + cell_pe, cells
        )
        return normalise(tokens + attended, self.norm_final_attn), cells
