"""Download one file over HTTP, resuming after broken connections."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import DownloadError
from ..limits import CONNECT_SECONDS, DOWNLOAD_BYTES, DOWNLOAD_SECONDS, READ_SECONDS
from ..progress import Progress

ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
_CHUNK = 1 << 18


class Interrupted(Exception):
    """A download that could not be completed.

    Parameters
    ----------
    reason : str
        Why not.
    kept : bool
        Whether the part received so far is kept for continuing.
    status : int
        The server's answer, if that is the reason; else 0.
    """

    def __init__(self, reason: str, kept: bool, status: int = 0) -> None:
        super().__init__(reason)
        self.kept = kept
        self.status = status


class Transfer:
    """Download a URL to a file, continuing its content.

    Size and time are limited (see `limits`), and https is never redirected to http.

    Parameters
    ----------
    url : str
        An http or https URL.
    part : Path
        The file; its content is taken as the beginning of the download.
    size : int or None
        Size of the whole file in bytes, if known.
    progress : callable or None
        Called with a `Progress` in bytes.
    label : str
        Name of the file, for messages.
    headers : mapping, optional
        Sent with each request; a token in "Authorization" is not sent on to other servers.
    """

    def __init__(
        self,
        url: str,
        part: Path,
        size: int | None,
        progress: Callable[[Progress], object] | None,
        label: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.part = part
        self.size = size
        self.progress = progress
        self.label = label
        self.headers = headers or {}
        self.total: int | None = size
        self._announced: int | None = None
        self._status = 0
        self._validator: str | None = None
        self._file: IO[bytes] | None = None
        self._ends = time.monotonic() + DOWNLOAD_SECONDS.value

    def run(self, *, verified: bool) -> None:
        """Download, with several attempts if the connection breaks.

        Parameters
        ----------
        verified : bool
            Whether the caller verifies the file afterwards. If not, a part is only continued if the
            server confirms that it is of the same version.

        Raises
        ------
        Interrupted
            If the file cannot be downloaded.
        OSError
            If the file cannot be written; if the disk is full, the part is removed.
        """
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt and time.monotonic() > self._ends:
                break
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                with self.part.open("ab") as self._file:
                    if not verified and self._validator is None:
                        _cut(self._file, 0)
                    if self.size is not None and self._file.tell() == self.size:
                        return
                    self._room(self._file.tell())
                    failure = self._attempt(self._file)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    self.part.unlink(missing_ok=True)
                raise
            if failure is None:
                return
            reason, worth_retrying = failure
            if not worth_retrying:
                break
        kept = verified and self.part.stat().st_size > 0
        raise Interrupted(reason, kept, self._status)

    def _attempt(self, file: IO[bytes]) -> tuple[str, bool] | None:
        """Download the rest; return None, or why it failed and whether to try again."""
        import requests
        from urllib3.exceptions import HTTPError as BrokenError

        offset = file.tell()
        self._announced, self._status = None, 0
        headers = {**self.headers, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator is not None:
                headers["If-Range"] = self._validator
        try:
            with requests.get(
                self.url,
                headers=headers,
                stream=True,
                timeout=(CONNECT_SECONDS.value, READ_SECONDS.value),
                hooks={"response": self._answered},
            ) as response:
                response.raise_for_status()
                while chunk := response.raw.read1(_CHUNK, decode_content=True):
                    file.write(chunk)
                    self._note(file)
        except requests.HTTPError as error:
            if error.response is None:
                return str(error), True
            status = self._status = error.response.status_code
            if status == 416:
                # The part is longer than the file, so it is not its beginning.
                _cut(file, 0)
                return "the file on the server is shorter than the part received", True
            return f"the server answered {status} {error.response.reason}", status >= 500
        except (requests.ConnectionError, requests.Timeout, BrokenError) as error:
            came = self._broken(file) if file.tell() > offset else ""
            return came or f"no connection ({_innermost(error)})", True
        except (requests.RequestException, _Misplaced) as error:
            return str(error), True
        except _TooLong as error:
            return str(error), False
        broken = self._broken(file)
        return (broken, True) if broken else None

    def _broken(self, file: IO[bytes]) -> str:
        """That less came than was announced; "" if it did not."""
        if self._announced is None or file.tell() >= self._announced:
            return ""
        return f"the connection broke after {file.tell()} of {self._announced} bytes"

    def _answered(self, response: Any, *args: Any, **kwargs: Any) -> None:
        """Check the headers before the body is received."""
        file = self._file
        to = response.headers.get("location", "") if response.is_redirect else ""
        if self.url.lower().startswith("https:") and to.lower().startswith("http:"):
            raise DownloadError(
                f"the server of {self.label} redirects from https to {to.split('?')[0]}, which is "
                "not secure; nothing was downloaded"
            )
        if file is None or response.is_redirect or response.status_code not in (200, 206):
            return
        length = response.headers.get("content-length")
        encoded = response.headers.get("content-encoding", "identity") != "identity"
        start = 0
        if response.status_code == 206:
            span = response.headers.get("content-range", "")
            first, _, whole = span.removeprefix("bytes ").partition("/")
            if first.partition("-")[0] != str(file.tell()):
                raise _Misplaced(f"the server sent another range than asked for ({span})")
            start = file.tell()
            length = whole if whole.isdigit() else None
        else:
            # The server sends the whole file.
            _cut(file, 0)
        announced = int(length) if length is not None and not encoded else None
        if self.size is not None and announced is not None and announced != self.size:
            _cut(file, start)
            raise DownloadError(
                f"the server's {self.label} has {announced} bytes instead of {self.size}: it is "
                "not the published file (a proxy or login page, or replaced at its source?)"
            )
        if announced is not None:
            self._check_size(announced)
        self._announced = announced
        self.total = announced if announced is not None else self.size
        validator = response.headers.get("etag") or response.headers.get("last-modified")
        weak = validator is not None and validator.startswith("W/")
        self._validator = None if weak else validator
        self._room(file.tell())

    def _room(self, done: int) -> None:
        needed = 0 if self.total is None else self.total - done
        if needed > shutil.disk_usage(self.part.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _check_size(self, size: int) -> None:
        what = f"the server's {self.label} is too large for a checkpoint"
        DOWNLOAD_BYTES.check(size, what, DownloadError)

    def _note(self, file: IO[bytes]) -> None:
        """Check the limits of size and time, and report progress."""
        done = file.tell()
        try:
            self._check_size(done)
        except DownloadError:
            _cut(file, 0)
            raise
        if time.monotonic() > self._ends:
            seconds = DOWNLOAD_SECONDS
            raise _TooLong(
                f"only {done} bytes were received in {seconds.value} s, the time limit of a "
                f"download (set {seconds.variable} to raise it)"
            )
        if self.progress is not None:
            self.progress(Progress(done, self.total or done, message=f"downloading {self.label}"))


class _TooLong(Exception):
    """The time limit of a download is exceeded."""


class _Misplaced(Exception):
    """The server sent another part of the file."""


def _cut(file: IO[bytes], size: int) -> None:
    # A file opened for appending reports its old end until something is written.
    file.seek(size)
    file.truncate()


def _innermost(error: BaseException) -> str:
    """Find the original error inside those of urllib3 and requests."""
    reason: Any = error
    for _ in range(5):
        inner = getattr(reason, "reason", None) or (reason.args[0] if reason.args else None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    return str(reason).rpartition(": ")[2] or type(reason).__name__
