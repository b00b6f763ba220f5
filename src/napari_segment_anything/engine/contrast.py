"""Contrast limits, and the stretch of any pixel type to the network's 0..255 RGB."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import ImageError, ParameterError
from .image import ImageSource, open_image

Limits: TypeAlias = tuple[tuple[float, float], ...]
"""Resolved contrast limits: (low, high) for each channel in use."""

PERCENTILES = (0.1, 99.9)
SAMPLE_PIXELS = 1 << 20
_GRID = 5
_READ_PIXELS = 1 << 28
"""Bound of the pixels read for the sample, counting whole chunks."""
_SMALL = 1e-30


def resolve_contrast_limits(
    image: Any,
    contrast_limits: Any = "auto",
    *,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
) -> Limits:
    """Resolve the contrast limits of an image, once for all its windows.

    Parameters
    ----------
    image : array-like, pyramid, or ImageSource
        As for `open_image`.
    contrast_limits : "auto", "percentile", (low, high), or one such pair per channel
        "auto" leaves unsigned 8-bit colour as it is and takes (0, 1) for bool; for everything
        else, and with "percentile" always, limits are the 0.1 and 99.9 percentiles of the finite
        pixels, of each channel, or of red, green and blue together. Those of a large image are
        estimated from about a million pixels: spread evenly over an array in memory, or in
        25 windows of a lazy array (of a pyramid: of the coarsest level with a million pixels),
        fewer and larger ones where its chunks have more than 10 million pixels.

    Returns
    -------
    tuple of (float, float)
        For each channel in use; accepted as `contrast_limits`.

    Raises
    ------
    ParameterError
        If the limits are not finite, not increasing, or not as many as the channels.
    ImageError
        If no pixel of a channel is finite.
    """
    source = open_image(image, channel_axis=channel_axis, channels=channels)
    count = len(source.channels)
    if not isinstance(contrast_limits, str):
        return _given(contrast_limits, count)
    if contrast_limits not in ("auto", "percentile"):
        raise ParameterError(
            f"contrast_limits is 'auto', 'percentile' or (low, high), not {contrast_limits!r}"
        )
    if contrast_limits == "auto":
        if source.colour and source.dtype == np.uint8:
            return ((0.0, 255.0),) * count
        if source.dtype == np.bool_:
            return ((0.0, 1.0),) * count
    sample = np.concatenate([part.reshape(-1, count) for part in _sample(source)])
    if source.colour:
        return (_percentile_limits(sample.reshape(-1)),) * count
    return tuple(_percentile_limits(sample[:, channel]) for channel in range(count))


def _given(limits: Any, count: int) -> Limits:
    try:
        pairs = np.asarray(limits, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"contrast limits are numbers, not {limits!r}") from error
    if pairs.shape == (2,):
        pairs = np.repeat(pairs[None], count, axis=0)
    if pairs.shape != (count, 2):
        raise ParameterError(
            f"give (low, high), or one such pair for each of the {count} channels in use; "
            f"got {limits!r}"
        )
    if not np.isfinite(pairs).all() or (pairs[:, 0] >= pairs[:, 1]).any():
        raise ParameterError(f"contrast limits must be finite, with low < high; got {limits!r}")
    return tuple((float(low), float(high)) for low, high in pairs)


def _sample(source: ImageSource) -> Iterator[np.ndarray]:
    """Yield pieces of the image, (rows, columns, channels), about `SAMPLE_PIXELS` in all."""
    budget = SAMPLE_PIXELS // max(1, len(source.channels) // 3)
    level = 0
    for index, shape in enumerate(source.shapes):
        if math.prod(shape) >= budget:
            level = index
    shape = source.shapes[level]
    whole = math.prod(shape) <= budget
    if whole or isinstance(source.levels[level], np.ndarray):
        step = max(1, math.ceil(math.sqrt(math.prod(shape) / budget)))
        yield source.read(level, slice(0, shape[0], step), slice(0, shape[1], step))
        return
    # a strided read touches every chunk of a lazy array, windows only their own
    chunks = _chunks(source, level)
    small = math.prod(shape) <= _READ_PIXELS
    grid = _GRID if small else _grid(chunks[0] * chunks[1])
    side = max(1, int(math.sqrt(budget) / grid))
    for rows in _spread(shape[0], side, chunks[0], grid):
        for cols in _spread(shape[1], side, chunks[1], grid):
            yield source.read(level, rows, cols)


def _grid(chunk: int) -> int:
    """Return how many windows to read along each axis; each costs a whole chunk."""
    return max(1, min(_GRID, math.isqrt(_READ_PIXELS // max(1, chunk))))


def _chunks(source: ImageSource, level: int) -> tuple[int, int]:
    chunks = getattr(source.levels[level], "chunks", None)
    try:
        # dask has a tuple of sizes for each axis
        sizes = [int(n[0] if isinstance(n, tuple) else n) for n in chunks]  # type: ignore[union-attr]
    except (TypeError, IndexError):
        return (1, 1)
    if source.channel_axis is not None and len(sizes) == 3:
        del sizes[source.channel_axis]
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (1, 1)


def _spread(extent: int, side: int, chunk: int, grid: int) -> list[slice]:
    """Spread up to `grid` slices over an axis, starting on chunk borders where that is near."""
    if extent <= side * grid:
        return [slice(0, extent)]
    starts = []
    for index in range(grid):
        # a small grid keeps away from the edges, which are often empty
        place = index / (grid - 1) if grid == _GRID else (index + 0.5) / grid
        start = round(place * (extent - side))
        if side <= chunk < extent // grid:
            # a window inside one chunk
            start = min(start, max(start // chunk * chunk, (start // chunk + 1) * chunk - side))
        starts.append(start)
    return [slice(start, start + side) for start in starts]


def _percentile_limits(values: np.ndarray) -> tuple[float, float]:
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    elif values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.size == 0:
        raise ImageError(
            "no pixel looked at for the contrast is a finite number (all are NaN or infinite); "
            "choose another plane or channel, or give contrast_limits=(low, high)"
        )
    low, high = _quantiles(values)
    if not low < high:
        low, high = float(values.min()), float(values.max())
    if not low < high:  # constant: black
        high = low + max(1.0, abs(low) * 1e-3)
    return (low, high)


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    """Return the two percentiles, without interpolation between values."""
    ranks = [
        min(values.size - 1, max(0, round(percentile / 100 * (values.size - 1))))
        for percentile in PERCENTILES
    ]
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        cumulative = np.cumsum(np.bincount(values))
        low, high = np.searchsorted(cumulative, ranks, side="right")
    else:
        low, high = np.partition(values, ranks)[ranks]
    return float(low), float(high)


def stretch(pixels: np.ndarray, limits: Limits) -> np.ndarray:
    """Map pixels to 0..255 and channels to gray or RGB.

    Parameters
    ----------
    pixels : array (H, W, channels), any bool, integer or float type
        As read from the image.
    limits : tuple of (float, float)
        One pair per channel. NaN and infinite pixels become the lower limit.

    Returns
    -------
    array (H, W) or (H, W, 3)
        uint8 where unsigned 8-bit pixels are taken as they are (limits 0 and 255), otherwise
        float32 in 0..255. Gray for one channel or more than three; two channels are red and
        green.
    """
    count = pixels.shape[-1]
    as_is = pixels.dtype == np.uint8 and all(pair == (0.0, 255.0) for pair in limits)
    if as_is and count <= 3:
        planes = [pixels[..., channel] for channel in range(count)]
        if count == 3:
            return np.ascontiguousarray(pixels)
    elif count > 3:
        total = np.zeros(pixels.shape[:2], np.float32)
        for channel in range(count):
            total += _stretch_plane(pixels[..., channel], *limits[channel])
        return total / np.float32(count)
    else:
        planes = [_stretch_plane(pixels[..., i], *limits[i]) for i in range(count)]
    if count == 1:
        return np.ascontiguousarray(planes[0])
    if count == 2:
        planes.append(np.zeros_like(planes[0]))
    return np.stack(planes, axis=-1)


def _stretch_plane(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    if plane.dtype.itemsize <= 2 and plane.dtype.kind in "bui":
        # at most 65536 values: a table is faster than arithmetic, and exact
        first = 0 if plane.dtype.kind in "bu" else int(np.iinfo(plane.dtype).min)
        levels = 2 if plane.dtype.kind == "b" else 1 << (8 * plane.dtype.itemsize)
        if plane.size > levels:
            table = _scale(np.arange(first, first + levels, dtype=np.float64), low, high)
            index = plane if first == 0 else plane.astype(np.int32) - first
            return table[index.astype(np.uint8) if plane.dtype.kind == "b" else index]
    wide = plane.dtype.itemsize >= 4 and plane.dtype != np.float32
    values = plane.astype(np.float64 if wide else np.float32)
    if plane.dtype.kind == "f":
        values[~np.isfinite(values)] = low
    return _scale(values, low, high)


def _scale(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if max(abs(low), abs(high)) > float(np.finfo(np.float32).max):
        values = values.astype(np.float64)
    if not math.isfinite(high - low):  # limits near the end of float64
        values, low, high = values / 4, low / 4, high / 4
    if high - low < _SMALL:  # 255 over this would not be finite
        values = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
        low, high = 0.0, 1.0
    values = np.clip(values, low, high)
    values -= low
    values *= 255.0 / (high - low)
    return np.clip(values, 0, 255, out=values).astype(np.float32, copy=False)
