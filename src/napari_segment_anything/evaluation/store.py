"""Results on disk as JSON lines, so that a stopped evaluation can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from ..errors import FormatError, ParameterError, ResourceError
from ..limits import JOURNAL_BYTES
from ..reading import read_bytes

RESULTS = "results.jsonl"
VERSION = 1


class ResultStore:
    """The records of an evaluation: a header line, then a line per image and protocol.

    Parameters
    ----------
    folder : Path
        Created if necessary.
    header : dict
        Everything that determines the figures. A folder holds records of one header only.

    Raises
    ------
    ParameterError
        If the folder holds results with another header.
    FormatError
        If its file is not one of results.
    """

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder = folder
        self.path = folder / RESULTS
        self.header = {"version": VERSION, **header}
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        self.complete: set[tuple[str, str]] = set()
        self._stream: IO[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        good = 0
        data = read_bytes(self.path, JOURNAL_BYTES, what="record of an evaluation")
        lines = data.splitlines(keepends=True)
        for number, line in enumerate(lines):
            if not line.endswith(b"\n"):
                break  # a line cut off when a process was killed
            try:
                self._take(json.loads(line), number)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                if isinstance(error, ParameterError):
                    raise
                raise FormatError(
                    f"line {number + 1} of {self.path} is damaged: {error!r}; remove the file to "
                    "start again"
                ) from error
            good += len(line)
        if good < sum(map(len, lines)):
            os.truncate(self.path, good)

    def _take(self, item: dict[str, Any], number: int) -> None:
        if number == 0:
            held = item["header"]
            different = [k for k in {*held, *self.header} if held.get(k) != self.header.get(k)]
            if different:
                raise ParameterError(
                    f"{self.folder} holds an evaluation with another {' and '.join(different)}; "
                    "choose another folder, or overwrite"
                )
        elif "complete" in item:
            self.complete.add((item["complete"], item["protocol"]))
        else:
            self.records[item["image"], item["protocol"]] = item

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open the file for appending, under a lock.

        Raises
        ------
        ResourceError
            If another process holds the lock.
        """
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ResourceError(f"another evaluation is writing to {self.folder}") from error
        try:
            with self.path.open("ab") as self._stream:
                if self._stream.tell() == 0:
                    self._write({"header": self.header})
                yield
        finally:
            self._stream = None
            lock.release()

    def add(self, record: dict[str, Any]) -> None:
        """Add the record of an image and protocol, which it names as "image" and "protocol"."""
        self.records[record["image"], record["protocol"]] = record
        self._write(record)

    def finish(self, file: str, protocol: str) -> None:
        """Record that all planes of a file are done for a protocol."""
        self.complete.add((file, protocol))
        self._write({"complete": file, "protocol": protocol})

    def _write(self, item: dict[str, Any]) -> None:
        if self._stream is None:
            raise ResourceError("results are added inside writing()")
        line = json.dumps(item, separators=(",", ":"), allow_nan=False)
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()
