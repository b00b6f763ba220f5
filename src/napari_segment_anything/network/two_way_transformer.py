"""The mask decoder's two-way transformer: tokens and image attend to each other.

An image has thousands of cells and a prompt a handful of tokens, so the work of
cross-attention is moved to the tokens. With head width d, the published form projects every
cell to a key, ``(token Wq) . (cell Wk)``; this one moves the projection to the token,
``(token Wq Wk^T) . cell``, which is the same number and touches each cell once. Values
and outputs move the same way. While the cells are the same for all objects (until the
first image-to-token step) they are also kept once, not once an object; where more than a few
objects come to the same cells, their projections are made once as well, which is less still.

Cells may have a shorter dtype than tokens: most of the arithmetic is on cells, and rounding
matters most in tokens.

Source: Kirillov et al. 2023, appendix A, figure 14.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MLPBlock, normalise


class Projections(NamedTuple):
    """What the first block makes of cells that are the same for all objects, by head.

    ``keys`` and ``values`` are for tokens that attend to the image, (heads, d, N) and
    (heads, N, d); ``queries`` for the image that attends to tokens, (heads, d, N).
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


class ImageCells(NamedTuple):
    """An image's cells, (B or 1, N, C), without and with their positional encoding."""

    values: Tensor
    keys: Tensor
    projections: Projections | None = None


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

    def tokens_to_image(self, tokens: Tensor, image: ImageCells) -> Tensor:
        """Tokens attend to image cells.

        Parameters
        ----------
        tokens : Tensor
            (B, T, C), with their positional part.
        image : ImageCells
            Of N cells.

        Returns
        -------
        Tensor
            (B, T, C).
        """
        batch, count, width = tokens.shape
        q = self._split(self.q_proj(tokens)) * self.head_width**-0.5
        if image.projections is not None:
            keys, values, _ = image.projections
            scores = torch.bmm(q.transpose(0, 1).flatten(1, 2).to(keys.dtype), keys)
            found = torch.bmm(scores.softmax(dim=-1), values).to(tokens.dtype)
            found = found.unflatten(1, (batch, count)).permute(1, 2, 0, 3)
            return self.out_proj(found.flatten(2))
        # The key bias adds the same to all cells of a row, so softmax drops it.
        absorbed = torch.matmul(q, self._per_head(self.k_proj.weight)).reshape(batch, -1, width)
        scores = _rows_times_cells(absorbed.to(image.keys.dtype), image.keys)
        pooled = _rows_times_values(scores.softmax(dim=-1), image.values).to(tokens.dtype)
        pooled = pooled.reshape(batch, self.heads, count, width)
        values = torch.matmul(pooled, self._per_head(self.v_proj.weight).transpose(1, 2))
        values = values.transpose(1, 2).flatten(2) + self.v_proj.bias
        return self.out_proj(values)

    def image_to_tokens(self, image: ImageCells, tokens: Tensor, values: Tensor) -> Tensor:
        """Image cells attend to tokens.

        Parameters
        ----------
        image : ImageCells
            Of N cells.
        tokens, values : Tensor
            (B, T, C): the tokens with and without their positional part.

        Returns
        -------
        Tensor
            (B, N, C), the cells with what they get from the tokens added.
        """
        batch, count, width = tokens.shape
        dtype = image.keys.dtype
        k = self._split(self.k_proj(tokens)) * self.head_width**-0.5
        if image.projections is not None:
            queries = image.projections.queries
            scores = torch.bmm(k.transpose(0, 1).flatten(1, 2).to(dtype), queries)
            scores = scores.unflatten(1, (batch, count)).transpose(0, 1)
        else:
            absorbed = torch.matmul(k, self._per_head(self.q_proj.weight))
            offset = torch.matmul(k, self.q_proj.bias.reshape(self.heads, self.head_width, 1))
            scores = _rows_times_cells(absorbed.reshape(batch, -1, width).to(dtype), image.keys)
            scores = scores.reshape(batch, self.heads, count, -1).add_(offset.to(dtype))
        weights = scores.softmax(dim=2).reshape(batch, self.heads * count, -1)
        v = self._split(self.v_proj(values))
        out_weight = self.out_proj.weight.reshape(width, self.heads, self.head_width)
        # a head's weights sum to one, so that each head may bring its share of the bias
        spread = torch.matmul(v, out_weight.permute(1, 2, 0)) + self.out_proj.bias / self.heads
        spread = spread.reshape(batch, -1, width).to(dtype)
        if batch == 1:
            return torch.addmm(image.values[0], weights[0].t(), spread[0])[None]
        return torch.baddbmm(image.values.expand(batch, -1, -1), weights.transpose(1, 2), spread)

    def project(self, layer: nn.Linear, cells: Tensor) -> Tensor:
        """(1, N, C) through one of the projections, by head: (heads, N, d), in `cells`' dtype."""
        found = F.linear(cells, layer.weight.to(cells.dtype), layer.bias.to(cells.dtype))
        return self._split(found)[0]

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

    def forward(self, tokens: Tensor, image: ImageCells, token_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Update tokens (B, T, C) and cells (B or 1, N, C); the cells come out per object."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = normalise(tokens, self.norm1)

        attended = self.cross_attn_token_to_image.tokens_to_image(tokens + token_pe, image)
        tokens = normalise(tokens + attended, self.norm2)
        tokens = normalise(tokens + self.mlp(tokens), self.norm3)
        cells = self.cross_attn_image_to_token.image_to_tokens(image, tokens + token_pe, tokens)
        return tokens, normalise(cells, self.norm4)


class TwoWayTransformer(nn.Module):
    """Blocks of two-way attention, and a final attention of the tokens to the image."""

    def __init__(self, depth: int = 2, width: int = 256, heads: int = 8, hidden: int = 2048):
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(width, heads, hidden, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def projected(self, cells: Tensor, position: Tensor) -> ImageCells:
        """Project cells for many objects, which takes as long as two or three of them save.

        Parameters
        ----------
        cells, position : Tensor
            (1, N, C) image embedding, flattened, and its positional encoding.
        """
        first: TwoWayAttentionBlock = self.layers[0]  # type: ignore[assignment]
        inward, outward = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        keys = cells + position
        made = Projections(
            inward.project(inward.k_proj, keys).transpose(1, 2).contiguous(),
            inward.project(inward.v_proj, cells).contiguous(),
            outward.project(outward.q_proj, keys).transpose(1, 2).contiguous(),
        )
        return ImageCells(cells, keys, made)

    def forward(self, image: ImageCells, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer.

        Parameters
        ----------
        image : ImageCells
            The image embedding, flattened.
        position : Tensor
            (B or 1, N, C) positional encoding of the cells.
        tokens : Tensor
            (B, T, C) output and prompt tokens, which are their own positional encoding.

        Returns
        -------
        tokens, cells : Tensor
            (B, T, C) and (B, N, C).
        """
        token_pe = tokens
        for layer in self.layers:
            tokens, cells = layer(tokens, image, token_pe)
            image = ImageCells(cells, cells + position)
        attended = self.final_attn_token_to_image.tokens_to_image(tokens + token_pe, image)
        return normalise(tokens + attended, self.norm_final_attn), cells
