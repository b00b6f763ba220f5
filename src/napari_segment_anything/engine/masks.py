"""Low-resolution logits to masks at image resolution, and a mask to logits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import PromptError
from .embedding import Embedding
from .windows import NO_MASK, PlacedMask

# Products this small run on one thread in any BLAS; waking a second one costs more than it saves.
_PRODUCT = 200_000
_CHUNK_VALUES = 1 << 22
# Fewer masks are drawn before further threads have begun.
_MANY_MASKS = 8


@dataclass(frozen=True, slots=True)
class UpsampledPatch:
    """Part of one upsampled mask.

    Parameters
    ----------
    index : int
        Which mask.
    rows, cols : slice
        Where, in the window's pixels.
    values : float32 array (rows, cols)
        Logits. Borrowed: the next patch overwrites them.
    """

    index: int
    rows: slice
    cols: slice
    values: np.ndarray


def upsample(logits: Tensor, embedding: Embedding) -> Iterator[tuple[slice, Tensor]]:
    """Upsample logits to the window's pixels in the published steps, a few masks at a time.

    Bilinear (align_corners False) to the frame, cut to the part that holds image, bilinear to
    the window; from a stretched frame directly to the window.

    Parameters
    ----------
    logits : tensor (n, 4h, 4w)
        As decoded.
    embedding : Embedding
        What they were decoded from.

    Yields
    ------
    slice
        Which masks.
    float32 tensor (k, H, W)
        Their logits at the window's resolution.
    """
    size, (rows, cols) = embedding.halfway
    height, width = embedding.window.shape
    values = max(size[0] * size[1], embedding.canvas[0] * embedding.canvas[1])
    step = max(1, _CHUNK_VALUES // values)
    for start in range(0, len(logits), step):
        batch = slice(start, min(start + step, len(logits)))
        frame = _bilinear(logits[batch, None].float(), size)[..., :rows, :cols]
        image = _bilinear(frame, embedding.canvas)[..., :height, :width]
        missing = (width - image.shape[-1], height - image.shape[-2])
        if any(missing):
            image = F.pad(image, (0, missing[0], 0, missing[1]), mode="replicate")
        yield batch, image[:, 0]


def _bilinear(images: Tensor, shape: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == tuple(shape):
        return images
    return F.interpolate(images, shape, mode="bilinear", align_corners=False)


def patches(
    logits: Tensor | np.ndarray, embedding: Embedding, threshold: float = 0.0
) -> Iterator[UpsampledPatch]:
    """Upsample only where logits can exceed a threshold.

    Gives the values of `upsample`, up to float32 rounding, everywhere a value can be larger than
    `threshold`: each step is an average of neighbours, so where all of these are at or below the
    threshold, the result is too. A mask without such a value has no patch, a large one has
    several, of whole rows of its region.

    Parameters
    ----------
    logits : tensor or array (n, 4h, 4w)
        As decoded.
    embedding : Embedding
        What they were decoded from.
    threshold : float
        Values at or below it need not be computed.
    """
    array = _as_array(logits)
    low, (size, valid) = embedding.low_shape, embedding.halfway
    canvas, extent = embedding.canvas, embedding.window.shape
    rows, cols = (_axis(low[i], size[i], valid[i], canvas[i], extent[i]) for i in (0, 1))
    # A weighted average can exceed its largest term by a rounding error, but not above zero.
    margin = 0.0 if threshold == 0 else 1e-4 * abs(threshold)
    positive = np.greater(array, threshold - margin)
    by_row = np.any(positive, axis=2)
    by_col = np.any(positive, axis=1)
    buffer = np.empty(0, np.float32)
    for index in np.flatnonzero(by_row.any(axis=1)):
        col_start, col_stop = cols.reach(by_col[index])
        row_start, row_stop = rows.reach(by_row[index])
        width = col_stop - col_start
        if width <= 0:  # only beyond the image's last pixels
            continue
        step = max(1, _CHUNK_VALUES // max(width, 1))
        needed = min(step, row_stop - row_start) * width
        if buffer.size < needed:
            buffer = np.empty(needed, np.float32)
        for top in range(row_start, row_stop, step):
            bottom = min(top + step, row_stop)
            values = buffer[: (bottom - top) * width].reshape(bottom - top, width)
            _resample(array[index], rows, cols, (top, bottom), (col_start, col_stop), values)
            yield UpsampledPatch(int(index), slice(top, bottom), slice(col_start, col_stop), values)


def binarise(
    logits: Tensor | np.ndarray,
    embedding: Embedding,
    threshold: float = 0.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return masks at the window's resolution: where the upsampled logits exceed a threshold.

    Parameters
    ----------
    logits : tensor or array (n, 4h, 4w)
        As decoded.
    embedding : Embedding
        What they were decoded from.
    threshold : float
        The model's mask threshold.
    out : bool array (n, H, W), optional
        All False; filled and returned.
    """
    if out is None:
        out = np.zeros((len(logits), *embedding.window.shape), bool)
    if isinstance(logits, Tensor) and logits.device.type != "cpu":
        for batch, values in upsample(logits, embedding):
            out[batch] = (values > threshold).cpu().numpy()
        return out
    array, masks = _as_array(logits), out

    def fill(part: slice) -> None:
        for patch in patches(array[part], embedding, threshold):
            target = masks[part][patch.index, patch.rows, patch.cols]
            np.greater(patch.values, threshold, out=target)

    threads = torch.get_num_threads()
    if threads == 1 or len(array) < _MANY_MASKS:
        fill(slice(None))
    else:
        share = -(-len(array) // threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, (slice(i, i + share) for i in range(0, len(array), share))))
    return masks


def draw_masks(
    logits: Tensor | np.ndarray, embedding: Embedding, threshold: float, margin: int = 0
) -> list[PlacedMask]:
    """Upsample logits only where there can be a mask, and return the masks.

    Parameters
    ----------
    logits : tensor or array (n, 4h, 4w)
        As decoded.
    embedding : Embedding
        What they were decoded from.
    threshold : float
        The model's mask threshold.
    margin : int
        Pixels on each side of the image that are not part of the plane, such as mirrored ones:
        masks end there, and positions are counted from the plane's first pixel.
    """
    bands: dict[int, list[np.ndarray]] = {}
    origins: dict[int, tuple[int, int]] = {}
    for patch in patches(logits, embedding, threshold):  # bands of the same columns
        bands.setdefault(patch.index, []).append(patch.values > threshold)
        origins.setdefault(patch.index, (patch.rows.start, patch.cols.start))
    rows, cols = (side - 2 * margin for side in embedding.image_shape)
    drawn = [NO_MASK] * len(logits)
    for index, parts in bands.items():
        row = embedding.window.row + origins[index][0] - margin
        col = embedding.window.col + origins[index][1] - margin
        top, left = max(0, -row), max(0, -col)
        inside = np.concatenate(parts)[top : max(0, rows - row), left : max(0, cols - col)]
        drawn[index] = PlacedMask.of(inside, row + top, col + left)
    return drawn


def mask_logits(mask: npt.ArrayLike, embedding: Embedding) -> np.ndarray:
    """Turn masks at the window's resolution into mask prompts, to refine them.

    A low-resolution cell's logit is that of the part of it which the mask covers, within
    about 7 of zero. A mask too small to cover half a cell anywhere is scaled up to cover one.

    Parameters
    ----------
    mask : bool array (H, W) or (n, H, W)
        At the embedding's window's resolution.
    embedding : Embedding
        What they will be decoded with.

    Returns
    -------
    float32 array (4h, 4w) or (n, 4h, 4w)
        For `Prompts.from_objects([{"mask": ...}])` or `Prompts.with_masks`.

    Raises
    ------
    PromptError
        If the mask has another shape, is empty, or is not bool.
    """
    array = np.asarray(mask)
    single = array.ndim == 2
    if single:
        array = array[None]
    if array.dtype != np.bool_:
        raise PromptError(f"a mask is boolean, not {array.dtype}; compare labels with an id first")
    if array.ndim != 3 or array.shape[1:] != embedding.window.shape:
        raise PromptError(
            f"the mask has shape {array.shape[1:]}, the embedded window {embedding.window.shape}"
        )
    empty = ~array.any(axis=(1, 2))
    if empty.any():
        raise PromptError(f"mask {int(np.argmax(empty))} is empty")
    low = embedding.low_shape
    size, (rows, cols) = embedding.halfway
    result = np.empty((len(array), *low), np.float32)
    for number, item in enumerate(array):
        image = torch.from_numpy(np.ascontiguousarray(item, dtype=np.float32))[None, None]
        height, width = embedding.canvas
        image = image[..., :height, :width]
        missing = (width - image.shape[-1], height - image.shape[-2])
        image = F.pad(image, (0, missing[0], 0, missing[1]), mode="replicate")
        frame = _shrink(image, (rows, cols))
        frame = F.pad(frame, (0, size[1] - cols, 0, size[0] - rows))
        cover = _shrink(frame, low)[0, 0].numpy()
        if cover.max() < 0.5:
            cover = cover / cover.max()
        cover = np.clip(cover, 1e-3, 1 - 1e-3)
        result[number] = np.log(cover / (1 - cover))
    return result[0] if single else result


def _shrink(image: Tensor, shape: tuple[int, int]) -> Tensor:
    return F.interpolate(image, shape, mode="bilinear", align_corners=False, antialias=True)


def _as_array(logits: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(logits, Tensor):
        logits = logits.detach().float().cpu().numpy()
    return np.ascontiguousarray(logits, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Axis:
    """All upsampling steps along one axis as one linear map, in bands.

    Row i of the map has its non-zero weights between low[i] and high[i], both never falling.
    `bands` holds (first source index, weights (outputs, sources)) for every `size` outputs.
    """

    low: np.ndarray
    high: np.ndarray
    size: int
    bands: tuple[tuple[int, np.ndarray], ...]

    def reach(self, flags: np.ndarray) -> tuple[int, int]:
        """Return start and stop of the outputs that flagged sources have a part in."""
        first, last = int(flags.argmax()), len(flags) - 1 - int(flags[::-1].argmax())
        start = np.searchsorted(self.high, first, side="left")
        return int(start), int(np.searchsorted(self.low, last, side="right"))


@lru_cache(maxsize=16)
def _axis(low: int, side: int, valid: int, canvas: int, extent: int) -> _Axis:
    near, far, weight = (tap[:valid] for tap in _taps(side, low))
    first, second, share = _taps(canvas, valid)
    order = np.minimum(np.arange(extent), canvas - 1)
    first, second, share = first[order], second[order], share[order]
    terms = (
        (near[first], (1 - share) * (1 - weight[first])),
        (far[first], (1 - share) * weight[first]),
        (near[second], share * (1 - weight[second])),
        (far[second], share * weight[second]),
    )
    lowest = np.minimum.reduce([source for source, _ in terms])
    highest = np.maximum.reduce([source for source, _ in terms])
    size = int(np.clip((_PRODUCT * extent / low) ** (1 / 3), 16, 256))
    bands = []
    for start in range(0, extent, size):
        stop = min(start + size, extent)
        base = int(lowest[start])
        matrix = np.zeros((stop - start, int(highest[stop - 1]) + 1 - base))
        outputs = np.arange(stop - start)
        for source, amount in terms:
            np.add.at(matrix, (outputs, source[start:stop] - base), amount[start:stop])
        bands.append((base, matrix.astype(np.float32)))
    return _Axis(lowest, highest, size, tuple(bands))


def _taps(outputs: int, sources: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bilinear interpolation as torch does it: two source indices and the second's weight."""
    index = np.arange(outputs)
    if outputs == sources:
        return index, index, np.zeros(outputs)
    # float32 with a fused multiply-add, as torch computes it
    scale = float(np.float32(sources) / np.float32(outputs))
    position = np.maximum(((index + 0.5) * scale - 0.5).astype(np.float32), np.float32(0))
    near = np.minimum(position.astype(np.int64), sources - 1)
    far = np.minimum(near + 1, sources - 1)
    return near, far, (position - near.astype(np.float32)).astype(np.float64)


def _resample(
    logits: np.ndarray,
    rows: _Axis,
    cols: _Axis,
    row_range: tuple[int, int],
    col_range: tuple[int, int],
    out: np.ndarray,
) -> None:
    """Fill `out` with rows and columns row_range x col_range of the upsampled logits."""
    for top, bottom, row_base, row_weights in _pieces(rows, *row_range):
        strip = logits[row_base : row_base + row_weights.shape[1]]
        part = out[top - row_range[0] : bottom - row_range[0]]
        for left, right, col_base, col_weights in _pieces(cols, *col_range):
            block = strip[:, col_base : col_base + col_weights.shape[1]]
            target = part[:, left - col_range[0] : right - col_range[0]]
            np.matmul(row_weights @ block, col_weights.T, out=target)


def _pieces(axis: _Axis, start: int, stop: int) -> Iterator[tuple[int, int, int, np.ndarray]]:
    size = axis.size
    for band in range(start // size, (stop - 1) // size + 1):
        first, last = max(start, band * size), min(stop, (band + 1) * size)
        base, weights = axis.bands[band]
        yield first, last, base, weights[first - band * size : last - band * size]
