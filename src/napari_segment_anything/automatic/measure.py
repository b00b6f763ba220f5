"""Low-resolution logits to full-resolution masks, with their stability scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..engine import Embedding, patches, upsample
from ..formats.rle import RLE, encode


@dataclass(frozen=True, slots=True)
class Measured:
    """One candidate at the image's resolution.

    Parameters
    ----------
    stability : float
        Intersection over union of the masks at the higher and at the lower threshold, as
        float32; NaN where both are empty (SAM paper, appendix B).
    mask : RLE or None
        The mask, or None if its stability is below the floor or it has no pixel.
    """

    stability: np.float32
    mask: RLE | None


def measure(
    logits: Tensor,
    embedding: Embedding,
    *,
    threshold: float = 0.0,
    offset: float = 1.0,
    floor: float = 0.0,
) -> list[Measured]:
    """Threshold candidates at the image's resolution and measure their stability.

    Only the part of the image where a logit can exceed the lower threshold is upsampled on a
    CPU, a few rows at a time; a GPU takes a few whole masks at a time.

    Parameters
    ----------
    logits : Tensor
        (n, 4h, 4w) low-resolution mask logits, float32.
    embedding : Embedding
        What they were decoded from.
    threshold : float
        A pixel belongs to the mask if its logit is above this.
    offset : float
        Distance of the two stability thresholds from it.
    floor : float
        Lowest stability of masks to keep; 0 keeps all.

    Returns
    -------
    list of Measured
        One for each candidate; masks have the size of the embedding's window.
    """
    nothing = Measured(np.float32(np.nan), None)
    out = [nothing] * len(logits)
    parts = _by_patches if logits.device.type == "cpu" else _by_masks
    for index, row, col, high, low, mask in parts(logits, embedding, threshold, offset):
        with np.errstate(invalid="ignore"):
            stability = np.float32(high) / np.float32(low)
        kept = None
        if floor <= 0 or stability >= np.float32(floor):
            kept = _encode(mask, row, col, embedding.window.shape)
        out[index] = Measured(stability, kept)
    return out


# Candidate, first row, first col, pixels above the high and the low threshold, mask from there on.
_Part = tuple[int, int, int, int, int, "NDArray[np.bool_] | Tensor"]


def _by_patches(
    logits: Tensor, embedding: Embedding, threshold: float, offset: float
) -> Iterator[_Part]:
    """Upsample only patches that can exceed the low threshold; skip candidates without any."""
    current, row, col, high, low = -1, 0, 0, 0, 0
    strips: list[NDArray[np.bool_]] = []
    for patch in patches(logits, embedding, threshold - offset):
        if patch.index != current:
            if strips:
                yield current, row, col, high, low, _join(strips)
            current, row, col = patch.index, patch.rows.start, patch.cols.start
            high, low, strips = 0, 0, []
        high += int(np.count_nonzero(patch.values > threshold + offset))
        low += int(np.count_nonzero(patch.values > threshold - offset))
        strips.append(patch.values > threshold)
    if strips:
        yield current, row, col, high, low, _join(strips)


def _by_masks(
    logits: Tensor, embedding: Embedding, threshold: float, offset: float
) -> Iterator[_Part]:
    """Upsample whole masks, a few at a time, on their device."""
    for batch, values in upsample(logits, embedding):
        high = (values > threshold + offset).flatten(1).sum(1).tolist()
        low = (values > threshold - offset).flatten(1).sum(1).tolist()
        for i, mask in enumerate(values > threshold):
            yield batch.start + i, 0, 0, high[i], low[i], mask


def _join(strips: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return strips[0] if len(strips) == 1 else np.concatenate(strips)


def _encode(
    mask: NDArray[np.bool_] | Tensor, row: int, col: int, size: tuple[int, int]
) -> RLE | None:
    some_rows = _flags(mask.any(1))
    if not some_rows.any():
        return None
    top, bottom = _ends(some_rows)
    left, right = _ends(_flags(mask[top:bottom].any(0)))
    return encode(_flags(mask[top:bottom, left:right])).place((row + top, col + left), size)


def _flags(values: NDArray[np.bool_] | np.bool_ | Tensor) -> NDArray[np.bool_]:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _ends(flags: NDArray[np.bool_]) -> tuple[int, int]:
    found = np.flatnonzero(flags)
    return int(found[0]), int(found[-1]) + 1
