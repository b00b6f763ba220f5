"""Transformers' own way from an image and prompts to masks, without its processors.

They need torchvision; what they do is in the few lines here, from their sources: resize, scale,
normalise; coordinates times the frame's side over the image's; one bilinear step back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


def stretched(image: np.ndarray, side: int, mean: Any, deviation: Any) -> torch.Tensor:
    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    scaled = np.asarray(resized, np.float32) / 255
    return torch.from_numpy(((scaled - mean) / deviation).astype(np.float32)).permute(2, 0, 1)[None]


def answers(
    module: Any,
    image: np.ndarray,
    *,
    points: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    mask: torch.Tensor | None = None,
    multimask: bool = True,
    mean: Any = (0.485, 0.456, 0.406),
    deviation: Any = (0.229, 0.224, 0.225),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low-resolution logits (n, c, h, w), scores (n, c) and logits at the image's resolution.

    Points (n, k, 2) and boxes (n, 4) are in rows and columns, as ours.
    """
    side = module.prompt_encoder.input_image_size
    rows, cols = image.shape[:2]
    scale = torch.tensor([side / cols, side / rows])
    given: dict[str, Any] = {}
    if points is not None:
        given["input_points"] = torch.tensor(points[..., ::-1].copy()).float()[None] * scale
        given["input_labels"] = torch.tensor(labels)[None].long()
    if boxes is not None:
        corners = torch.tensor(boxes.reshape(-1, 2, 2)[..., ::-1].copy()).float() * scale
        given["input_boxes"] = corners.reshape(1, -1, 4)
    if mask is not None:
        given["input_masks"] = mask
    with torch.inference_mode():
        found = module(
            pixel_values=stretched(image, side, mean, deviation),
            multimask_output=multimask,
            **given,
        )
    low = found.pred_masks[0]
    full = F.interpolate(low, (rows, cols), mode="bilinear", align_corners=False)
    return low.numpy(), found.iou_scores[0].numpy(), full.numpy()


def image_model(folder: Path, model: str) -> Any:
    """Transformers' model for images, loaded by transformers alone."""
    import transformers

    from napari_segment_anything.families.loading import quiet

    with quiet():
        return getattr(transformers, model).from_pretrained(folder).eval()
