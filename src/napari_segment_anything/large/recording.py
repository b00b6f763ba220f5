"""Keeps the ledger while tiles go on: states are written on a thread of their own."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from .ledger import Change, Ledger, TileStatus


class Recorder:
    """State of all tiles, written as they finish; those that finish meanwhile are written together.

    A kill loses the tiles in progress and those that are being recorded, a moment's worth.

    Parameters
    ----------
    ledger : Ledger
        Only this one writes states.
    status : uint8 array (planes, tile rows, tile columns)
        As the ledger has it; it is updated at once.
    """

    def __init__(self, ledger: Ledger, status: NDArray[np.uint8]) -> None:
        self.ledger, self.status = ledger, status
        self.reasons: dict[str, str] = dict(ledger.run.get("failed", {}))
        self._read = ledger.read()
        self._changed: set[int] = set()
        self._noted = True
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._writing: Future[None] | None = None

    def finished(self, index: int, status: TileStatus, read: tuple[int, int]) -> None:
        """Record a tile that was segmented, and hash and mark of what it was read from."""
        self._read[self.ledger.grid.place(index)] = np.array(read, np.uint64)
        if self.reasons.pop(str(index), None) is not None:
            self._noted = False
        self._set(index, status)

    def failed(self, index: int, reason: str) -> None:
        """Record a tile that failed."""
        self.reasons[str(index)] = reason
        self._noted = False
        self._set(index, TileStatus.FAILED)

    def _set(self, index: int, status: TileStatus) -> None:
        self.status[self.ledger.grid.place(index)] = int(status)
        self._changed.add(index)
        self.proceed()

    def proceed(self) -> None:
        """Write what has changed, if nothing is being written."""
        if self._writing is not None:
            if not self._writing.done():
                return
            self._writing.result()
            self._writing = None
        if self._changed or not self._noted:
            changes = self.ledger.changes(self._changed, self.status, self._read)
            reasons = None if self._noted else dict(self.reasons)
            self._writing = self._pool.submit(self._write, changes, reasons)
            self._changed, self._noted = set(), True

    def _write(self, changes: list[Change], reasons: dict[str, str] | None) -> None:
        if reasons is not None:
            self.ledger.note(failed=reasons)
        for array, place, values in changes:
            array[place] = values

    def flush(self) -> None:
        """Wait until everything is written."""
        while self._writing is not None or self._changed or not self._noted:
            if self._writing is not None:
                self._writing.result()
            self.proceed()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with suppress(*(() if kind is None else (Exception,))):  # the first error is raised
                self.flush()
        finally:
            self._pool.shutdown(wait=True)
