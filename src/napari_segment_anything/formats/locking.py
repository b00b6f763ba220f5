"""Locks, so that one process at a time writes the labels of a store, or a file."""

from __future__ import annotations

import errno
import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError, ResourceError
from ..reading import is_url
from ._stores import locate, store_errors

if TYPE_CHECKING:
    from filelock import BaseFileLock

_MOMENT = 0.05
SUFFIX = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def only_writer(destination: str | Path, name: str) -> Iterator[None]:
    """Keep other processes from writing the same labels while the block runs.

    The lock is a file in the ``labels`` folder of the store, so it is seen by every process that
    can access the store, also on other machines if the file system supports that. It ends with the
    process that holds it. Stores on servers, and on file systems without locks, cannot be locked;
    a warning is given.

    Parameters
    ----------
    destination : str or Path
        Path or URL of the store; created for the lock if missing.
    name : str
        Of the labels.

    Raises
    ------
    ResourceError
        If another process is writing them.
    FormatError
        If the store cannot be written to.
    """
    from filelock import FileLock, Timeout

    location = locate(destination)
    store = Path(location)
    if is_url(location):
        _warn(location, name, "a store on a server")
        yield
        return
    if store.exists() and not store.is_dir():
        yield  # opening it raises a suitable error
        return
    folder = store / "labels"
    if folder.is_symlink():
        raise FormatError(f"{folder} is a link; labels are not written through links.")
    file = folder / f".{hashlib.sha256(name.encode()).hexdigest()[:16]}{SUFFIX}"
    lock = FileLock(file, timeout=0, thread_local=False)
    try:
        with store_errors(location):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                if not _acquired(lock):
                    _warn(location, name, "a store on this file system")
            except Timeout:
                raise ResourceError(
                    f"another process is writing the labels '{name}' of {location}; wait for it, "
                    "or give another label name"
                ) from None
        yield
    finally:
        if lock.is_locked:
            with suppress(
                OSError
            ):  # while it is held: a file that others wait at is not taken away
                file.unlink()
            lock.release()
            for made in (folder, store):
                with suppress(OSError):  # only where nothing came to be
                    made.rmdir()


@contextmanager
def exclusive(file: Path, busy: Callable[[], str], wait: float = 0.0) -> Iterator[None]:
    """Hold a lock while the block runs. It ends with the process that holds it, however that ends.

    The file stays; only a running process locks it. Where the file system has no locks, a warning
    is given.

    Parameters
    ----------
    file : Path
        The file to lock; created if missing, and its folder with it.
    busy : callable
        Makes the message of the error if another one holds it.
    wait : float
        Seconds to wait for it.

    Raises
    ------
    ResourceError
        If another process, or another part of this one, holds it.
    FormatError
        If the file cannot be created.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file, timeout=wait, thread_local=False)
    try:
        with store_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not _acquired(lock):
                    warnings.warn(
                        f"{file.parent} is on a file system without locks: make sure that nobody "
                        "else writes there at the same time",
                        stacklevel=4,
                    )
            except Timeout:
                raise ResourceError(busy()) from None
        yield
    finally:
        lock.release()


def is_locked(file: Path) -> bool:
    """Whether a running process, or another part of this one, holds a lock."""
    from filelock import FileLock, Timeout

    if not file.exists():
        return False
    # another one that only asks holds it for a moment
    lock = FileLock(file, timeout=_MOMENT, poll_interval=_MOMENT / 5, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a file system without locks
        return False
    lock.release()
    return False


def _acquired(lock: BaseFileLock) -> bool:
    """Acquire a lock; whether the file system has any. Raises filelock's `Timeout`."""
    try:
        lock.acquire()
    except NotImplementedError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def holds_only_locks(store: Path) -> bool:
    """Whether a folder is empty except for locks."""
    return all(
        entry.name == "labels"
        and entry.is_dir()
        and all(inside.suffix == SUFFIX for inside in entry.iterdir())
        for entry in store.iterdir()
    )


def _warn(location: str, name: str, what: str) -> None:
    warnings.warn(
        f"{what} cannot be locked: make sure that no other process writes the labels '{name}' of "
        f"{location} at the same time",
        stacklevel=4,
    )
