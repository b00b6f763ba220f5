"""SAM's prompt encoder: points, boxes and masks to embeddings.

Source: Kirillov et al. 2023, section 3 and appendix A.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .layers import LayerNorm2d


class RandomFourierEncoding(nn.Module):
    """Positional encoding with random spatial frequencies (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer(
            "positional_encoding_gaussian_matrix", scale * torch.randn(2, features)
        )

    def encode(self, unit_xy: Tensor) -> Tensor:
        """Encode coordinates.

        Parameters
        ----------
        unit_xy : Tensor
            (..., 2), x and y in 0..1.

        Returns
        -------
        Tensor
            (..., 2 * features).
        """
        phase = (2 * unit_xy - 1) @ self.positional_encoding_gaussian_matrix
        phase = 2 * math.pi * phase
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the cell centres of a grid over the frame: (2 * features, height, width)."""
        like = self.positional_encoding_gaussian_matrix
        y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
        x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
        yy, xx = torch.meshgrid(y, x, indexing="ij")
        return self.encode(torch.stack([xx, yy], dim=-1)).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Turn prompts into sparse (per point) and dense (per cell) embeddings.

    Parameters
    ----------
    width : int
        Embedding width, 256 in every published model.
    image_size : int
        Side of the frame that coordinates refer to, in pixels.
    embedding_size : int
        Side of the image embedding.
    mask_channels : int
        Channels of the mask prompt's second convolution, 16 as published.
    text_width : int
        Channels of the vectors of text prompts; 0 for a model without.
    """

    def __init__(
        self,
        width: int,
        image_size: int,
        embedding_size: int,
        mask_channels: int = 16,
        text_width: int = 0,
    ) -> None:
        super().__init__()
        self.width = width
        self.image_size = image_size
        self.embedding_size = embedding_size
        self.pe_layer = RandomFourierEncoding(width // 2)
        # Background point, foreground point, box corner 0, box corner 1.
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, 2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, 2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)
        self.text_projection = nn.Linear(text_width, width) if text_width else None
        self._encoded: tuple[object, Tensor] | None = None

    def image_encoding(self, height: int | None = None, width: int | None = None) -> Tensor:
        """Positional encoding of the embedding's cells: (1, 256, h, w)."""
        side = self.embedding_size
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        size = (height or side, width or side)
        if not torch.is_inference_mode_enabled():
            return self.pe_layer.grid(*size)[None]
        changes = 0 if matrix.is_inference() else matrix._version
        key = (size, matrix.device, matrix.data_ptr(), changes)
        if self._encoded is None or self._encoded[0] != key:
            self._encoded = (key, self.pe_layer.grid(*size)[None])
        return self._encoded[1]

    def forward(
        self,
        coords: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        texts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode prompts of several objects.

        Parameters
        ----------
        coords, labels : Tensor, optional
            (objects, n, 2) x and y in frame pixels; (objects, n) with 1 foreground,
            0 background, -1 no point.
        boxes : Tensor, optional
            (objects, 4) as x_min, y_min, x_max, y_max in frame pixels.
        masks : Tensor, optional
            (objects, 1, 4h, 4w) low-resolution mask logits.
        texts : Tensor, optional
            (objects, text_width) vectors of length 1: a token each.

        Returns
        -------
        sparse : Tensor
            (objects, tokens, 256).
        dense : Tensor
            (objects, 256, h, w), or (1, 256, 1, 1) when no mask is given: the same
            "no mask" vector for every object and cell.
        """
        sparse: list[Tensor] = []
        if coords is not None:
            if labels is None:
                raise ValueError("points need labels")
            sparse.append(self._points(coords, labels, pad=boxes is None))
        if boxes is not None:
            sparse.append(self._boxes(boxes))
        if texts is not None:
            if self.text_projection is None:
                raise ValueError("this model has no text prompts")
            sparse.append(self.text_projection(texts)[:, None])
        if masks is not None:
            dense = self.mask_downscaling(masks)
        else:
            dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1)
        if sparse:
            return torch.cat(sparse, dim=1), dense
        objects = masks.shape[0] if masks is not None else 1
        empty = self.no_mask_embed.weight.new_zeros(objects, 0, self.width)
        return empty, dense

    def _position(self, xy: Tensor) -> Tensor:
        return self.pe_layer.encode((xy + 0.5) / self.image_size)

    def _points(self, coords: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        position = self._position(coords)
        background, foreground = self._kinds()[:2]
        kind = labels[..., None]
        embedded = torch.where(kind == -1, torch.zeros_like(position), position)
        embedded = embedded + torch.where(kind == -1, self.not_a_point_embed.weight, 0.0)
        embedded = embedded + torch.where(kind == 0, background, 0.0)
        embedded = embedded + torch.where(kind == 1, foreground, 0.0)
        if pad:
            # Published models were trained with one padding point if there is no box.
            none = self.not_a_point_embed.weight.expand(len(coords), 1, -1)
            embedded = torch.cat([embedded, none], dim=1)
        return embedded

    def _boxes(self, boxes: Tensor) -> Tensor:
        corners = self._position(boxes.reshape(-1, 2, 2))
        return corners + self._kinds()[2:]

    def _kinds(self) -> Tensor:
        """Learned vectors of background, foreground, first and second corner: (4, width)."""
        kinds: list[Tensor] = [e.weight for e in self.point_embeddings]  # type: ignore[misc]
        return torch.cat(kinds)
