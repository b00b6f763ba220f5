"""Download published files into the cache directory: resumed, verified and atomic."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit, urlunsplit
from urllib.request import url2pathname

import filelock
import platformdirs
import xxhash

from ..errors import CheckpointError, DownloadError, ResourceError
from ..progress import Progress
from .catalogue import CatalogueEntry, RemoteFile, catalogue
from .reading import fault_of
from .records import recall, record
from .transfer import Interrupted, Transfer

CACHE_VARIABLE = "NAPARI_SEGMENT_ANYTHING_CACHE"
HASHES: dict[str, Any] = {
    "sha256": hashlib.sha256,
    "md5": partial(hashlib.md5, usedforsecurity=False),
    "xxh128": xxhash.xxh128,
    # of a small file on the hub: what git calls it
    "git": partial(hashlib.sha1, usedforsecurity=False),
}
_DIGITS = {"sha256": 64, "xxh128": 32}
ProgressCallback = Callable[[Progress], object]


def cache_directory() -> Path:
    """Return the folder for everything that can be downloaded or computed again.

    It is the platform's cache folder for this program, or the value of the environment variable
    ``NAPARI_SEGMENT_ANYTHING_CACHE``. It may not exist yet.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("napari-segment-anything", appauthor=False))


def checkpoint_directory(directory: str | Path | None = None) -> Path:
    """Return the folder for downloads: `directory`, or one in the cache."""
    if directory is not None:
        return Path(directory).expanduser().absolute()
    return cache_directory() / "checkpoints"


def records_file(directory: str | Path | None = None) -> Path:
    """Return the file that stores hashes of large files."""
    return checkpoint_directory(directory) / "records.json"


def embedded_path(entry: CatalogueEntry) -> Path:
    """Return the path of weights that are part of the package.

    Raises
    ------
    CheckpointError
        If they are missing in this installation.
    """
    path = Path(str(files(__package__).joinpath("data", entry.file)))
    if not path.is_file():
        raise CheckpointError(
            f"the weights of {entry.name!r} are missing in this installation ({path}); reinstall "
            "the package, or choose another model"
        )
    return path


def cached_path(remote: RemoteFile, directory: str | Path | None = None) -> Path | None:
    """Return the path of a published file if it is downloaded and intact, else None.

    Parameters
    ----------
    remote : RemoteFile
        The file.
    directory : str or Path, optional
        As for `download`.
    """
    target = checkpoint_directory(directory) / remote.file
    return target if _difference(target, remote, records_file(directory)) == "" else None


def fetch_url(
    url: str,
    directory: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """Download a file from any URL.

    Parameters
    ----------
    url : str
        An http or https URL, cached under its name and a hash of the URL; or a file URL, which
        is used in place. A fragment ``#sha256=...`` or ``#xxh128=...`` is compared with the
        file; other fragments are errors.
    directory, progress
        As for `download`.

    Raises
    ------
    CheckpointError
        If the scheme is not supported, the file does not exist, or the fragment is no hash.
    DownloadError, ResourceError
        As `download`.
    """
    bare, fragment = urldefrag(url)
    parts = urlsplit(bare)
    kind, digest = _hash_of(fragment, bare)
    if parts.scheme == "file":
        path = Path(url2pathname(parts.path))
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}")
        wrong = _difference(path, RemoteFile(path.name, bare, kind, digest), None) if kind else ""
        if wrong:
            raise CheckpointError(f"{path} does not match the URL: {wrong}")
        return path
    if parts.scheme not in ("http", "https"):
        raise CheckpointError(f"{parts.scheme}:// URLs are not supported; use http, https or file")
    for entry in catalogue().values():
        for remote in entry.files:
            if remote.source == bare and not entry.embedded:
                path = fetch(remote, directory, progress)
                asked = RemoteFile(remote.file, bare, kind, digest)
                wrong = _difference(path, asked, records_file(directory)) if kind else ""
                if wrong:
                    raise DownloadError(
                        f"{path.name} is the published file, but does not match the URL: {wrong}"
                    )
                return path
    base = re.sub(r"[^\w.-]+", "_", Path(parts.path).name) or "checkpoint"
    mark = hashlib.sha256(bare.encode()).hexdigest()[:12]
    return fetch(RemoteFile(f"{mark}-{base}", bare, kind, digest), directory, progress)


def _hash_of(fragment: str, url: str) -> tuple[str, str]:
    """Kind and digest in the fragment of a URL; empty without one."""
    if not fragment:
        return "", ""
    kind, _, digest = fragment.partition("=")
    kind, digest = kind.strip().lower(), digest.strip().lower()
    if kind not in _DIGITS or not re.fullmatch(f"[0-9a-f]{{{_DIGITS[kind]}}}", digest):
        raise CheckpointError(
            f"'#{fragment}' of {_shown(url)} is not a hash: use #sha256= and 64, or #xxh128= and "
            "32 hexadecimal digits, or omit it"
        )
    return kind, digest


def fetch(
    remote: RemoteFile,
    directory: str | Path | None = None,
    progress: ProgressCallback | None = None,
    headers: Mapping[str, str] | None = None,
) -> Path:
    """Download one published file, unless it is there already and intact.

    Parameters
    ----------
    remote : RemoteFile
        The file.
    directory, progress
        As for `download`.
    headers : mapping, optional
        As for `Transfer`.

    Returns
    -------
    Path
        The file, verified if a hash is known; otherwise only its format is checked.

    Raises
    ------
    DownloadError, ResourceError
        As `download`.
    """
    store = records_file(directory)
    target = checkpoint_directory(directory) / remote.file
    if _difference(target, remote, store) == "":
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, remote, progress):
            present = _difference(target, remote, store)
            if present != "":
                _replace(target, remote, progress, store, present, headers)
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        raise _no_place(error, target) from error
    return target


def _replace(
    target: Path,
    remote: RemoteFile,
    progress: ProgressCallback | None,
    store: Path,
    present: str | None,
    headers: Mapping[str, str] | None,
) -> None:
    """Download to a temporary file, verify it, and move it into place."""
    part = target.with_name(target.name + ".part")
    if not remote.hash:
        # Without a hash, the rest of an earlier download may be of another version.
        part.unlink(missing_ok=True)
    resumed = part.exists() and part.stat().st_size > 0
    for clean in (False, True):
        try:
            label = target.name
            transfer = Transfer(remote.source, part, remote.size, progress, label, headers)
            transfer.run(verified=bool(remote.hash))
        except Interrupted as error:
            raise _unreachable(error, remote, target, present) from error
        wrong = _difference(part, remote, None)
        if not wrong:
            break
        part.unlink(missing_ok=True)
        if clean or not resumed:
            raise DownloadError(
                f"the file from {_shown(remote.source)} is not the published {target.name}: "
                f"{wrong}. It was removed. It may have been changed on the way (a proxy, a login "
                "page), or replaced at its source; try again, or save the published file as "
                f"{target} yourself"
            )
    part.replace(target)
    if remote.hash:
        record(target, remote.hash_kind, remote.hash, store)


def _difference(path: Path, remote: RemoteFile, store: Path | None) -> str | None:
    """How a file differs from the published one: "" if it does not, None if it is missing."""
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    if remote.size is not None and size != remote.size:
        return f"it has {size} bytes instead of {remote.size}"
    if not remote.hash:
        return fault_of(path)
    digest = recall(path, remote.hash_kind, store) if store is not None else None
    if digest is None:
        digest = _digest(path, remote.hash_kind)
        if store is not None:
            record(path, remote.hash_kind, digest, store)
    if digest == remote.hash.lower():
        return ""
    return f"its {remote.hash_kind} is {digest} instead of {remote.hash}"


def _digest(path: Path, kind: str) -> str:
    begin = HASHES[kind]
    if kind == "git":
        begin = partial(begin, b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        digest: str = hashlib.file_digest(file, begin).hexdigest()
    return digest


@contextlib.contextmanager
def _alone(target: Path, remote: RemoteFile, progress: ProgressCallback | None) -> Iterator[None]:
    """Hold the lock of a file; while another process has it, report and wait."""
    lock = filelock.FileLock(target.with_name(f".{target.name}.lock"))
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except filelock.Timeout:
            if progress is not None:
                part = target.with_name(target.name + ".part")
                with contextlib.suppress(OSError):
                    done = part.stat().st_size
                    message = f"waiting for another process to download {target.name}"
                    progress(Progress(done, remote.size or done, message=message))
    try:
        yield
    finally:
        lock.release()


def _unreachable(
    error: Interrupted, remote: RemoteFile, target: Path, present: str | None
) -> DownloadError:
    check = f" ({remote.hash_kind} {remote.hash})" if remote.hash else ""
    there = f" The existing file is not valid: {present}." if present else ""
    kept = " The part received so far is kept and will be continued." if error.kept else ""
    return DownloadError(
        f"could not download {target.name}: {error}.{kept}{there} Without a network, get "
        f"{_shown(remote.source)} elsewhere and save it as {target}{check}; or set "
        f"{CACHE_VARIABLE} to a cache folder that has it in checkpoints"
    )


def _no_place(error: OSError, target: Path) -> ResourceError:
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(_existing(target)).free
        return ResourceError(
            f"the disk is full: there is no space for {target.name} in {target.parent} "
            f"({free / 1e6:.0f} MB free); free some space, or set {CACHE_VARIABLE} to a folder on "
            "another disk"
        )
    return ResourceError(
        f"cannot write to {target.parent} ({error.strerror or error}); set {CACHE_VARIABLE} to "
        "a writable folder"
    )


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _shown(url: str) -> str:
    """Remove user name and password from a URL."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
