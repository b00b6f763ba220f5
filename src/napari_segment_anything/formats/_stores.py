"""Zarr stores by path or URL, and error messages where one cannot be read or written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import FormatError
from ..limits import CONNECT_SECONDS, READ_SECONDS
from ..reading import is_url, one_line

_REMOTE_MODULES = ("aiohttp", "aiobotocore", "botocore", "s3fs", "gcsfs", "adlfs", "requests")


def locate(source: str | Path) -> str:
    """The absolute path or URL of a store, valid in every process."""
    if "\0" in str(source):
        raise FormatError(f"{str(source)!r:.60} is not a valid path: it contains a null character")
    if not is_url(source):
        return str(Path(source).expanduser().absolute())
    text = str(source)
    if text.lower().startswith("file://"):
        return str(Path(unquote(urlsplit(text).path)))
    return text.rstrip("/") if not text.endswith("://") else text


def join(location: str, *parts: str) -> str:
    """The path or URL of a group inside a store."""
    inside = "/".join(part.strip("/") for part in parts if part.strip("/"))
    if not inside:
        return location
    if not is_url(location):
        return str(Path(location, inside))
    before, path, after = _chained(location)
    return f"{before}{path.rstrip('/')}/{inside}{after}"


def inside(location: str, path: object, what: str) -> str:
    """Resolve a path that metadata names, and check that it is inside the store.

    Parameters
    ----------
    location : str
        The store or group with this metadata.
    path : object
        The path in the metadata.
    what : str
        What it refers to, for messages: "the well".

    Raises
    ------
    FormatError
        If it is not a path, or leads out of the group, possibly through a link.
    """
    text = str(path).strip("/") if isinstance(path, str | int) else ""
    parts = text.split("/")
    remote = is_url(location)
    strange = r"[\\\x00-\x1f]|::|^[A-Za-z]:" + (r"|[?#]|%(?i:2e|2f|5c)" if remote else "")
    if any(part in ("", ".", "..") for part in parts) or re.search(strange, text):
        raise FormatError(f"{location} refers to {what} {path!r}, which is not a path inside it.")
    place = join(location, text)
    if not remote:
        here, there = Path(location).resolve(), Path(place).resolve()
        if not there.is_relative_to(here) or there == here:
            raise FormatError(
                f"{location} refers to {what} {path!r}, a link to {there} outside of it; open that "
                "folder directly."
            )
    return place


def without_links(location: str) -> None:
    """Check that no folder of a local group is a link to another place.

    Raises
    ------
    FormatError
        If one is, since labels would be written outside the store.
    """
    if is_url(location):
        return
    for folder, names, _ in os.walk(location):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                raise FormatError(
                    f"{path} is a link to another folder; labels are not written through links."
                )


def split(location: str) -> tuple[str, str]:
    """The parent location of a group, and the group's name."""
    if not is_url(location):
        return str(Path(location).parent), Path(location).name
    before, path, after = _chained(location)
    parent, _, name = path.rstrip("/").rpartition("/")
    return f"{before}{parent}{after}", name


def short_name(location: str) -> str:
    """The last part of a location, without its suffixes."""
    return split(location)[1].removesuffix(".zarr").removesuffix(".ome") or "image"


def _chained(url: str) -> tuple[str, str, str]:
    """Split a chained URL into the part that paths are appended to, and the text around it.

    That part is the end of ``simplecache::s3://bucket/a.zarr``, but the path inside the archive in
    ``zip://a.zarr::s3://bucket/a.zip``.
    """
    parts = url.split("::")
    at = next((i for i, part in enumerate(parts) if "://" in part), len(parts) - 1)
    before, after = (
        "".join(f"{p}::" for p in parts[:at]),
        "".join(f"::{p}" for p in parts[at + 1 :]),
    )
    return before, parts[at], after


def open_store(location: str, *, read_only: bool = True) -> Any:
    """Open a Zarr store, local or through fsspec.

    Raises
    ------
    FormatError
        If the URL scheme is unknown or needs a package that is not installed.
    """
    from zarr.storage import FsspecStore, LocalStore

    if not is_url(location):
        return LocalStore(location, read_only=read_only)
    scheme = location.split(":", 1)[0]
    try:
        options = _timeouts(location)
        return FsspecStore.from_url(location, storage_options=options, read_only=read_only)
    except ImportError as error:
        needed = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
        extra = needed.get(scheme, "fsspec aiohttp" if scheme.startswith("http") else "fsspec")
        raise FormatError(
            f"{location} needs a package that is not installed: pip install {extra}."
        ) from error
    except (ValueError, TypeError) as error:
        raise FormatError(f"{location} cannot be opened: {line(error)}") from error


def _timeouts(location: str) -> dict[str, Any]:
    """Options for fsspec, so that servers that do not answer time out."""
    connect, read = CONNECT_SECONDS.value, READ_SECONDS.value
    options: dict[str, dict[str, Any]] = {}
    schemes = [part.partition(":")[0].lower() for part in location.split("::")]
    for scheme in schemes:
        if scheme in ("http", "https"):
            import aiohttp

            limits = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read)
            options[scheme] = {"client_kwargs": {"timeout": limits}}
        elif scheme in ("s3", "s3a"):
            options[scheme] = {"config_kwargs": {"connect_timeout": connect, "read_timeout": read}}
    return options if len(schemes) > 1 else options.get(schemes[0], {})


def open_node(location: str, *, mode: str = "r") -> Any:
    """Open the Zarr group or array at a location, ignoring consolidated metadata.

    Returns
    -------
    zarr.Group, zarr.Array or None
        None if there is none.

    Raises
    ------
    FormatError
        If it is damaged or cannot be reached.
    """
    import zarr
    from zarr.errors import NodeNotFoundError

    store = open_store(location, read_only=mode == "r")
    try:
        try:
            return zarr.open_group(store, mode=mode, use_consolidated=False)  # type: ignore[arg-type]
        except (NodeNotFoundError, FileNotFoundError, NotADirectoryError):
            pass
        except zarr.errors.ContainsArrayError:
            pass
        return zarr.open_array(store, mode=mode)
    except (NodeNotFoundError, FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # damaged stores raise almost any type of error
        raise FormatError(f"{location} cannot be read as Zarr: {line(error)}") from error


def open_group(location: str, *, mode: str = "r") -> Any:
    """Open the Zarr group at a location; None if there is none, or it is an array.

    Raises
    ------
    FormatError
        As `open_node`.
    """
    node = open_node(location, mode=mode)
    return node if hasattr(node, "array_keys") else None


@contextmanager
def store_errors(location: object) -> Iterator[None]:
    """Convert errors of a store that cannot be written into `FormatError`.

    Parameters
    ----------
    location : object
        What is being written, for the message.
    """
    try:
        yield
    except FormatError:
        raise
    except Exception as error:
        problem = describe_write_error(location, error)
        if problem is None:
            raise
        raise FormatError(problem) from error


def describe_write_error(location: object, error: BaseException) -> str | None:
    """Describe why a store cannot be written and what to do; None for other errors."""
    number = getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or line(error)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"{location} cannot be written: {reason}. Free some space and run again; "
            "finished parts are kept."
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or isinstance(error, PermissionError):
        return f"{location} cannot be written: {reason}. Choose another output."
    web = str(location).lower().startswith(("http://", "https://"))
    if web or isinstance(error, NotImplementedError) or "read-only" in str(error):
        return f"{location} is read-only. Choose another output."
    remote = type(error).__module__.split(".")[0] in _REMOTE_MODULES
    if isinstance(error, OSError) or remote:
        return f"{location} cannot be written: {reason}."
    return None


def line(error: BaseException) -> str:
    """An exception's message on one line."""
    if isinstance(error, TimeoutError):
        return f"the server did not answer within {READ_SECONDS.value} s"
    return one_line(error)
