"""Render instances on the grid of dense maps at the image's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

from ..engine.embedding import Embedding
from ..formats.rle import RLE, encode
from .dense import largest_part

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

    def reach(self, start: int, stop: int) -> slice:
        """Pixels that lie between the cells start and stop - 1."""
        first = int(np.searchsorted(self.near, start))
        return slice(first, int(np.searchsorted(self.near, max(stop - 1, start + 1))))


def interpolate(
    part: NDArray[np.float32],
    row: int,
    col: int,
    rows: Taps,
    cols: Taps,
    where: tuple[slice, slice],
) -> NDArray[np.float32]:
    """Interpolate a part of a map, whose first cell is (row, col), to the pixels `where`.

    Parameters
    ----------
    part : float32 array (h, w)
        A part of a map.
    row, col : int
        Its first cell in the whole map.
    rows, cols : Taps
        Interpolation along both axes.
    where : tuple of slice
        Rows and columns of pixels.
    """
    index, weight = rows.near[where[0]] - row, rows.weight[where[0], None]
    after = np.minimum(index + 1, part.shape[0] - 1)
    tall = part[index] * (1 - weight) + part[after] * weight
    index, weight = cols.near[where[1]] - col, cols.weight[where[1]]
    after = np.minimum(index + 1, part.shape[1] - 1)
    out: NDArray[np.float32] = tall[:, index] * (1 - weight) + tall[:, after] * weight
    return out


def render(
    labels: NDArray[np.int32],
    foreground: NDArray[np.float32],
    threshold: float,
    offset: float,
    embedding: Embedding,
    stride: int,
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
    rows, cols = (Taps.of(embedding, axis, labels.shape[axis], stride) for axis in (0, 1))
    # Holes that were filled on the grid stay filled.
    solid = np.where((labels > 0) & (foreground <= threshold), threshold + 1e-3, foreground)
    grown = expand_labels(labels, _GROW)
    canvas = np.zeros(shape, np.int32)
    member = np.full(shape, np.float32(1e-6))
    found = ndimage.find_objects(grown, count)
    places = []
    for number, where in enumerate(found, start=1):
        top, bottom = max(where[0].start - 1, 0), min(where[0].stop + 1, labels.shape[0])
        left, right = max(where[1].start - 1, 0), min(where[1].stop + 1, labels.shape[1])
        cells = (slice(top, bottom), slice(left, right))
        pixels = (rows.reach(top, bottom), cols.reach(left, right))
        places.append((cells, pixels))
        ours = (grown[cells] == number).astype(np.float32)
        soft = interpolate(ours, top, left, rows, cols, pixels)
        inside = interpolate(solid[cells], top, left, rows, cols, pixels) > threshold
        wins = inside & (soft > member[pixels])
        canvas[pixels][wins] = number
        member[pixels][wins] = soft[wins]
    out: list[tuple[RLE | None, np.float32]] = []
    for number, (cells, pixels) in enumerate(places, start=1):
        mask = _solid_part(canvas[pixels], number)
        area = int(np.count_nonzero(mask))
        if not area:
            out.append((None, np.float32(np.nan)))
            continue
        top, left = cells[0].start, cells[1].start
        sure = interpolate(foreground[cells], top, left, rows, cols, pixels) > threshold + offset
        stability = np.float32(np.count_nonzero(sure & mask) / area)
        out.append((encode(mask).place((pixels[0].start, pixels[1].start), shape), stability))
    return out


def _solid_part(canvas: NDArray[np.int32], number: int) -> NDArray[np.bool_]:
    """Largest connected part of a label, holes filled where no other label is."""
    mask = largest_part(canvas == number)
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(mask) & (mask | (canvas == 0))
    return filled
