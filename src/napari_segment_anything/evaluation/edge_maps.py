"""Edge detection without training for it (SAM, section 7.2 and appendix D.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from skimage.filters import sobel

from ..automatic.grid import point_grid
from ..automatic.nms import box_nms
from ..engine import Embedding, Predictor, Prompts, upsample
from ..engine.image import open_image
from ..measures.edges import (
    boundaries_of,
    canny_edges,
    count_edges,
    sobel_edges,
    thin_edges,
)
from .protocols import Subject

POINTS_PER_SIDE = 16
BOX_NMS = 0.7
_TOGETHER = 16
_MARGIN = 3


def edges(subject: Subject) -> dict[str, Any]:
    """Compare edges with boundaries: those of the model's masks, of Sobel's filter, and of Canny.

    The boundaries are those that people drew, where the image has some, else those of its labels.

    Returns
    -------
    dict
        For "model", "sobel" and "canny", the rows of `EdgeCounts.table`.
    """
    plane = subject.plane
    drawn = plane.boundaries or (boundaries_of(subject.labels),)
    source = open_image(plane.image, channel_axis=plane.channel_axis)
    pixels = source.read(0, slice(None), slice(None))
    maps = {
        "model": edge_map(subject.predictor, subject.views.whole),
        "sobel": sobel_edges(pixels),
        "canny": canny_edges(pixels),
    }
    return {name: count_edges(strength, drawn).table() for name, strength in maps.items()}


def edge_map(
    predictor: Predictor, embedding: Embedding, *, points_per_side: int = POINTS_PER_SIDE
) -> NDArray[np.float32]:
    """Edge strength of an image, from masks for a grid of points.

    Three masks a point, without duplicates; Sobel's filter over the probabilities of each, where
    the mask's outer boundary is; the strongest of all masks, scaled to 0..1 and thinned.

    Parameters
    ----------
    predictor : Predictor
    embedding : Embedding
        Of the image.
    points_per_side : int
        Points along each side of the image.

    Returns
    -------
    float32 array (rows, columns)
        Of the embedding's window.
    """
    window = embedding.window
    grid = point_grid(points_per_side) * window.shape - 0.5
    points = np.clip(grid, 0, np.array(window.shape) - 1) + np.array([window.row, window.col])
    logits, scores = predictor.decode(embedding, Prompts.each_point(points))
    low = logits.flatten(0, 1).float().cpu()
    threshold = predictor.model.mask_threshold
    boxes, there = _boxes((low > threshold).numpy())
    kept = there[box_nms(boxes, scores.flatten().float().cpu().numpy()[there], BOX_NMS)]
    strength = np.zeros(window.shape, np.float32)
    for start in range(0, len(kept), _TOGETHER):
        part = low[torch.from_numpy(kept[start : start + _TOGETHER])]
        for _, values in upsample(part, embedding):
            for each in values.cpu().numpy():
                _add_edges(each, threshold, strength)
    strength /= strength.max() or 1.0
    return thin_edges(strength)


def _add_edges(
    logits: NDArray[np.float32], threshold: float, strength: NDArray[np.float32]
) -> None:
    """Raise edge strength along the outline of one mask, in place."""
    inside = logits > threshold
    rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return
    around = tuple(
        slice(max(ends[0] - _MARGIN, 0), ends[-1] + _MARGIN + 1) for ends in (rows, cols)
    )
    inside = inside[around]
    rim = binary_dilation(inside) & ~inside
    slope = sobel(1 / (1 + np.exp(-np.clip(logits[around], -60, 60))))
    np.maximum(strength[around], np.where(rim, slope, 0), out=strength[around])


def _boxes(masks: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes of the masks that are not empty, and which these are."""
    rows, cols = np.any(masks, axis=2), np.any(masks, axis=1)
    there = np.flatnonzero(np.any(rows, axis=1))
    rows, cols = rows[there], cols[there]
    last = rows.shape[1] - rows[:, ::-1].argmax(1), cols.shape[1] - cols[:, ::-1].argmax(1)
    boxes = np.stack([rows.argmax(1), cols.argmax(1), *last], 1)
    return boxes.astype(np.float32), there
