"""A tiny random SAM whose masks look like masks: around the prompt, of three sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_segment_anything.engine.model import Model
from napari_segment_anything.network import Sam, SamConfig, ViTConfig

SIDE = 128


class BlobSam(Sam):
    """Random weights; their output is drawn towards blobs around the prompt."""

    def decode(
        self, embedding: Tensor, coords=None, labels=None, boxes=None, masks=None, **options
    ):
        logits, iou = super().decode(embedding, coords, labels, boxes, masks, **options)
        side = logits.shape[-1]
        if coords is not None:
            centre = coords.float().mean(1)
        else:
            centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        # Prompts of one neighbourhood mean the same object, as with a trained model.
        centre = (torch.round(centre / 24) * 24) * side / self.config.image_size
        axis = torch.arange(side, dtype=torch.float32)
        dx, dy = (
            axis[None, None] - centre[:, 0, None, None],
            axis[:, None] - centre[:, 1, None, None],
        )
        radius = torch.tensor([3.0, 6.3, 7.0])
        if logits.shape[1] == 4:  # all of them: the single mask first
            radius = torch.cat([radius[1:2], radius])
        radius = radius[: logits.shape[1]]
        distance = torch.hypot(dx, dy)[:, None]
        shape = 2 * (radius[None, :, None, None] - distance)
        # The last of three has an island, whose removal makes it a duplicate of the second.
        if logits.shape[1] == 3:
            island = 3 * (1.6 - torch.hypot(dx - 14, dy))
            shape[:, 2] = torch.maximum(shape[:, 2], island)
        return shape + 4 * torch.tanh(logits), torch.sigmoid(6 * iou + 2)


def tiny_model(seed: int = 0, **metadata) -> Model:
    torch.manual_seed(seed)
    config = SamConfig(
        ViTConfig(width=16, depth=2, heads=2, global_blocks=(1,), image_size=SIDE, window=4)
    )
    network = BlobSam(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.add_(0.1 * noise)
    return Model(network, "tiny", "vit", f"{seed:016x}", torch.device("cpu"), metadata=metadata)
