"""NumPy files; headers are checked against the size of the file before memory is allocated."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import ImageError
from ..limits import ARRAY_BYTES
from ..reading import one_line, require_file


@contextmanager
def open_npz(source: Path | IO[bytes]) -> Iterator[Any]:
    """Open a NumPy archive, after checking that its arrays are numeric, complete and not too large.

    Parameters
    ----------
    source : Path or binary file

    Yields
    ------
    numpy.lib.npyio.NpzFile
        Arrays are unpacked on access.

    Raises
    ------
    ImageError
        If it is not an archive of arrays or is damaged, or a header does not match its data.
    """
    title = "packed arrays"
    if isinstance(source, Path):
        title = require_file(source, "NPZ file", ImageError).name
    try:
        with zipfile.ZipFile(source) as packed:
            for member in packed.infolist():
                if member.filename.endswith(".npy"):
                    name = f"{title}: array {member.filename.removesuffix('.npy')}"
                    ARRAY_BYTES.check(member.file_size, f"{name} is large", ImageError)
                    with packed.open(member) as file:
                        check_header(file, member.file_size, name)
        if not isinstance(source, Path):
            source.seek(0)
        with np.load(source, allow_pickle=False) as archive:
            yield archive
    except ImageError:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        NotImplementedError,
        RuntimeError,  # it is encrypted
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ImageError(f"{title} cannot be read as NPZ: {one_line(error)}") from error


def check_header(file: IO[bytes], size: int, name: str) -> int:
    """Read the header of a NumPy file, and return the size of its array in bytes.

    Parameters
    ----------
    file : binary file
        Positioned at its beginning; afterwards, at the array.
    size : int
        Size of the file in bytes.
    name : str
        Name of the file in messages.

    Raises
    ------
    ImageError
        If it holds Python objects, or the file is shorter than the header says.
    """
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    except Exception as error:  # NumPy reads headers with Python's own parser
        raise ImageError(f"{name} cannot be read as NPY: {one_line(error)}") from error
    if dtype.hasobject:
        raise ImageError(f"{name} cannot be read as NPY: it holds Python objects, not numbers.")
    if any(n < 0 for n in shape) or len(shape) > 32:
        raise ImageError(f"{name} has an impossible shape {shape}.")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > size - file.tell():
        raise ImageError(
            f"{name} should have {claimed} bytes for shape {shape} but has {size - file.tell()}: "
            "it is truncated or damaged."
        )
    return claimed
