"""Render instances on the grid of dense maps at the image's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

from ..engine.embedding import Embedding
from ..formats.rle import RLE, encode, encode_labels
from .regions import filled, main_parts, with_holes

# Cells by which an instance may grow where there is foreground.
_GROW = 2.0


@dataclass(frozen=True, slots=True)
class Taps:
    """Bilinear interpolation along one axis, from cells to the image's pixels.

    Parameters
    ----------
    near : int64 array (pixels,)
        First of the two cells that each pixel lies between, non-decreasing.
    weight : float32 array (pixels,)
        Weight of the second cell.
    """

    near: NDArray[np.int64]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, embedding: Embedding, axis: int, cells: int, stride: int) -> Taps:
        """Interpolation for an axis of `cells` cells of `stride` frame pixels each.

        Parameters
        ----------
        embedding : Embedding
            What the map belongs to.
        axis : int
            0 for rows, 1 for columns.
        cells : int
            Cells of the map along the axis.
        stride : int
            Frame pixels per cell.
        """
        pixels = np.arange(embedding.window.shape[axis])
        frame = (pixels + 0.5) * embedding.frame_shape[axis] / embedding.canvas[axis]
        place = np.clip(frame / stride - 0.5, 0, cells - 1)
        near = np.minimum(place.astype(np.int64), max(cells - 2, 0))
        return cls(near, (place - near).astype(np.float32))


def interpolate(field: NDArray[np.float32], rows: Taps, cols: Taps) -> NDArray[np.float32]:
    """Interpolate a map (h, w) to the image's pixels."""
    after = np.minimum(rows.near + 1, field.shape[0] - 1)
    weight = rows.weight[:, None]
    tall = field[rows.near]
    tall *= 1 - weight
    tall += field[after] * weight
    after = np.minimum(cols.near + 1, field.shape[1] - 1)
    out: NDArray[np.float32] = tall[:, cols.near]
    out *= 1 - cols.weight
    tall = tall[:, after]
    tall *= cols.weight
    out += tall
    return out


def render(
    labels: NDArray[np.int32],
    foreground: NDArray[np.float32],
    threshold: float,
    offset: float,
    embedding: Embedding,
    stride: int,
    origin: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
) -> list[tuple[RLE | None, np.float32]]:
    """Render instances as masks with smooth outlines that do not overlap.

    Between instances, a pixel goes to the one with the larger interpolated membership; towards
    the background, the outline is where the interpolated foreground crosses its threshold.

    Parameters
    ----------
    labels : int32 array (h, w)
        0 background, 1 to n.
    foreground : float32 array (h, w)
        Logits.
    threshold : float
        Logit above which a pixel is foreground.
    offset : float
        For the stability: shift of that threshold.
    embedding : Embedding
        What the maps belong to.
    stride : int
        Frame pixels per cell.
    origin, size : tuple of int, optional
        Where the embedding's window lies in the frame of the masks, and that frame's rows and
        columns; by default the window itself is the frame.

    Returns
    -------
    list of (RLE or None, float32)
        For each label its mask (None if no pixel is left), and the fraction of its pixels whose
        foreground logit exceeds the threshold by `offset`.
    """
    count = int(labels.max(initial=0))
    if not count:
        return []
    shape = embedding.window.shape
    size = shape if size is None else size
    rows, cols = (Taps.of(embedding, axis, labels.shape[axis], stride) for axis in (0, 1))
    grown = expand_labels(labels, _GROW)
    inside = interpolate(foreground, rows, cols)
    sure = inside > threshold + offset
    # Holes that were filled on the grid stay filled.
    hollow = (labels > 0) & (foreground <= threshold)
    if hollow.any():
        solid = np.where(hollow, np.float32(threshold + 1e-3), foreground)
        inside = interpolate(solid, rows, cols)
    drawn = np.where(inside > threshold, _owners(grown, rows, cols), 0)
    canvas = main_parts(drawn)
    masks = encode_labels(canvas, origin, size)
    area = np.bincount(canvas.ravel(), minlength=count + 1)
    certain = np.bincount(canvas[sure], minlength=count + 1)
    places = ndimage.find_objects(canvas, count)
    for number in with_holes(canvas).tolist():
        where = places[number - 1]
        mask = filled(canvas, number, where, drawn[where] == 0)
        corner = (origin[0] + where[0].start, origin[1] + where[1].start)
        masks[number] = encode(mask).place(corner, size)
        area[number] = np.count_nonzero(mask)
        certain[number] = np.count_nonzero(sure[where] & mask)
    with np.errstate(invalid="ignore"):
        stability = (certain[1:] / area[1:]).astype(np.float32)
    return [(masks.get(number), stability[number - 1]) for number in range(1, count + 1)]


def _owners(labels: NDArray[np.int32], rows: Taps, cols: Taps) -> NDArray[np.int32]:
    """For each pixel the label with the largest interpolated membership, or the first of equals."""
    row, col = rows.near, cols.near
    cell = np.arange(labels.shape[0])[:, None], np.arange(labels.shape[1])
    after = np.minimum(cell[0] + 1, len(labels) - 1), np.minimum(cell[1] + 1, labels.shape[1] - 1)
    corners = [labels[a, b] for a in (cell[0], after[0]) for b in (cell[1], after[1])]
    mixed = (corners[0] != corners[1]) | (corners[2] != corners[3]) | (corners[0] != corners[2])
    out = labels[row][:, col]
    y, x = np.nonzero(mixed[row][:, col])
    down, along = rows.weight[y], cols.weight[x]
    near = [corner[row[y], col[x]] for corner in corners]
    best, owner = np.full(len(y), np.float32(1e-6)), np.zeros(len(y), labels.dtype)
    for own in near:
        a, b, c, d = ((own == other).astype(np.float32) for other in near)
        left, beside = a * (1 - down) + c * down, b * (1 - down) + d * down
        member = left * (1 - along) + beside * along
        wins = (own > 0) & ((member > best) | ((member == best) & (own < owner)))
        best[wins], owner[wins] = member[wins], own[wins]
    out[y, x] = owner
    return out
