"""The frame: which pixels are read for a window, resized to the side that the encoder expects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..errors import ParameterError
from ..network import FrameFit
from ..network.micro import MICRO_CELL
from .windows import Window


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What to read for a window, and which part of the full-resolution image it covers.

    Parameters
    ----------
    level : int
        Pyramid level to read, 0 the full resolution.
    rows, cols : slice
        What to read there, in that level's pixels.
    window : Window
        The full-resolution pixels this covers: the wanted window, grown to whole pixels of
        the level.
    canvas : tuple of int
        Rows and columns that the pixels read stand for, in full-resolution pixels. Equal to
        the window's shape, but for a level whose last pixels reach over the image's edge (or
        stop short of it).
    """

    level: int
    rows: slice
    cols: slice
    window: Window
    canvas: tuple[int, int]


def frame_side(
    shape: Sequence[int], image_size: int, span: float | None = None, fit: FrameFit = "pad"
) -> tuple[int, int]:
    """Return rows and columns of an image in the frame.

    Parameters
    ----------
    shape : sequence of int
        Rows and columns of the image.
    image_size : int
        Frame side in pixels.
    span : float, optional
        Pixels of the image along the side of the frame, at least its long side.
    fit : {"pad", "stretch"}
        "pad" resizes the image so that its long side is the frame's, with the published rounding,
        int(side * scale + 0.5), but never below one pixel; "stretch" to the whole frame, unless
        there is a span.
    """
    if fit == "stretch" and span is None:
        return (image_size, image_size)
    scale = image_size * 1.0 / max(shape[0], shape[1], span or 0)
    return (
        max(1, int(shape[0] * scale + 0.5)),
        max(1, int(shape[1] * scale + 0.5)),
    )


def level_factor(full: int, reduced: int) -> float:
    """Return how many full-resolution pixels one pixel of a reduced axis stands for.

    The whole number with which ceil(full / factor) or floor(full / factor) gives the reduced
    length where there is one; otherwise the ratio of the lengths.
    """
    whole = round(full / reduced)
    if whole >= 1 and reduced in (-(-full // whole), full // whole):
        return float(whole)
    # lengths halved several times, each time rounded
    for candidate in (math.ceil(full / reduced), full // reduced):
        if candidate >= 1 and reduced in (-(-full // candidate), full // candidate):
            return float(candidate)
    return full / reduced


def choose_level(
    shapes: Sequence[tuple[int, int]],
    side: Sequence[int],
    image_size: int,
    fit: FrameFit = "pad",
) -> int:
    """Return the coarsest level at which a window still fills the frame.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of each level, the full resolution first.
    side : two ints
        Height and width of the window in full-resolution pixels, or its longer side alone.
    image_size : int
        Frame side of the image encoder in pixels.
    fit : {"pad", "stretch"}
        Whether the window's longer side fills the frame, or each of them.
    """
    best, filling = 0, max if fit == "pad" else min
    for level, shape in enumerate(shapes):
        factors = (level_factor(shapes[0][axis], shape[axis]) for axis in (0, 1))
        reduced = filling(length / factor for length, factor in zip(side, factors, strict=False))
        if reduced >= image_size - 0.5:
            best = level
    return best


def plan_window(
    shapes: Sequence[tuple[int, int]],
    window: Window | None,
    image_size: int,
    level: int | None = None,
    span: int | None = None,
    fit: FrameFit = "pad",
) -> WindowPlan:
    """Decide what to read to embed a window.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of each pyramid level, the full resolution first.
    window : Window or None
        In full-resolution pixels, clipped to the image; None is the whole image.
    image_size : int
        Frame side of the image encoder in pixels.
    level : int, optional
        The level to read; by default the coarsest at which the window fills the frame.
    span : int, optional
        Pixels of the image along the side of the frame, if more than the window has.
    fit : {"pad", "stretch"}
        As for `frame_side`.

    Raises
    ------
    ParameterError
        If the window lies outside the image or the level does not exist.
    """
    window = Window.full(shapes[0]) if window is None else window.clip(shapes[0])
    if level is None:
        seen = window.shape if span is None else (max(span, *window.shape),)
        level = choose_level(shapes, seen, image_size, fit)
    elif not 0 <= level < len(shapes):
        raise ParameterError(f"level {level} does not exist: the image has {len(shapes)}")
    if level == 0:
        return WindowPlan(0, *window.slices, window, window.shape)
    reads, starts, sides, canvas = [], [], [], []
    for axis, (start, side) in enumerate(zip((window.row, window.col), window.shape, strict=True)):
        full, reduced = shapes[0][axis], shapes[level][axis]
        factor = level_factor(full, reduced)
        first = min(int(start / factor), reduced - 1)
        last = min(max(math.ceil((start + side) / factor), first + 1), reduced)
        begin = min(round(first * factor), full - 1)
        end = full if last == reduced else min(round(last * factor), full)
        reads.append(slice(first, last))
        starts.append(begin)
        sides.append(max(end - begin, 1))
        canvas.append(max(1, round((last - first) * factor)))
    return WindowPlan(
        level,
        reads[0],
        reads[1],
        Window(starts[0], starts[1], sides[0], sides[1]),
        (canvas[0], canvas[1]),
    )


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
