"""Images of any layout and type: which axes they have, and how to read a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image whose axes are known; reads windows.

    Made by `open_image`.

    Parameters
    ----------
    levels : tuple of array-likes
        Pyramid levels, the full resolution first; each has shape, dtype and __getitem__.
    channel_axis : int or None
        The axis that holds channels.
    channels : tuple of int
        The channels in use; (0,) without a channel axis.
    colour : bool
        Whether the channels are red, green, blue: their contrast limits are then shared.
    """

    levels: tuple[Any, ...]
    channel_axis: int | None
    channels: tuple[int, ...]
    colour: bool

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each level."""
        axes = [axis for axis in range(3) if axis != self.channel_axis][:2]
        return tuple(
            (int(level.shape[axes[0]]), int(level.shape[axes[1]])) for level in self.levels
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the full resolution."""
        return self.shapes[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        dtype: np.dtype[Any] = np.dtype(self.levels[0].dtype)
        return dtype

    def read(self, level: int, rows: slice, cols: slice) -> np.ndarray:
        """Read a rectangle of one level, and nothing else: (rows, columns, channels in use).

        Raises
        ------
        ImageError
            If the array cannot be read there.
        """
        array = self.levels[level]
        if self.channel_axis is None:
            return _fetch(array, (rows, cols))[..., None]
        index: list[Any] = [rows, cols]
        first, last = min(self.channels), max(self.channels)
        if self.channels == tuple(range(first, last + 1)):
            index.insert(self.channel_axis, slice(first, last + 1))
            return np.moveaxis(_fetch(array, tuple(index)), self.channel_axis, -1)
        index.insert(self.channel_axis, 0)
        planes = []
        for channel in self.channels:
            index[self.channel_axis] = channel
            planes.append(_fetch(array, tuple(index)))
        return np.stack(planes, axis=-1)


def _fetch(array: Any, index: tuple[Any, ...]) -> np.ndarray:
    try:
        return np.asarray(array[index])
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # whatever a lazy array's store raises
        raise ImageError(f"the image cannot be read at {_index_text(index)}: {error}") from error


def _index_text(index: tuple[Any, ...]) -> str:
    """Format an index as text: [0:512, 864:1376]."""
    parts = (
        f"{part.start or 0}:{'' if part.stop is None else part.stop}"
        if isinstance(part, slice)
        else str(part)
        for part in index
    )
    return f"[{', '.join(parts)}]"


def open_image(
    image: Any, *, channel_axis: int | None = None, channels: Sequence[int] | None = None
) -> ImageSource:
    """Determine an image's axes without reading pixels.

    Without a channel axis, 2-D is one channel, and (H, W, 3) or (H, W, 4) is colour (the alpha
    channel is left out). With a channel axis every entry is a channel of its own; only unsigned
    8-bit data with 3 or 4 channels on the last axis still is colour.

    The network sees one channel as gray, two as red and green, three as red, green and blue, and
    more than three as gray: the mean of all, each stretched by its own contrast limits. `channels`
    chooses which ones, and in which order.

    Parameters
    ----------
    image : array-like, or sequence of array-likes
        Any array with shape, dtype and indexing (NumPy, zarr, dask, ...), of bool, integer or
        float type; or a pyramid's levels, the full resolution first.
    channel_axis : int, optional
        Where the channels are, negative from the end.
    channels : sequence of int, optional
        The channels to use.

    Raises
    ------
    ImageError
        If the image is empty, not 2-D plus channels, not of a numeric type, or lacks a channel.
    """
    if isinstance(image, ImageSource):
        if channel_axis is not None or channels is not None:
            raise ImageError("the channels of this image were settled when it was opened")
        return image
    levels = _levels(image)
    array = levels[0]
    shape = tuple(int(n) for n in array.shape)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "buif":
        raise ImageError(
            f"the image has dtype {dtype}; it must be of bool, integer or (real) float type"
        )
    if 0 in shape:
        raise ImageError(f"the image is empty: its shape is {shape}")
    axis, colour = _channel_axis(shape, dtype, channel_axis)
    count = 1 if axis is None else shape[axis]
    chosen = _chosen(channels, count, axis, colour)
    for level in levels[1:]:
        if len(level.shape) != len(shape) or (axis is not None and level.shape[axis] != count):
            raise ImageError(
                f"the levels of a pyramid need the same axes; got {shape} and {tuple(level.shape)}"
            )
    source = ImageSource(levels, axis, chosen, colour)
    for finer, coarser in zip(source.shapes, source.shapes[1:], strict=False):
        if coarser[0] > finer[0] or coarser[1] > finer[1] or 0 in coarser:
            raise ImageError(
                "the levels of a pyramid must come from fine to coarse; "
                f"got {finer} before {coarser}"
            )
    return source


def _levels(image: Any) -> tuple[Any, ...]:
    if isinstance(image, Sequence) and not isinstance(image, (str, bytes)):
        if len(image) and all(hasattr(level, "shape") for level in image):
            if len(image[0].shape) < 2:
                raise ImageError("an image has rows and columns; its levels are one-dimensional")
            return tuple(image)
        try:
            image = np.asarray(image)
        except ValueError as error:
            raise ImageError(f"the image is not an array: {error}") from error
    if not all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__")):
        hint = "; read_image(path).array reads a file" if isinstance(image, str | Path) else ""
        for name in ("array", "image"):  # of an `ImageData`, of a `Sample`
            if isinstance(getattr(image, name, None), np.ndarray):
                hint = f"; give its .{name}"
        raise ImageError(
            f"an image is an array with shape, dtype and indexing, not {type(image).__name__}{hint}"
        )
    if not isinstance(image.dtype, np.dtype):
        try:
            np.dtype(image.dtype)
        except TypeError:
            image = np.asarray(image)
    return (image,)


def _channel_axis(
    shape: tuple[int, ...], dtype: np.dtype[Any], channel_axis: int | None
) -> tuple[int | None, bool]:
    if channel_axis is None:
        if len(shape) == 2:
            return None, False
        if len(shape) == 3 and shape[2] in (1, 3, 4):
            return 2, shape[2] > 1
        hint = (
            "say which axis holds channels with channel_axis, or take one plane"
            if len(shape) == 3
            else "take one plane of it"
        )
        raise ImageError(
            f"an image is (rows, columns) or (rows, columns, 3 or 4); this one is {shape}: {hint}"
        )
    if len(shape) != 3:
        raise ImageError(
            f"an image with a channel axis has 3 axes, this one has {len(shape)}: {shape}"
        )
    if not -3 <= channel_axis < 3:
        raise ImageError(f"channel_axis {channel_axis} does not exist in an image of 3 axes")
    axis = int(channel_axis) % 3
    return axis, axis == 2 and shape[2] in (3, 4) and dtype == np.uint8


def _chosen(
    channels: Sequence[int] | None, count: int, axis: int | None, colour: bool
) -> tuple[int, ...]:
    if channels is None:
        return tuple(range(3 if colour else count))
    chosen = tuple(int(channel) for channel in channels)
    if axis is None and chosen != (0,):
        raise ImageError("channels were chosen, but the image has no channel axis")
    if not chosen:
        raise ImageError("no channel was chosen")
    for channel in chosen:
        if not 0 <= channel < count:
            raise ImageError(f"channel {channel} does not exist: they run from 0 to {count - 1}")
    if len(set(chosen)) < len(chosen):
        raise ImageError(f"a channel was chosen twice: {', '.join(map(str, chosen))}")
    return chosen
