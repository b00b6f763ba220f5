"""Point grids, and the crops that they are laid over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ImageCrop:
    """A part of the image that is encoded separately.

    Parameters
    ----------
    row, col : int
        Its first pixel.
    height, width : int
        Its size in pixels.
    layer : int
        0 for the whole image, 1 for four crops, 2 for sixteen, and so on; -1 for the whole image
        at half resolution, -2 at a quarter, and so on.
    """

    row: int
    col: int
    height: int
    width: int
    layer: int

    @property
    def area(self) -> int:
        """Pixels in it."""
        return self.height * self.width


def point_grid(per_side: int) -> NDArray[np.float64]:
    """Centres of `per_side` x `per_side` equal cells of the unit square.

    Parameters
    ----------
    per_side : int
        Points along one side.

    Returns
    -------
    float64 array (per_side**2, 2)
        (row, col) as fractions of height and width, row by row.
    """
    margin = 1 / (2 * per_side)
    side = np.linspace(margin, 1 - margin, per_side)
    rows, cols = np.meshgrid(side, side, indexing="ij")
    return np.stack([rows.ravel(), cols.ravel()], axis=1)


def point_grids(per_side: int, layers: int, downscale: int) -> list[NDArray[np.float64]]:
    """One grid for the image and one for each crop layer, thinned by `downscale` per layer.

    Parameters
    ----------
    per_side : int
        Points along one side of the grid of the whole image.
    layers : int
        Crop layers.
    downscale : int
        Factor that the points are divided by for each layer.

    Returns
    -------
    list of float64 array (n, 2)
        (row, col) fractions, for layer 0, 1, ..., `layers`.
    """
    return [point_grid(int(per_side / downscale**layer)) for layer in range(layers + 1)]


def crops(
    shape: tuple[int, int], layers: int, overlap_ratio: float, reduced: int = 0
) -> list[ImageCrop]:
    """Cover an image with crops: layer n has 2**n x 2**n of them (SAM paper, appendix B).

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the image.
    layers : int
        ImageCrop layers beyond the image itself.
    overlap_ratio : float
        Overlap of neighbours in the first layer, as a fraction of the image's shorter side;
        it halves from layer to layer.
    reduced : int
        Layers that show the whole image at reduced resolution.

    Returns
    -------
    list of ImageCrop
        The image first, then its reductions, then layer by layer; within a layer column by
        column. Crops without a pixel, which tiny images can lead to, are left out.
    """
    height, width = shape
    out = [ImageCrop(0, 0, height, width, -layer) for layer in range(reduced + 1)]
    for layer in range(1, layers + 1):
        side = 2**layer
        overlap = int(overlap_ratio * min(shape) * (2 / side))
        crop_width = math.ceil((overlap * (side - 1) + width) / side)
        crop_height = math.ceil((overlap * (side - 1) + height) / side)
        for i in range(side):
            for j in range(side):
                col, row = i * (crop_width - overlap), j * (crop_height - overlap)
                rows, cols = min(crop_height, height - row), min(crop_width, width - col)
                if rows > 0 and cols > 0:
                    out.append(ImageCrop(row, col, rows, cols, layer))
    return out


def useful_layers(shape: tuple[int, int], image_size: int) -> int:
    """Number of crop layers that magnify pixels at most twice.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of the image.
    image_size : int
        Side of the model's frame, pixels.
    """
    return max(0, math.floor(math.log2(max(shape) / image_size) + 1.0 + 1e-9))


def near_crop_edge(
    boxes: NDArray[np.floating],
    crop: ImageCrop,
    shape: tuple[int, int],
    tolerance: float = 20.0,
) -> NDArray[np.bool_]:
    """Tell masks that are probably cut by the edge of their crop.

    Parameters
    ----------
    boxes : float array (n, 4)
        (row_min, col_min, row_max, col_max) in the image.
    crop : ImageCrop
        The crop they were found in.
    shape : tuple of int
        (rows, columns) of the image.
    tolerance : float
        Largest distance from the edge, in pixels, that counts as touching it.

    Returns
    -------
    bool array (n,)
        True where a side of the box lies at a side of the crop that is not also a side of
        the image.
    """
    here = np.array([crop.row, crop.col, crop.row + crop.height, crop.col + crop.width])
    whole = np.array([0, 0, *shape])
    at_crop = np.abs(boxes - here) <= tolerance
    at_image = np.abs(boxes - whole) <= tolerance
    near: NDArray[np.bool_] = np.any(at_crop & ~at_image, axis=1)
    return near
