"""Many run-length masks measured at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .rle import RLE


def boxes_and_areas(masks: Sequence[RLE]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Measure many masks at once.

    Parameters
    ----------
    masks : sequence of RLE
        n masks of images of the same size.

    Returns
    -------
    boxes : int64 array (n, 4)
        `RLE.box` of each.
    areas : int64 array (n,)
        `RLE.area` of each.
    """
    boxes, areas = np.zeros((len(masks), 4), np.int64), np.zeros(len(masks), np.int64)
    runs = np.array([len(mask.counts) // 2 for mask in masks], np.intp)
    some = np.flatnonzero(runs)
    if not len(some):
        return boxes, areas
    parts = [masks[i].counts[: 2 * runs[i]] for i in some.tolist()]
    first = np.cumsum(runs[some]) - runs[some]
    edges = np.cumsum(np.concatenate(parts), dtype=np.int64)
    edges -= np.repeat(np.append(0, edges)[2 * first], 2 * runs[some])
    begin, last = edges[::2], edges[1::2] - 1
    rows = masks[0].size[0]
    top, bottom = np.minimum.reduceat(begin % rows, first), np.maximum.reduceat(last % rows, first)
    # a run that goes on in the next column touches the last row and the first
    whole = np.logical_or.reduceat(begin // rows != last // rows, first)
    stops = first + runs[some] - 1
    boxes[some] = np.stack(
        [np.where(whole, 0, top), begin[first] // rows, np.where(whole, rows - 1, bottom),
         last[stops] // rows], axis=1,
    )  # fmt: skip
    areas[some] = np.add.reduceat(last - begin + 1, first)
    return boxes, areas
