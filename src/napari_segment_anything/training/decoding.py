"""The mask decoder on windows of embeddings, for many objects at once, with gradients.

Inference decodes the objects of one image on its whole embedding (`Sam.decode`). In training every
object has a window of its own, all of one size, cut from the embedding together with its positional
encoding, so that the cost of a step depends on the objects and not on the frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..network.mask_decoder import MaskDecoder, unfold_cells
from ..network.prompt_encoder import PromptEncoder
from ..network.two_way_transformer import ImageCells


def window_cells(embedding: Tensor, image: Tensor, corner: Tensor, side: int) -> Tensor:
    """Cut a window from an embedding for each object.

    Parameters
    ----------
    embedding : Tensor
        (images, C, h, w).
    image : Tensor
        (objects,) int64, index of the image.
    corner : Tensor
        (objects, 2) int64, row and column of the window's first cell.
    side : int
        Cells per side.

    Returns
    -------
    Tensor
        (objects, side * side, C).
    """
    reach = torch.arange(side, device=embedding.device)
    rows = (corner[:, :1] + reach)[:, :, None].expand(-1, -1, side)
    cols = (corner[:, 1:] + reach)[:, None, :].expand(-1, side, -1)
    which = image[:, None, None].expand_as(rows)
    cells = embedding.permute(0, 2, 3, 1)[which, rows, cols]
    return cells.flatten(1, 2)


def window_positions(
    prompts: PromptEncoder, corner: Tensor, origin: Tensor, side: int, stride: int = 8
) -> Tensor:
    """Positional encodings of windows' cells: (objects, side * side, C).

    Parameters
    ----------
    prompts : PromptEncoder
        Provides the frequencies.
    corner : Tensor
        (objects, 2), the window's first cell in its crop.
    origin : Tensor
        (objects, 2) float32, row and column of the crop's first pixel in the frame.
    side, stride : int
        Cells per side; frame pixels per cell.
    """
    reach = torch.arange(side, device=corner.device)
    rows = (corner[:, :1] + reach + 0.5) * stride + origin[:, :1]
    cols = (corner[:, 1:] + reach + 0.5) * stride + origin[:, 1:]
    grid = torch.stack(
        [cols[:, None, :].expand(-1, side, -1), rows[:, :, None].expand(-1, -1, side)], -1
    )
    return prompts.pe_layer.encode(grid / prompts.image_size).flatten(1, 2)


def decode_windows(
    decoder: MaskDecoder, cells: Tensor, position: Tensor, sparse: Tensor
) -> tuple[Tensor, Tensor]:
    """Decode all four masks of every object on its window, as `MaskDecoder` does.

    Parameters
    ----------
    cells, position : Tensor
        (objects, n * n, C): embedding plus dense prompt, and positional encoding.
    sparse : Tensor
        (objects, tokens, C).

    Returns
    -------
    logits : Tensor
        (objects, 4, 4n, 4n) float32, the mask for unambiguous prompts first.
    iou : Tensor
        (objects, 4) float32.
    """
    image = ImageCells(cells, cells + position)
    cells, classifiers, iou = decoder.attend(image, position, sparse)
    # all objects at once, since gradients need every upscaled embedding
    x = decoder.output_upscaling(cells)
    logits = torch.bmm(classifiers.to(x.dtype), x.flatten(1, -2).transpose(1, 2))
    side = math.isqrt(cells.shape[1])
    return unfold_cells(logits, side, side).float(), iou.float()
