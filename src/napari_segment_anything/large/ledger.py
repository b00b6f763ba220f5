"""What a large run has done: the state of every tile, and what was found in it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..engine import Window
from ..errors import FormatError, ResourceError
from ..formats import open_npz
from ..formats.ome_zarr import LabelsGroup
from ..formats.settings import check_same
from ..reading import convert
from .grid import TileGrid
from .schema import Run

__all__ = ["GROUP", "Ledger", "TileStatus", "TileResult", "check_same", "grid_of"]

GROUP = "run"
LEDGER = 2
"""The ledger's own version: 2 has what every tile was read from."""
_STATUS_CHUNK = 128
_READ_CHUNK = 32


class TileStatus(IntEnum):
    """State of a tile."""

    TODO = 0
    DONE = 1
    EMPTY = 2
    FAILED = 3


@dataclass(frozen=True, slots=True, eq=False)
class TileResult:
    """Objects of one tile.

    Parameters
    ----------
    labels : unsigned integer array (rows, columns)
        Of the tile's window: 0 background, 1 to n.
    boxes : int64 array (n, 4)
        row_min, col_min, row_max, col_max (outermost pixels), in pixels of the plane.
    areas, core_areas : int64 array (n,)
        Pixels in all, and in the tile's core.
    touches : uint8 array (n,)
        Which inner edges of the window the object reaches: bit 0 top, 1 left, 2 bottom, 3 right.
    scores, stability : float32 array (n,)
        Predicted IoU and stability score.
    """

    labels: NDArray[np.unsignedinteger]
    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]
    core_areas: NDArray[np.int64]
    touches: NDArray[np.uint8]
    scores: NDArray[np.float32]
    stability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.areas)

    def pack(self) -> bytes:
        """Return it as bytes."""
        file = io.BytesIO()
        np.savez_compressed(file, **{name: getattr(self, name) for name in self.__slots__})
        return file.getvalue()

    @classmethod
    def unpack(cls, packed: bytes) -> TileResult:
        """Return what `pack` packed."""
        with open_npz(io.BytesIO(packed)) as stored:
            return cls(**{name: stored[name] for name in cls.__slots__})


class Ledger:
    """The record of a run, in the label group's own store.

    Group ``run`` beside the labels' levels: ``attrs["run"]`` says what is run, ``status`` holds a
    `TileStatus` for each tile (planes, tile rows, tile columns), ``read`` a hash and a mark of the
    pixels it was read from, ``composed`` which chunks of the labels are final, ``tiles`` one chunk
    of bytes for each tile: its `TileResult`. A tile's bytes are written whole, by the process that
    made them, before its status is, by the one that runs.

    Parameters
    ----------
    labels : LabelsGroup
        Where the labels go.
    grid : TileGrid
        Of the run.
    """

    def __init__(self, labels: LabelsGroup, grid: TileGrid) -> None:
        self.labels, self.grid = labels, grid
        self.group: zarr.Group = labels.group[GROUP]  # type: ignore[assignment]
        self._tiles: Any = self.group["tiles"]
        self._status: Any = self.group["status"]
        self._composed: Any = self.group["composed"]

    @classmethod
    def create(cls, labels: LabelsGroup, grid: TileGrid, run: Mapping[str, Any]) -> Ledger:
        """Begin a ledger in a new label group."""
        group = labels.group.create_group(GROUP, overwrite=True)
        planes, (rows, cols) = grid.plane_count, grid.counts
        chunks = (1, min(rows, _STATUS_CHUNK), min(cols, _STATUS_CHUNK))
        for name in ("status", "composed"):
            group.create_array(
                name, shape=(planes, rows, cols), chunks=chunks, dtype="u1", fill_value=0
            )
        group.create_array(
            "read",
            shape=(planes, rows, cols, 2),
            chunks=(1, min(rows, _READ_CHUNK), min(cols, _READ_CHUNK), 2),
            dtype="u8",
            fill_value=0,
        )
        room = max(1 << 20, 4 * grid.tile * grid.tile)
        group.create_array(
            "tiles", shape=(len(grid), room), chunks=(1, room), dtype="u1", fill_value=0
        )
        # last: a ledger without it was never begun
        group.attrs["run"] = {**run, "state": "running"}
        return cls(labels, grid)

    @classmethod
    def present(cls, labels: LabelsGroup) -> dict[str, Any] | None:
        """Return what is run in a label group, or None where there is no ledger."""
        if GROUP not in labels.group:
            return None
        run = labels.group[GROUP].attrs.asdict().get("run")
        if not run:
            return None
        return dict(convert(run, Run, f"the ledger of {labels.path} is damaged"))

    @property
    def run(self) -> dict[str, Any]:
        """What is run, and how far it is."""
        return dict(self.group.attrs.asdict()["run"])  # type: ignore[arg-type, call-overload]

    def note(self, **facts: Any) -> None:
        """Add to what is recorded of the run."""
        self.group.attrs["run"] = {**self.run, **facts}

    def status(self) -> NDArray[np.uint8]:
        """Return the state of every tile: (planes, tile rows, tile columns)."""
        return np.asarray(self._status[...])

    def composed(self) -> NDArray[np.uint8]:
        """Return which chunks of the labels are final, 1 where one is."""
        return np.asarray(self._composed[...])

    def set_status(self, index: int, status: TileStatus) -> None:
        """Record a tile's state."""
        self._status[self.grid.place(index)] = int(status)

    def read(self) -> NDArray[np.uint64]:
        """Return hash and mark of what every tile was read from: (planes, rows, columns, 2)."""
        return np.asarray(self._read[...])

    @cached_property
    def _read(self) -> Any:
        return self.group["read"]

    def set_read(self, index: int, read: tuple[int, int]) -> None:
        """Record what a tile was read from."""
        self._read[self.grid.place(index)] = np.array(read, np.uint64)

    def replace_read(self, read: NDArray[np.uint64]) -> None:
        """Record what all tiles were read from."""
        self._read[...] = read

    def set_composed(self, index: int, value: bool = True) -> None:
        """Record that the labels of a tile's chunk are final."""
        self._composed[self.grid.place(index)] = int(value)

    def reset_composed(self) -> None:
        """Record that no chunk is final."""
        self._composed[...] = 0

    def put(self, index: int, result: TileResult) -> int:
        """Keep a tile's result; returns its size in bytes.

        Raises
        ------
        FormatError
            If it does not fit; OSError as the store raises it.
        """
        packed = result.pack()
        room = self._tiles.shape[1]
        if len(packed) + 8 > room:
            raise FormatError(f"the objects of tile {index} take {len(packed)} bytes of {room}")
        row = np.zeros(room, np.uint8)
        row[:8] = np.frombuffer(np.uint64(len(packed)).tobytes(), np.uint8)
        row[8 : 8 + len(packed)] = np.frombuffer(packed, np.uint8)
        self._tiles[index] = row
        return len(packed)

    def get(self, index: int) -> TileResult:
        """Return a tile's result.

        Raises
        ------
        ResourceError
            If it is not there or damaged.
        """
        try:
            row = np.asarray(self._tiles[index])
            size = int(np.frombuffer(row[:8].tobytes(), np.uint64)[0])
            if not 0 < size <= len(row) - 8:
                raise ValueError("no result was written")
            return TileResult.unpack(row[8 : 8 + size].tobytes())
        except Exception as error:  # whatever a damaged store raises
            raise ResourceError(
                f"what was found in tile {index} cannot be read back ({error}); "
                "run again with overwrite=True"
            ) from error

    def write_table(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Keep a table, column by column."""
        group = self.group.create_group(name, overwrite=True)
        for column, values in columns.items():
            data = np.asarray(values)
            if data.dtype.kind in "UO":
                group.attrs[column] = [str(v) for v in data]
            else:
                group.create_array(column, data=data, chunks=(max(1, len(data)), *data.shape[1:]))
        group.attrs["columns"] = list(columns)

    def read_table(self, name: str) -> dict[str, NDArray[Any]]:
        """Return a table that was kept; empty where there is none."""
        if name not in self.group:
            return {}
        group: Any = self.group[name]
        attrs = group.attrs.asdict()
        return {
            column: np.array(attrs[column], "U16")
            if column in attrs
            else np.asarray(group[column][...])
            for column in attrs.get("columns", [])
        }


def grid_of(labels: LabelsGroup, run: Mapping[str, Any]) -> TileGrid:
    """Return the tiles of a run that is on record."""
    *planes, rows, cols = labels.shape
    return TileGrid.over(
        (rows, cols), tuple(planes), run["tile"], run["overlap"], Window(*run["region"])
    )
