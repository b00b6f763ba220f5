"""A picture of the result, with the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 4096
RADIUS = 6


def draw(
    image: NDArray[Any], labels: NDArray[np.integer], prompts: Sequence[dict[str, Any]] = ()
) -> NDArray[np.uint8]:
    """Tint and outline every label, and mark the prompts.

    Parameters
    ----------
    image : (H, W, 3) array, 0 to 255
        The image as the network sees it. Very large images are reduced.
    labels : (H, W) integer array
        0 is background.
    prompts : sequence of dict
        Objects with `points`, `labels` and `box` in (row, col) pixels: green points are
        foreground, red ones background.

    Returns
    -------
    (h, w, 3) uint8 array
    """
    from PIL import Image

    from ..formats import overlay

    rows, cols = labels.shape
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    step = -(-max(rows, cols) // LARGEST_SIDE)
    if step > 1:
        first, left = (min(step // 2, side - 1) for side in (rows, cols))
        labels = labels[first::step, left::step]
        small = Image.fromarray(pixels).resize(labels.shape[::-1], Image.Resampling.BOX)
        pixels = np.asarray(small)
    picture = overlay(pixels, labels)
    return _mark(picture, prompts, picture.shape[0] / rows) if prompts else picture


def _mark(
    picture: NDArray[np.uint8], prompts: Sequence[dict[str, Any]], zoom: float
) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    drawing = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawing)

    def place(coordinate: float) -> float:
        return (coordinate + 0.5) * zoom

    for each in prompts:
        if "box" in each:
            row_min, col_min, row_max, col_max = map(place, each["box"])
            pen.rectangle([col_min, row_min, col_max, row_max], outline="white", width=2)
        for (row, col), label in zip(each.get("points", ()), each.get("labels", ()), strict=True):
            x, y = place(col), place(row)
            around = [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS]
            pen.ellipse(around, fill="lime" if label else "red", outline="white", width=2)
    return np.array(drawing)
