"""SAM's mask decoder: image embedding and prompt tokens to masks and their predicted IoU.

Source: Kirillov et al. 2023, section 3 and appendix A.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MLP, LayerNorm2d, cast_products, normalise, product_dtype
from .two_way_transformer import ImageCells, TwoWayTransformer

# Cells times objects in one pass on a CPU: temporaries are then a few megabytes, which
# stay in cache and are reused by the allocator.
_CELLS_PER_PASS = 4 * 64 * 64


_Kept = tuple["weakref.ref[Tensor]", "weakref.ref[Tensor]", ImageCells, Tensor]
"""Embedding and positional encoding, and both as cells."""


class Upscaling(nn.Sequential):
    """Cells to 4 x 4 times as many pixels with an eighth of the channels.

    A transposed convolution of stride and size 2 has no overlap, so it is a matrix
    product for each cell; the 16 pixels of a cell stay contiguous.
    """

    def __init__(self, width: int) -> None:
        first = nn.ConvTranspose2d(width, width // 4, 2, 2)
        norm = LayerNorm2d(width // 4)
        second = nn.ConvTranspose2d(width // 4, width // 8, 2, 2)
        super().__init__(first, norm, nn.GELU(), second, nn.GELU())

    def forward(self, cells: Tensor) -> Tensor:
        """(..., C) -> (..., 4, 4, C // 8)."""
        first, norm, _, second, _ = self
        x = F.gelu(normalise(as_product(cells, first), norm))  # type: ignore[arg-type]
        return F.gelu(as_product(x, second))  # type: ignore[arg-type]

    def classified(self, cells: Tensor, classifiers: Tensor) -> Tensor:
        """Upscale one object's cells and classify the pixels.

        Each of the four rows of pixels of a row of cells is computed by itself, so that it comes
        out in order: reordering pixels afterwards takes as long as a product.

        Parameters
        ----------
        cells : Tensor
            (h, w, C).
        classifiers : Tensor
            (masks, C // 8).

        Returns
        -------
        Tensor
            (masks, 4h, 4w), in the classifiers' dtype.
        """
        first, norm, _, second, _ = self
        height, width, _ = cells.shape
        pixels = classifiers.new_empty(len(classifiers), height, 2, 2, 4 * width)
        classify = classifiers.to(cells.dtype)
        for upper in range(2):
            x = _row_product(cells, first, upper)  # type: ignore[arg-type]
            x = F.gelu(normalise(x, norm))  # type: ignore[arg-type]
            for lower in range(2):
                y = F.gelu(_row_product(x, second, lower))  # type: ignore[arg-type]
                found = classify @ y.flatten(0, -2).T
                pixels[:, :, upper, lower] = found.unflatten(1, (height, -1))
        return pixels.flatten(1, 3)


def cells_of(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C), contiguous.

    torch transposes matrices of one type several times faster than it copies anything else.
    """
    flat = maps.flatten(2).to(dtype)
    if len(flat) == 1:
        return flat[0].t().contiguous()[None]
    return flat.transpose(1, 2).contiguous()


def _row_product(x: Tensor, layer: nn.ConvTranspose2d, row: int) -> Tensor:
    """`as_product` for one row of the 2 x 2 pixels: (..., C) -> (..., 2, D)."""
    weight = layer.weight[:, :, row].permute(2, 1, 0).flatten(0, 1).to(x.dtype)
    bias = None if layer.bias is None else layer.bias.repeat(2).to(x.dtype)
    return F.linear(x, weight, bias).unflatten(-1, (2, -1))


def as_product(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """(..., C) -> (..., 4, D) for a 2 x 2 transposed convolution of stride 2, in `x`'s dtype."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2).to(x.dtype)
    bias = None if layer.bias is None else layer.bias.repeat(4).to(x.dtype)
    return F.linear(x, weight, bias).unflatten(-1, (4, -1))


class MaskDecoder(nn.Module):
    """Masks as dynamic linear classifiers over an upscaled embedding.

    Parameters
    ----------
    width : int
        Embedding width.
    multimask_outputs : int
        Masks for ambiguous prompts; one more is for unambiguous ones.
    """

    def __init__(self, width: int = 256, multimask_outputs: int = 3) -> None:
        super().__init__()
        self.width = width
        self.mask_count = multimask_outputs + 1
        self.transformer = TwoWayTransformer(width=width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(self.mask_count, width)
        self.output_upscaling = Upscaling(width)
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(width, width, width // 8, 3) for _ in range(self.mask_count)
        )
        self.iou_prediction_head = MLP(width, width, self.mask_count, 3)
        self._last: _Kept | None = None

    def forward(
        self,
        embedding: Tensor,
        image_encoding: Tensor,
        sparse: Tensor,
        dense: Tensor,
        masks: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Decode masks for several objects of one image.

        Parameters
        ----------
        embedding : Tensor
            (1 or B, 256, h, w) image embedding.
        image_encoding : Tensor
            (1, 256, h, w) positional encoding of its cells.
        sparse : Tensor
            (B, tokens, 256) from the prompt encoder.
        dense : Tensor
            (B or 1, 256, h or 1, w or 1) from the prompt encoder.
        masks : slice
            Which of the mask tokens to turn into masks; 0 is the one for unambiguous
            prompts.

        Returns
        -------
        logits : Tensor
            (B, masks, 4h, 4w).
        iou : Tensor
            (B, masks), predicted IoU of each mask.
        """
        height, width = embedding.shape[-2:]
        image, position = self._cells(embedding, image_encoding, dense)
        step = len(sparse)
        if position.device.type == "cpu":
            step = max(1, _CELLS_PER_PASS // position.shape[1])
        parts = []
        for i in range(0, max(len(sparse), 1), step):
            own = image
            if len(image.values) > 1:
                own = ImageCells(image.values[i : i + step], image.keys[i : i + step])
            found, classifiers, scores = self.attend(own, position, sparse[i : i + step], masks)
            # One object at a time: the upscaled embedding is the decoder's largest temporary.
            each = [
                self.output_upscaling.classified(c.unflatten(0, (height, width)), k)
                for c, k in zip(found, classifiers, strict=True)
            ]
            parts.append((torch.stack(each), scores))
        logits = torch.cat([p[0] for p in parts]) if len(parts) > 1 else parts[0][0]
        iou = torch.cat([p[1] for p in parts]) if len(parts) > 1 else parts[0][1]
        return logits, iou

    def _cells(
        self, embedding: Tensor, encoding: Tensor, dense: Tensor
    ) -> tuple[ImageCells, Tensor]:
        """Return embedding with dense prompt, and positional encoding, as contiguous cells.

        In inference, those of the last embedding are kept: prompts without a mask have the same.
        """
        dtype = product_dtype(self.output_upscaling[0])
        kept = dense.shape[-1] == 1 and torch.is_inference_mode_enabled()
        last = self._last
        if kept and last is not None:
            same = last[0]() is embedding and last[1]() is encoding
            if same and last[3].dtype == dtype:
                return last[2:]
        cells, position = cells_of(embedding + dense, dtype), cells_of(encoding, dtype)
        if not kept:
            return ImageCells(cells, cells + position), position
        image = self.transformer.projected(cells, position)
        self._last = (weakref.ref(embedding), weakref.ref(encoding), image, position)
        return image, position

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def attend(
        self, image: ImageCells, position: Tensor, sparse: Tensor, masks: slice = slice(None)
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Everything before the upscaling, which training and inference do differently.

        Parameters
        ----------
        image : ImageCells
            (1 or B, N, C) embedding with the dense prompt.
        position : Tensor
            (1 or B, N, C) positional encoding of its cells.
        sparse : Tensor
            (B, tokens, C) from the prompt encoder.
        masks : slice
            Which mask tokens.

        Returns
        -------
        cells, classifiers, iou : Tensor
            (B, N, C), (B, masks, C // 8) and (B, masks).
        """
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        output_tokens = output_tokens.expand(len(sparse), -1, -1)
        tokens = torch.cat([output_tokens, sparse], dim=1)
        tokens, cells = self.transformer(image, position, tokens)
        iou = self.iou_prediction_head(tokens[:, 0])[:, masks]
        classifiers = torch.stack(
            [
                self.output_hypernetworks_mlps[i](tokens[:, 1 + i])
                for i in range(self.mask_count)[masks]
            ],
            dim=1,
        )
        return cells, classifiers, iou

    def set_precision(self, dtype: torch.dtype) -> None:
        """Cast what works on the image's cells; tokens stay in float32."""
        cast_products(self.output_upscaling, dtype)


def unfold_cells(logits: Tensor, height: int, width: int) -> Tensor:
    """(B, masks, N * 16), a cell's pixels together, to (B, masks, 4 height, 4 width)."""
    # cell, then row and column of the first and of the second upscaling
    shaped = logits.unflatten(2, (height, width, 2, 2, 2, 2)).permute(0, 1, 2, 4, 6, 3, 5, 7)
    return shaped.reshape(*logits.shape[:2], 4 * height, 4 * width)
