"""A picture of the result: the image with every object tinted and outlined."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0.618033988749895
LONG_SIDE = 1024


def colours(count: int) -> NDArray[np.uint8]:
    """(count + 1, 3) colours for labels 0 .. count; neighbours in number differ most."""
    table = [(0.0, 0.0, 0.0)]
    for label in range(1, count + 1):
        table.append(colorsys.hsv_to_rgb(label * GOLDEN % 1.0, (1.0, 0.75, 0.9)[label % 3], 1.0))
    return np.rint(np.asarray(table) * 255).astype(np.uint8)


def draw_overlay(
    image: NDArray[Any],
    labels: NDArray[np.integer],
    prompts: Sequence[dict[str, Any]] = (),
    opacity: float = 0.35,
) -> NDArray[np.uint8]:
    """Tint and outline every label on an image.

    Small images are enlarged and large ones reduced, to about a thousand pixels on
    the long side, so that outlines and prompts can be seen.

    Parameters
    ----------
    image : (H, W, 3) array, 0 to 255
        The image as the network sees it.
    labels : (H, W) integer array
        0 is background.
    prompts : sequence of dict
        Objects with `points`, `labels` and `box` in (row, col) pixels, drawn on top:
        green points are foreground, red ones background.
    opacity : float
        Weight of an object's colour inside its outline.

    Returns
    -------
    (h, w, 3) uint8 array
    """
    from PIL import Image
    from skimage.segmentation import find_boundaries, relabel_sequential

    height, width = labels.shape
    zoom = LONG_SIDE / max(height, width)
    zoom = max(1, round(zoom)) if zoom >= 1 else zoom
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    canvas = np.asarray(
        Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), dtype=np.float32
    )
    sequential = relabel_sequential(labels)[0]
    rows = np.minimum(((np.arange(size[1]) + 0.5) / zoom).astype(np.intp), height - 1)
    cols = np.minimum(((np.arange(size[0]) + 0.5) / zoom).astype(np.intp), width - 1)
    sequential = sequential[np.ix_(rows, cols)]

    tint = colours(int(sequential.max(initial=0)))[sequential]
    weight = np.where(sequential > 0, opacity, 0.0)
    outline = find_boundaries(sequential, mode="inner")
    weight[outline] = 1.0
    blended = canvas * (1 - weight[..., None]) + tint * weight[..., None]
    picture = np.rint(blended).astype(np.uint8)
    return _draw_prompts(picture, prompts, zoom) if prompts else picture


def _draw_prompts(
    picture: NDArray[np.uint8], prompts: Sequence[dict[str, Any]], zoom: float
) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    drawing = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawing)

    def place(coordinate: float) -> float:
        return (coordinate + 0.5) * zoom

    for each in prompts:
        if each.get("box") is not None:
            row_min, col_min, row_max, col_max = (place(edge) for edge in each["box"])
            pen.rectangle([col_min, row_min, col_max, row_max], outline="white", width=2)
        for (row, col), label in zip(each.get("points", ()), each.get("labels", ()), strict=True):
            x, y = place(col), place(row)
            fill = "lime" if label else "red"
            pen.ellipse([x - 6, y - 6, x + 6, y + 6], fill=fill, outline="white", width=2)
    return np.asarray(drawing)
