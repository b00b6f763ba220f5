"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import FormatError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file beside `path` and move it there when the block ends well.

    Parameters
    ----------
    path : str or Path
        The file to be; folders above it are made.

    Yields
    ------
    Path
        The temporary file to write to, in the same folder and with the same suffix.

    Raises
    ------
    FormatError
        If the file cannot be written (no space, no permission). What was at `path` stays.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise FormatError(f"{path} is a folder; give the name of a file.")
        name = f".{path.stem[:40]}-{uuid.uuid4().hex[:8]}{path.suffix}"
        path.with_name(name).touch(exist_ok=False)
        temporary = path.with_name(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        reason = error.strerror or str(error)
        raise FormatError(f"{path} cannot be written: {reason}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
