"""What a large run will take, from one timed tile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Model, Window
from ..progress import finish
from .grid import TileGrid
from .image import LargeImage
from .opening import tiles_over
from .runners import ThreadRunner, waiting_items
from .segmenting import WindowFunction, prepare
from .tiles import ImageTiles, segment_window

_PROBES = 8


@dataclass(frozen=True, slots=True)
class TimedTile:
    """What one tile took.

    Parameters
    ----------
    seconds : float
        To compute.
    storage : float
        Seconds to be read and written, meanwhile other tiles compute.
    stored : int
        Bytes that are kept of it.
    memory : int or None
        Bytes at the peak, of as many tiles as are worked on at a time.
    """

    seconds: float
    storage: float
    stored: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class LargePlan:
    """A run's extent, and its cost as estimated from one timed tile.

    Parameters
    ----------
    tiles, planes : int
        Tiles in all, and planes they lie in.
    done : int
        Tiles that an earlier run has finished.
    shape : (int, int)
        Rows and columns of a plane.
    tile, overlap : int
        In pixels.
    workers : int
        Tiles worked on at a time.
    seconds : float or None
        Estimated time for the tiles that are left; None where every tile tried was empty.
    memory : int or None
        Bytes needed at the peak beside the model, estimated from the timed tile.
    disk : int or None
        Bytes the results will take, estimated from the timed tile.
    dashboard : str or None
        Where a Dask cluster shows its work.
    """

    tiles: int
    planes: int
    done: int
    shape: tuple[int, int]
    tile: int
    overlap: int
    workers: int
    seconds: float | None = None
    memory: int | None = None
    disk: int | None = None
    dashboard: str | None = None

    @classmethod
    def of(
        cls,
        grid: TileGrid,
        done: int,
        workers: int,
        timed: TimedTile | None = None,
        dashboard: str | None = None,
    ) -> LargePlan:
        """Extrapolate from one tile.

        Parameters
        ----------
        grid : TileGrid
        done, workers : int
            As for `LargePlan`.
        timed : TimedTile, optional
        dashboard : str, optional
            As for `LargePlan`.
        """
        seconds = memory = disk = None
        if timed is not None:
            left = len(grid) - done
            waiting = waiting_items(workers, 0)
            seconds = left * max(
                timed.seconds / max(1, min(workers, left)), timed.storage / min(waiting, left or 1)
            )
            # the tile's record, its chunk of the labels, and a third more for the pyramid
            disk = int(timed.stored * len(grid) * 2.4)
            memory = timed.memory
        return cls(
            len(grid), grid.plane_count, done, grid.shape, grid.tile, grid.overlap, workers,
            seconds, memory, disk, dashboard,
        )  # fmt: skip

    def describe(self) -> list[str]:
        """Return lines for people."""
        planes = f"{self.planes} planes of " if self.planes > 1 else ""
        lines = [
            f"{planes}{self.shape[0]} x {self.shape[1]} px: {self.tiles} tiles of {self.tile} px, "
            f"overlapping by {self.overlap}, {self.workers} at a time"
        ]
        if self.done:
            done = "1 tile is" if self.done == 1 else f"{self.done} tiles are"
            lines.append(f"{done} done already")
        costs = []
        if self.seconds is not None:
            costs.append(f"about {readable_time(self.seconds)}")
        if self.memory is not None:
            costs.append(f"{readable_size(self.memory)} of memory beside the model")
        if self.disk is not None:
            costs.append(f"{readable_size(self.disk)} on disk")
        if costs:
            lines.append(", ".join(costs) + " (by one timed tile)")
        if self.dashboard:
            lines.append(f"dashboard: {self.dashboard}")
        return lines


def plan_large(
    image: Any,
    model: Model | str | Path | WindowFunction = "default",
    *,
    tile: int | None = None,
    overlap: int | None = None,
    region: Window | None = None,
    workers: int | None = None,
    mode: str = "auto",
    axes: str | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    **parameters: Any,
) -> LargePlan:
    """Estimate from one timed tile what `segment_large` would cost; nothing is written.

    Parameters are those of `segment_large`. The time is for threads of this process.

    Returns
    -------
    LargePlan
        Tiles, time, memory and disk; `describe()` gives lines for people.
    """
    with_what = finish(prepare(model, mode, "small", parameters))
    large = LargeImage.of(image, axes, channel_axis, channels, contrast_limits)
    large = replace(large, contrast_limits=large.settle_contrast())
    grid = tiles_over(large, tile or with_what.side, overlap, region)
    runner, tiles = ThreadRunner(workers, with_what.device), ImageTiles(large, grid)
    for index in probes(range(len(grid))):
        began = time.perf_counter()
        with PeakMemory() as peak:
            pixels = tiles.read(index)
            read = time.perf_counter()
            found = segment_window(tiles, with_what.segment, index, pixels)
        if found is not None:
            waiting = waiting_items(runner.workers, tiles.size) * tiles.size
            memory = None if peak.bytes is None else peak.bytes * runner.workers + waiting
            timed = TimedTile(time.perf_counter() - read, read - began, len(found.pack()), memory)
            return LargePlan.of(grid, 0, runner.workers, timed)
    return LargePlan.of(grid, 0, runner.workers)


def probes(tiles: Sequence[int]) -> list[int]:
    """Return a few tiles to time, from the middle outwards: the first ones may be empty."""
    middle = len(tiles) // 2
    places = {middle, *np.linspace(0, len(tiles) - 1, _PROBES).astype(int).tolist()}
    return [tiles[place] for place in sorted(places, key=lambda place: abs(place - middle))]


def readable_time(seconds: float) -> str:
    """Return a duration for people: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def readable_size(count: float) -> str:
    """Return a number of bytes for people: "12 MiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


class PeakMemory:
    """Measures the peak memory of a block; `bytes` is None where the system does not report it."""

    bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        self._before: int | None = None
        clear = Path("/proc/self/clear_refs")
        if sys.platform == "linux" and os.access(clear, os.W_OK):
            with suppress(OSError):
                clear.write_text("5")  # resets VmHWM
                self._before = _kib("VmRSS:")
        return self

    def __exit__(self, *_: object) -> None:
        high = None if self._before is None else _kib("VmHWM:")
        if self._before is not None and high is not None:
            self.bytes = max(0, high - self._before) << 10


def _kib(name: str) -> int | None:
    status = Path("/proc/self/status").read_text("ascii", errors="replace")
    for line in status.splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return None
