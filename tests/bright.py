"""A model that sees bright things: what a trained one does of objects that stand out."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from napari_segment_anything.engine import Model
from napari_segment_anything.network import EncoderOutput, Sam, SamConfig, ViTConfig

from .tiny import once

SIDE = 512
GRID = SIDE // 16


class BrightSam(Sam):
    """Gives the bright part that its prompts are in; its embedding is the image itself."""

    encoded = 0
    decoded = 0

    def encode(self, pixels: Tensor) -> EncoderOutput:
        self.encoded += 1
        padded = F.pad(pixels, (0, SIDE - pixels.shape[-1], 0, SIDE - pixels.shape[-2]))
        low = F.interpolate(padded.mean(1, keepdim=True), (4 * GRID, 4 * GRID), mode="area")
        cells = F.pixel_unshuffle(low / 255, 4)
        return EncoderOutput(F.pad(cells, (0, 0, 0, 0, 0, 256 - 16)), {})

    def decode(
        self, embedding, coords=None, labels=None, boxes=None, masks=None, *,
        heads=None, multimask=True, return_all=False,
    ):  # fmt: skip
        count = len(boxes) if coords is None else len(coords)
        self.decoded += count
        low = F.pixel_shuffle(embedding[:, :16], 4)[0, 0].numpy()
        parts, _ = ndimage.label(low > 0.5)
        several = 4 if return_all else 3 if multimask else 1
        logits, scores = [], []
        for i in range(count):
            wanted = 0
            if coords is not None:
                inside = coords[i][labels[i] == 1] * (4 * GRID / SIDE)
                for point in inside[:1]:
                    col, row = (int(v) for v in point.floor().clamp(0, 4 * GRID - 1))
                    wanted = parts[row, col]
            if not wanted and boxes is not None:
                x0, y0, x1, y1 = (int(v) for v in boxes[i] * (4 * GRID / SIDE))
                inside_box = parts[y0 : y1 + 1, x0 : x1 + 1]
                counts = np.bincount(inside_box[inside_box > 0], minlength=1)
                wanted = int(counts.argmax()) if counts.size and counts.max() else 0
            near = ndimage.binary_dilation(parts == wanted) if wanted else np.zeros_like(low, bool)
            others = (parts > 0) & (parts != wanted)
            logits.append(np.where(near & ~others, 16 * (low - 0.5), -8.0))
            scores.append(0.9 if wanted else 0.05)
        stacked = torch.from_numpy(np.stack(logits).astype(np.float32))[:, None]
        iou = torch.tensor(scores, dtype=torch.float32)[:, None]
        less = torch.linspace(0, 0.03, several)
        return stacked.repeat(1, several, 1, 1), iou.repeat(1, several) - less


def _network() -> BrightSam:
    torch.manual_seed(0)
    config = SamConfig(
        ViTConfig(width=16, depth=2, heads=2, global_blocks=(1,), image_size=SIDE, window=4)
    )
    return BrightSam(config).eval().requires_grad_(False)


def bright_model() -> Model:
    network = once(_network)
    # planes of the tests lie in the middle of their mirrored margin
    side = np.linspace(0.4, 0.6, 12)
    grid = {
        "point_grids": [np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)],
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.2,
        "min_area": 12,
    }
    metadata = {"everything": {"grid": grid}}
    return Model(network, "bright", "vit", "0" * 16, torch.device("cpu"), metadata=metadata)
