"""SAM's mask decoder: image embedding and prompt tokens to masks and their predicted IoU.

Source: Kirillov et al. 2023, section 3 and appendix A.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MLP, LayerNorm2d, normalise
from .two_way_transformer import TwoWayTransformer


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
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(width, width, width // 8, 3) for _ in range(self.mask_count)
        )
        self.iou_prediction_head = MLP(width, width, self.mask_count, 3)

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
        batch, (height, width) = sparse.shape[0], embedding.shape[-2:]
        dtype = self.iou_prediction_head.layers[0].weight.dtype
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(batch, -1, -1), sparse], dim=1).to(dtype)

        cells = (embedding + dense).flatten(2).transpose(1, 2).to(dtype)
        cell_pe = image_encoding.flatten(2).transpose(1, 2).to(dtype)
        # Contiguous, or every later product and sum walks the cells with long strides.
        tokens, cells = self.transformer(cells.contiguous(), cell_pe.contiguous(), tokens)

        iou = self.iou_prediction_head(tokens[:, 0])[:, masks]
        mask_tokens = tokens[:, 1 : 1 + self.mask_count]
        chosen = range(self.mask_count)[masks]
        classifiers = torch.stack(
            [self.output_hypernetworks_mlps[i](mask_tokens[:, i]) for i in chosen], dim=1
        )
        upscaled = self._upscale(cells)
        logits = torch.bmm(classifiers, upscaled.flatten(1, 3).transpose(1, 2))
        # (B, masks, h w, 2 2, 2 2): cell, first and second upscaling's row and column.
        logits = logits.reshape(batch, -1, height, width, 2, 2, 2, 2)
        logits = logits.permute(0, 1, 2, 4, 6, 3, 5, 7)
        return logits.reshape(batch, -1, 4 * height, 4 * width).float(), iou.float()

    def _upscale(self, cells: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, 4, 4, C // 8).

        A transposed convolution of stride and size 2 has no overlap, so it is a matrix
        product a cell; the four children of a cell stay beside each other until the end.
        """
        first, norm, _, second, _ = self.output_upscaling
        x = _as_product(cells, first)
        x = F.gelu(normalise(x, norm))
        return F.gelu(_as_product(x, second))


def _as_product(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """(..., C) -> (..., 4, D) for a 2 x 2 transposed convolution of stride 2."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = None if layer.bias is None else layer.bias.repeat(4)
    return F.linear(x, weight, bias).unflatten(-1, (4, -1))
