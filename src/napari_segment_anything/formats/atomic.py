"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import FormatError

PREFIX = ".unfinished-"
_LOCK = ".lock"
_FRESH = 3600.0
_swept: set[Path] = set()


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Have a hidden folder beside results, to write them to before they are moved.

    It is removed at the end. What processes left that were killed is removed as well: their lock
    on it is gone.

    Parameters
    ----------
    folder : Path
        Where results go; it exists.

    Yields
    ------
    Path
        The hidden folder.
    """
    from filelock import FileLock, Timeout

    folder = folder.absolute()
    if folder not in _swept:  # once is enough for a process
        _swept.add(folder)
        sweep(folder)
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    lock = FileLock(place / _LOCK, timeout=0, thread_local=False)
    try:
        with suppress(OSError, Timeout):  # without locks nothing is swept
            lock.acquire()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.release()
        shutil.rmtree(place, ignore_errors=True)  # Windows keeps files that are open


def sweep(folder: Path) -> None:
    """Remove the hidden folders that killed processes left beside results."""
    from filelock import FileLock, Timeout

    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if (left / _LOCK).exists():
                lock = FileLock(left / _LOCK, timeout=0, thread_local=False)
                lock.acquire()
                shutil.rmtree(left, ignore_errors=True)
                lock.release()
            elif time.time() - left.stat().st_mtime > _FRESH:  # before it was locked, or older
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file in a hidden folder beside `path` and move it there when the block ends well.

    Parameters
    ----------
    path : str or Path
        The file to be; folders above it are made.

    Yields
    ------
    Path
        The temporary file to write to, of the same name, in a hidden folder beside `path`.

    Raises
    ------
    FormatError
        If the file cannot be written (no space, no permission). What was at `path` stays.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise FormatError(f"{path} is a folder; give the name of a file.")
        with staging(path.parent) as place:
            temporary = place / path.name
            temporary.touch(exist_ok=False)
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FormatError(f"{path} cannot be written: {reason}.") from error
