"""What a large run will take, said before it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .grid import TileGrid


@dataclass(frozen=True, slots=True)
class LargePlan:
    """A run's extent, and what one timed tile says of its cost.

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
        timed: tuple[float, int, int | None] | None = None,
        dashboard: str | None = None,
    ) -> LargePlan:
        """Extrapolate from (seconds, bytes stored, bytes of memory) of a tile."""
        seconds = memory = disk = None
        if timed is not None:
            left = len(grid) - done
            seconds = timed[0] * left / max(1, min(workers, left))
            # the tile's record, its chunk of the labels, and a third more for the pyramid
            disk = int(timed[1] * len(grid) * 2.4)
            memory = None if timed[2] is None else timed[2] * workers
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


def readable_time(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def readable_size(count: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


class PeakMemory:
    """Memory that this process took at its peak, beyond what it had before; None if unknown."""

    def __init__(self) -> None:
        self.bytes: int | None = None


@contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure the peak of a block's memory, where the system tells."""
    peak = PeakMemory()
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    before = None
    if sys.platform == "linux" and os.access(clear, os.W_OK):
        try:
            clear.write_text("5")  # forget the highest mark so far
            before = _kib(status, "VmRSS:")
        except OSError:
            before = None
    yield peak
    if before is not None:
        high = _kib(status, "VmHWM:")
        if high is not None:
            peak.bytes = max(0, high - before) << 10


def _kib(status: Path, name: str) -> int | None:
    for line in status.read_text("ascii", errors="replace").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return None
