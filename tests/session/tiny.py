"""A tiny random SAM whose masks are blobs around the prompts, of one size for each candidate."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_segment_anything.engine import Model
from napari_segment_anything.network import Sam, SamConfig, ViTConfig

SIDE = 128


class Blobs(Sam):
    """Random weights; their output is drawn towards blobs around the positive prompts."""

    def decode(
        self, embedding: Tensor, coords=None, labels=None, boxes=None, masks=None, **options
    ):
        logits, iou = super().decode(embedding, coords, labels, boxes, masks, **options)
        side = logits.shape[-1]
        if boxes is not None:
            centre = (boxes[:, :2] + boxes[:, 2:]).float() / 2
        else:
            weight = (labels == 1).float()[..., None]
            centre = (coords.float() * weight).sum(1) / weight.sum(1)
        centre = centre * side / self.config.image_size
        axis = torch.arange(side, dtype=torch.float32)
        dx = axis[None, None] - centre[:, 0, None, None]
        dy = axis[:, None] - centre[:, 1, None, None]
        radius = torch.tensor([5.0, 3.0, 6.0, 8.0])
        radius = radius[1:] if logits.shape[1] == 3 else radius[: logits.shape[1]]
        shape = 2 * (radius[None, :, None, None] - torch.hypot(dx, dy)[:, None])
        return shape + 4 * torch.tanh(logits), torch.sigmoid(6 * iou + 2)


def tiny_model(seed: int = 0, **metadata) -> Model:
    torch.manual_seed(seed)
    encoder = ViTConfig(width=16, depth=2, heads=2, global_blocks=(1,), image_size=SIDE, window=4)
    network = Blobs(SamConfig(encoder)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.add_(0.1 * noise)
    return Model(network, "tiny", "vit", f"{seed:032x}", torch.device("cpu"), metadata=metadata)
