"""An image of bright and dim disks, and traits without an image."""

from __future__ import annotations

import numpy as np
from skimage.draw import disk

from napari_segment_anything.engine import PlacedMask
from napari_segment_anything.finding import Traits

GRID = {"mode": "grid", "points_per_side": 4, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.1}


def spots(
    shape=(96, 128), radius=6, light=(200, 90), seed=0
) -> tuple[np.ndarray, list[PlacedMask]]:
    """Bright and dim disks on a grid, on noise: image and masks, bright ones first."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 40, shape).astype(np.uint8)
    masks: list[list[PlacedMask]] = [[], []]
    for row in range(16, shape[0] - 10, 32):
        for number, col in enumerate(range(16, shape[1] - 10, 32)):
            mask = np.zeros(shape, bool)
            mask[disk((row, col), radius, shape=shape)] = True
            image[mask] = light[number % 2]
            masks[number % 2].append(PlacedMask.of(mask))
    return image, masks[0] + masks[1]


def traits_of(count: int, **columns) -> Traits:
    """Traits that are all alike, except for given columns."""
    embedding = np.zeros((count, 256), np.float32)
    embedding[:, 0] = 1
    known = {
        "embedding": embedding,
        "size": np.full(count, 5.0, np.float32),
        "shape": np.tile(np.array([0.1, 1.0, 0.9], np.float32), (count, 1)),
        "light": np.tile(np.array([0.5, 0.1, 0.3], np.float32), (count, 1)),
    }
    return Traits(**{**known, **columns})
