"""The frame: a window resized to the size that the image encoder expects."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ..network import FrameFit
from ..network.micro import MICRO_CELL
from .windows import frame_side


def to_frame(
    pixels: np.ndarray, image_size: int, span: float | None = None, fit: FrameFit = "pad"
) -> torch.Tensor:
    """Resize pixels to the frame as the published pipelines do: bilinear with antialiasing.

    Parameters
    ----------
    pixels : uint8 or float32 array (H, W) or (H, W, 3)
        0..255. uint8 stays on whole numbers, as published; float32 is resized in float32.
    image_size : int
        Frame side in pixels.
    span : float, optional
        How many of these pixels fit along the whole frame. The image is then in its upper
        left, and is mirrored where the frame would otherwise be empty.
    fit : {"pad", "stretch"}
        As for `frame_side`.

    Returns
    -------
    float32 tensor (1, 3, h, w)
        Its long side, or each, is `image_size`; gray is repeated in three channels, without a
        copy.
    """
    rows, cols = frame_side(pixels.shape, image_size, span, fit)
    planes: tuple[np.ndarray, ...] = (pixels,)
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        planes = tuple(pixels[..., channel] for channel in range(3))
    if pixels.shape[:2] != (rows, cols):
        planes = tuple(_resize(plane, rows, cols) for plane in planes)
    frame = planes[0] if len(planes) == 1 else np.stack(planes)
    if frame.ndim == 3 and len(planes) == 1:
        frame = frame.transpose(2, 0, 1)
    tensor = torch.from_numpy(np.array(frame, dtype=np.float32, order="C"))
    if span is not None:
        tensor = tensor[..., _mirrored(rows, image_size), :][..., _mirrored(cols, image_size)]
    if tensor.ndim == 2:
        tensor = tensor.expand(3, *tensor.shape)
    return tensor[None]


def mirror_margin(frame: torch.Tensor, margin: int) -> torch.Tensor:
    """Continue a frame (..., h, w) to the right and below by its mirror image.

    Parameters
    ----------
    frame : Tensor
    margin : int
        Pixels added at least; the sides become multiples of `MICRO_CELL`.
    """
    for axis in (-2, -1):
        count = frame.shape[axis]
        side = -(-(count + margin) // MICRO_CELL) * MICRO_CELL
        frame = frame.index_select(axis, _mirrored(count, side))
    return frame


def _mirrored(count: int, side: int) -> torch.Tensor:
    """Indices 0 .. count - 1, back again, and so on, `side` of them."""
    place = torch.arange(side) % (2 * count)
    return torch.minimum(place, 2 * count - 1 - place)


def _resize(plane: np.ndarray, rows: int, cols: int) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(picture.resize((cols, rows), Image.Resampling.BILINEAR))
