"""Write files completely or not at all."""

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
    """Create a hidden folder next to the results, to write them in before they are moved.

    The folder is removed at the end. Folders left by killed processes, which hold no lock any
    more, are removed as well.

    Parameters
    ----------
    folder : Path
        The folder for the results; it must exist.

    Yields
    ------
    Path
        The hidden folder.
    """
    from filelock import FileLock, Timeout

    folder = folder.absolute()
    if folder not in _swept:  # once per process
        _swept.add(folder)
        sweep(folder)
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    lock = FileLock(place / _LOCK, timeout=0, thread_local=False)
    try:
        with suppress(OSError, Timeout):  # without locks, nothing is swept
            lock.acquire()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.release()
        shutil.rmtree(place, ignore_errors=True)  # Windows does not delete open files


def sweep(folder: Path) -> None:
    """Remove hidden folders that killed processes left next to results."""
    from filelock import FileLock, Timeout

    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if (left / _LOCK).exists():
                lock = FileLock(left / _LOCK, timeout=0, thread_local=False)
                lock.acquire()
                shutil.rmtree(left, ignore_errors=True)
                lock.release()
            elif time.time() - left.stat().st_mtime > _FRESH:  # not locked
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file in a hidden folder next to `path`, and move it there if the block succeeds.

    Parameters
    ----------
    path : str or Path
        The file; its parent folders are created.

    Yields
    ------
    Path
        The temporary file to write to, with the same name.

    Raises
    ------
    FormatError
        If the file cannot be written (no space, no permission). A previous file at `path` is
        kept.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise FormatError(f"{path} is a folder; give a file name.")
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
