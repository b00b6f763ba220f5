"""What a large run has done: the state of every tile, and what was found in it."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from ..engine import EmbeddingStore, Window
from ..errors import FormatError, ResourceError
from ..formats import open_npz
from ..formats.ome_zarr import LabelsGroup
from ..formats.run_record import RunRecord, make_record, recorded_run
from ..reading import convert
from .grid import TileGrid

GROUP = "run"
LEDGER = 2
"""The ledger's own version: 2 has what every tile was read from."""
_STATUS_CHUNK = 128
_READ_CHUNK = 32
_HELD = 64 << 20
"""Bytes of results that a process keeps in memory, for the tiles beside them."""
_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


@with_config(ConfigDict(extra="forbid"))
class ImageOnRecord(TypedDict):
    """How the image is opened again; `image` is None for an array."""

    image: str | None
    axes: NotRequired[str | None]
    channel_axis: NotRequired[int | None]
    channels: NotRequired[list[_Count] | None]


@with_config(ConfigDict(extra="allow"))
class RunOnRecord(TypedDict):
    """Settings and state of a run; further settings are only compared."""

    tile: _Count
    overlap: _Count
    region: Annotated[list[_Count], Field(min_length=4, max_length=4)]
    limits: NotRequired[list[Annotated[list[_Number], Field(min_length=2, max_length=2)]]]
    failed: NotRequired[dict[str, str]]
    opened: NotRequired[ImageOnRecord]
    state: NotRequired[str]


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

    @property
    def nbytes(self) -> int:
        """Memory of the pixels; that of the measurements is small."""
        return self.labels.nbytes

    def without_pixels(self) -> TileResult:
        """Return the measurements only."""
        return replace(self, labels=np.zeros((0, 0), np.uint8))

    def pack(self) -> bytes:
        """Return it as bytes."""
        file = io.BytesIO()
        # as np.savez_compressed, in less than half of the time
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            for name in self.__slots__:
                with packed.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, getattr(self, name), allow_pickle=False)
        return file.getvalue()

    @classmethod
    def unpack(cls, packed: bytes) -> TileResult:
        """Return what `pack` packed."""
        with open_npz(io.BytesIO(packed)) as stored:
            return cls(**{name: stored[name] for name in cls.__slots__})


Change = tuple[Any, tuple[slice, ...], NDArray[Any]]
"""An array of the ledger, where to write in it, and what."""


class Ledger(RunRecord):
    """The record of a large run; a unit of work is a tile.

    Beside what `RunRecord` has, its group ``run`` holds ``read``, a hash and a mark of the pixels
    that each tile was read from; ``tiles``, one chunk of bytes for each tile, its `TileResult`; and
    the tables of objects and seams. A tile's bytes are written by the process that segmented it,
    its status by the one that drives the run. Threads may share a ledger. Another process opens it
    once. The results that were written or read last are kept in memory, for the tiles beside them.

    Parameters
    ----------
    labels : LabelsGroup
        Where the labels go.
    grid : TileGrid
        Of the run.
    token : str, optional
        By which other processes recognise a ledger that they have opened already.
    """

    def __init__(self, labels: LabelsGroup, grid: TileGrid, token: str = "") -> None:
        super().__init__(labels, GROUP)
        self.grid, self._token = grid, token or uuid.uuid4().hex
        self._tiles: Any = self.group["tiles"]
        self._held = EmbeddingStore[int, TileResult](_HELD)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.labels.path, self.labels.mode, self.grid, self._token)

    @classmethod
    def create(cls, labels: LabelsGroup, grid: TileGrid, run: Mapping[str, Any]) -> Ledger:
        """Begin a ledger in a new label group.

        Parameters
        ----------
        labels : LabelsGroup
        grid : TileGrid
        run : mapping
            Settings of the run.
        """
        planes, (rows, cols) = grid.plane_count, grid.counts
        chunks = (1, min(rows, _STATUS_CHUNK), min(cols, _STATUS_CHUNK))
        group = make_record(labels, GROUP, (planes, rows, cols), chunks)
        group.create_array(
            "read",
            shape=(planes, rows, cols, 2),
            chunks=(1, min(rows, _READ_CHUNK), min(cols, _READ_CHUNK), 2),
            dtype="u8",
            fill_value=0,
        )
        room = max(1 << 20, 4 * grid.tile * grid.tile)
        group.create_array(
            "tiles",
            shape=(len(grid), room),
            chunks=(1, room),
            dtype="u1",
            fill_value=0,
            config={"write_empty_chunks": True},  # none is empty, and to check takes longer
        )
        ledger = cls(labels, grid)
        ledger.note(**run, state="running")
        return ledger

    @classmethod
    def open(cls, labels: LabelsGroup) -> Ledger | None:
        """Open the ledger of a label group; None where no large run made the labels.

        Raises
        ------
        FormatError
            If it is damaged.
        """
        stored = recorded_run(labels, GROUP)
        if stored is None:
            return None
        run = convert(stored, RunOnRecord, f"the ledger of {labels.path} is damaged")
        *planes, rows, cols = labels.shape
        grid = TileGrid.over(
            (rows, cols), tuple(planes), run["tile"], run["overlap"], Window(*run["region"])
        )
        return cls(labels, grid)

    @cached_property
    def _read(self) -> Any:
        return self.group["read"]  # ledgers of version 1 have none

    def read(self) -> NDArray[np.uint64]:
        """Return hash and mark of what every tile was read from: (planes, rows, columns, 2)."""
        return np.asarray(self._read[...])

    def replace_read(self, read: NDArray[np.uint64]) -> None:
        """Record what all tiles were read from."""
        self._read[...] = read

    def changes(
        self, indices: Iterable[int], status: NDArray[np.uint8], read: NDArray[np.uint64]
    ) -> list[Change]:
        """Return what to write when the state of tiles has changed: whole chunks, in this order.

        Parameters
        ----------
        indices : iterable of int
            The tiles that changed.
        status : uint8 array (planes, tile rows, tile columns)
            Of all tiles.
        read : uint64 array (planes, tile rows, tile columns, 2)
            Hash and mark of the pixels that each was read from.
        """
        places = [self.grid.place(index) for index in indices]
        found: list[Change] = []
        # what was read comes first, as a kill must not leave a state without it
        for array, values in ((self._read, read), (self._status, status)):
            sides = array.chunks[:3]
            for chunk in sorted(
                {tuple(np.floor_divide(place, sides).tolist()) for place in places}
            ):
                spans = tuple(
                    slice(i * n, min((i + 1) * n, size))
                    for i, n, size in zip(chunk, sides, status.shape, strict=True)
                )
                found.append((array, spans, values[spans].copy()))
        return found

    def put(self, index: int, result: TileResult) -> int:
        """Keep a tile's result.

        Parameters
        ----------
        index : int
            Number of the tile.
        result : TileResult

        Returns
        -------
        int
            Its size in bytes, packed.

        Raises
        ------
        FormatError
            If it does not fit.
        OSError
            As the store raises it.
        """
        packed = result.pack()
        room = self._tiles.shape[1]
        if len(packed) + 8 > room:
            raise FormatError(f"the objects of tile {index} take {len(packed)} bytes of {room}")
        row = np.zeros(room, np.uint8)
        row[:8] = np.frombuffer(np.uint64(len(packed)).tobytes(), np.uint8)
        row[8 : 8 + len(packed)] = np.frombuffer(packed, np.uint8)
        self._tiles[index] = row
        self._hold(index, result)
        return len(packed)

    def get(self, index: int) -> TileResult:
        """Return a tile's result.

        Raises
        ------
        ResourceError
            If it is not there or damaged.
        """
        held = self._held.find(index)
        if held is not None:
            return held
        try:
            row = np.asarray(self._tiles[index])
            size = int(np.frombuffer(row[:8].tobytes(), np.uint64)[0])
            if not 0 < size <= len(row) - 8:
                raise ValueError("no result was written")
            result = TileResult.unpack(row[8 : 8 + size].tobytes())
        except Exception as error:  # whatever a damaged store raises
            raise ResourceError(
                f"what was found in tile {index} cannot be read back ({error}); "
                "run again with overwrite=True"
            ) from error
        self._hold(index, result)
        return result

    def _hold(self, index: int, result: TileResult) -> None:
        if result.nbytes > _HELD:
            self._held.clear()
        else:
            self._held.put(index, result)

    def write_table(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Keep a table, given as arrays of equal length by name, in place of an earlier one."""
        group = self.group.create_group(name, overwrite=True)

        def write(column: str, data: NDArray[Any]) -> None:
            group.create_array(column, data=data, chunks=(max(1, len(data)), *data.shape[1:]))

        arrays = {column: np.asarray(values) for column, values in columns.items()}
        words = [column for column, data in arrays.items() if data.dtype.kind in "UO"]
        group.attrs.update({column: [str(v) for v in arrays.pop(column)] for column in words})
        with ThreadPoolExecutor(max(1, len(arrays))) as pool:
            list(pool.map(write, arrays, arrays.values()))
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


@lru_cache(maxsize=2)
def _arrived(path: str, mode: str, grid: TileGrid, token: str) -> Ledger:
    """Return the ledger of another process, the same one every time."""
    return Ledger(LabelsGroup(path, mode), grid, token)
