"""One tile: read, segment, keep. Runs in any thread or process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, uniform_filter

from ..engine import open_image
from ..engine.contrast import stretch
from ..errors import ResourceError
from ..formats.marks import pixel_hash
from ..formats.ome_zarr import describe_write_error
from ..parameters import TILING
from .grid import TileGrid
from .image import LargeImage
from .ledger import Ledger, TileResult
from .runners import Turns
from .segmenting import Check, Segment, WindowObjects, going_on

EDGE = 2
"""A mask this near to a window's edge may continue beyond it: masks often stop a pixel short."""

_BLOCK = 8
_ROUNDING = 0.01


@dataclass(frozen=True, slots=True)
class ImageTiles:
    """The tiles of an image, to be read.

    Parameters
    ----------
    image : LargeImage
        With settled contrast limits.
    grid : TileGrid
    """

    image: LargeImage
    grid: TileGrid

    @property
    def size(self) -> int:
        """Bytes of a tile's pixels and labels."""
        planes, side = self.image.planes, min(self.grid.tile, max(self.grid.shape))
        channels = len(self.image.contrast_limits)
        return side * side * (channels * planes.dtype.itemsize + 4)

    def read(self, index: int) -> NDArray[Any]:
        """Read a tile's window: (rows, columns, channels in use)."""
        planes, plane = self.image.planes, self.grid.plane(index)
        arguments = planes.embed_arguments(plane)
        source = open_image(
            planes.image(plane),
            channel_axis=arguments["channel_axis"],
            channels=arguments["channels"],
        )
        return source.read(0, *self.grid.window(index).slices)

    def marks(self, indices: Sequence[int]) -> list[int]:
        """Return the mark of each tile's window; see `LargeImage.marks`."""
        return self.image.marks((self.grid.plane(i), self.grid.window(i)) for i in indices)


def read_with_hash(tiles: ImageTiles, index: int) -> tuple[NDArray[Any], tuple[int, int]]:
    """Return the pixels of a tile's window, and their hash and mark."""
    # the mark before the pixels: what is written meanwhile is noticed by the next call
    mark = tiles.marks([index])[0]
    pixels = tiles.read(index)
    return pixels, (pixel_hash(pixels), mark)


@dataclass(frozen=True, slots=True)
class TileJob:
    """All that is needed to work on any tile of a run.

    Parameters
    ----------
    tiles : ImageTiles
    segment : callable
        What finds the objects of a window.
    ledger : Ledger
        Where results go.
    empty_thresh : float
        See `segment_large`.
    torch_threads : int or None
        Threads torch may use for one operation in this process; None leaves that alone.
    """

    tiles: ImageTiles
    segment: Segment
    ledger: Ledger
    empty_thresh: float = 0.0
    torch_threads: int | None = None


@dataclass(frozen=True, slots=True)
class TileReport:
    """What became of a tile.

    Parameters
    ----------
    empty : bool
        Whether nothing was there to look at.
    seconds : float
        Time it took to compute.
    storage : float
        Time it took to be read and written.
    read : (int, int)
        Hash and mark of the pixels it was read from.
    stored : int
        Bytes kept of it.
    """

    empty: bool
    seconds: float
    storage: float
    read: tuple[int, int]
    stored: int = 0


def run_tile(job: TileJob, index: int, turns: Turns) -> TileReport:
    """Segment a tile, keep its objects, and show them in the labels until these are composed.

    Parameters
    ----------
    job : TileJob
    index : int
        Number of the tile.
    turns : Turns
        To compute. Pixels are read before, and results written after that.

    Raises
    ------
    ImageError
        If the image cannot be read there.
    ResourceError
        If memory does not suffice, or results cannot be written (`StoreError`).
    """
    began = time.perf_counter()
    pixels, read = read_with_hash(job.tiles, index)
    storage = time.perf_counter() - began
    with turns:
        began = time.perf_counter()
        if job.torch_threads is not None:
            import torch

            if torch.get_num_threads() != job.torch_threads:
                torch.set_num_threads(job.torch_threads)
        result = segment_window(
            job.tiles, job.segment, index, pixels, job.empty_thresh, turns.check
        )
        seconds = time.perf_counter() - began
    turns.check()
    if result is None:
        return TileReport(True, seconds, storage, read)
    began = time.perf_counter()
    stored = _write(job, index, result)
    storage += time.perf_counter() - began
    return TileReport(False, seconds, storage, read, stored)


def segment_window(
    tiles: ImageTiles,
    segment: Segment,
    index: int,
    pixels: NDArray[Any],
    empty_thresh: float = TILING["empty_thresh"].default,
    check: Check = going_on,
) -> TileResult | None:
    """Segment the pixels of a tile's window.

    Parameters
    ----------
    tiles : ImageTiles
    segment : callable
    index : int
        Number of the tile.
    pixels : array (rows, columns, channels)
    empty_thresh : float
        See `segment_large`.
    check : callable
        Called now and then; if it raises, the tile is given up.

    Returns
    -------
    TileResult or None
        None if the window is taken as empty.
    """
    limits = tiles.image.contrast_limits
    if empty_thresh > 0 and _is_empty(stretch(pixels, limits), empty_thresh):
        return None
    return measure(segment(pixels, limits, check), tiles.grid, index)


def _is_empty(shown: NDArray[Any], least: float) -> bool:
    """Whether the local mean varies by less than so many grey levels."""
    rows, cols = (side // _BLOCK for side in shown.shape[:2])
    if rows and cols:  # some of the blocks are enough for most tiles: where they vary, all do
        some = shown[: rows * _BLOCK, : cols * _BLOCK].reshape(rows, _BLOCK, cols, -1)[::4]
        if np.ptp(some.mean(axis=(1, 3), dtype=np.float32)) > least + _ROUNDING:
            return False
    grey = shown if shown.ndim == 2 else shown.astype(np.float32).mean(axis=2)
    means = uniform_filter(grey.astype(np.float32, copy=False), _BLOCK, mode="nearest")
    return bool(means.max() - means.min() < least)


def measure(found: WindowObjects, grid: TileGrid, index: int) -> TileResult:
    """Measure the objects of a tile's window, as stitching needs them.

    Parameters
    ----------
    found : WindowObjects
    grid : TileGrid
    index : int
        Number of the tile.
    """
    labels, count = found.labels, len(found.scores)
    window, core = grid.window(index), grid.core(index)
    boxes = np.zeros((count, 4), np.int64)
    for i, spans in enumerate(find_objects(labels, count)):
        if spans is not None:
            rows, cols = spans
            boxes[i] = rows.start, cols.start, rows.stop - 1, cols.stop - 1
    edges = (0, 0, window.height - 1, window.width - 1)
    near = np.abs(boxes - edges) < EDGE
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    touches = (near & grid.inner_edges(index) & (areas > 0)[:, None]) @ (1 << np.arange(4))
    return TileResult(
        labels,
        boxes + (window.row, window.col) * 2,
        areas,
        np.bincount(labels[core.slices_in(window)].ravel(), minlength=count + 1)[1:],
        touches.astype(np.uint8),
        found.scores,
        found.stability,
    )


def _write(job: TileJob, index: int, result: TileResult) -> int:
    grid = job.tiles.grid
    core, window = grid.core(index), grid.window(index)
    cut = result.labels[core.slices_in(window)]
    # ids that will not meet; for the eye only, until the labels are composed
    shown = np.where(cut > 0, cut.astype(np.uint64) + (index % 32768) * 131072, 0)
    labels = job.ledger.labels
    with writing(labels.path):
        stored = job.ledger.put(index, result)
        array: Any = labels.array
        array[(*grid.plane(index), *core.slices)] = shown.astype(array.dtype)
    return stored


class StoreError(ResourceError):
    """The store does not take what is written to it: no tile can be kept."""


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn what a store raises while it is written into one clear `StoreError`."""
    try:
        yield
    except OSError as error:
        raise StoreError(describe_write_error(path, error) or str(error)) from error
