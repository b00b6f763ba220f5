"""Dense maps averaged over the symmetries of the square: slower, slightly more accurate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.micro import DENSE_CHANNELS, DENSE_STRIDE

# columns mirrored, rows mirrored, transposed; ordered so that the first few differ most
SYMMETRIES = (
    (False, False, False),
    (True, True, False),
    (True, False, True),
    (False, True, True),
    (True, False, False),
    (False, True, False),
    (False, False, True),
    (True, True, True),
)


def turned(x: Tensor, mirror_cols: bool, mirror_rows: bool, transpose: bool) -> Tensor:
    """Mirror and transpose the last two dimensions, in this order."""
    x = x.flip(-1) if mirror_cols else x
    x = x.flip(-2) if mirror_rows else x
    return x.transpose(-1, -2) if transpose else x


def turned_back(maps: Tensor, mirror_cols: bool, mirror_rows: bool, transpose: bool) -> Tensor:
    """Undo `turned` for the dense head's maps (batch, 6, h, w), whose channels have directions."""
    channels = list(DENSE_CHANNELS)
    if transpose:
        maps = maps.transpose(-1, -2)
        channels = _exchanged(channels, ("top", "left"), ("bottom", "right"))
    if mirror_rows:
        maps = maps.flip(-2)
        channels = _exchanged(channels, ("top", "bottom"))
    if mirror_cols:
        maps = maps.flip(-1)
        channels = _exchanged(channels, ("left", "right"))
    return maps[:, [channels.index(name) for name in DENSE_CHANNELS]]


def symmetric_maps(
    dense_maps: Callable[[Tensor], Tensor], frame: Tensor, count: int, first: Tensor | None = None
) -> Tensor:
    """Average dense maps over several symmetric views of a frame.

    Parameters
    ----------
    dense_maps : callable
        Takes frames (batch, 3, h, w), the valid part in the upper left, to maps (batch, 6, ., .).
    frame : Tensor
        (batch, 3, h, w).
    count : int
        Views, 1 to 8: the frame as it is, rotated by 180 degrees, then the others.
    first : Tensor, optional
        Maps of the frame as it is, if they are known.

    Returns
    -------
    Tensor
        Maps (batch, 6, ., .) of the frame as it is, but for the valid part.
    """
    first = dense_maps(frame) if first is None else first
    if count == 1:
        return first
    height, width = frame.shape[-2:]
    # whole cells, so that the cells of mirrored views coincide
    even = F.pad(frame, (0, width % DENSE_STRIDE, 0, height % DENSE_STRIDE), "replicate")
    rows, cols = (n // DENSE_STRIDE for n in even.shape[-2:])
    total = first[..., :rows, :cols].clone()
    for symmetry in SYMMETRIES[1:count]:
        maps = dense_maps(turned(even, *symmetry).contiguous())
        valid = maps[..., :cols, :rows] if symmetry[2] else maps[..., :rows, :cols]
        total += turned_back(valid, *symmetry)
    with torch.inference_mode():
        dense = first.clone()
        dense[..., :rows, :cols] = total / count
    return dense


def _exchanged(channels: Sequence[str], *pairs: tuple[str, str]) -> list[str]:
    """Return channel names with those of each pair exchanged."""
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return [other.get(name, name) for name in channels]
