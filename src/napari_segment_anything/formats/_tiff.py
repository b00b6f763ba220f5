"""Checks that TIFF files are complete, and the meaning of their values."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError

_MUST_BE_THERE = {270, 273, 279, 324, 325, 330, 50838, 50839}
"""Tags whose values must exist: description, offsets of pixels and sub-images, ImageJ's own."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8}  # fmt: skip


def check_whole(file: Any, chosen: Any, path: Path) -> None:
    """Check that a TIFF file contains all pages and pixels that it declares.

    Readers skip missing pages, so that a truncated file looks like a shorter stack.

    Parameters
    ----------
    file : tifffile.TiffFile
    chosen : tifffile.TiffPageSeries
    path : Path
        Path for messages.

    Raises
    ------
    ImageError
        If it is truncated, or one of its planes is missing.
    """
    size = file.filehandle.size
    if any(page is None for page in chosen.pages):
        raise ImageError(f"{path.name} is damaged: some of its planes are missing.")
    if not (file.is_ndpi or (file.is_lsm and size >= 2**32)):  # formats with their own offsets
        _check_directories(file, path)
    said = (file.imagej_metadata or {}).get("images", 1) if file.is_imagej else 1
    planes = chosen.size // max(1, chosen.keyframe.size)
    if len(file.series) == 1 and isinstance(said, int) and said > planes:
        raise _cut(path, f"its header declares {said} planes, but it has {planes}")
    if chosen.dataoffset is not None and chosen.dataoffset + chosen.nbytes > size:
        raise _cut(path, "pixel data at its end is missing")
    for level in chosen.levels:
        for page in level.pages:
            handle = page.parent.filehandle
            if handle.path != file.filehandle.path:
                continue
            pairs = zip(page.dataoffsets, page.databytecounts, strict=False)
            if any(offset + count > size for offset, count in pairs):
                raise _cut(path, "pixel data at its end is missing")


def _check_directories(file: Any, path: Path) -> None:
    """Check the chain of image directories."""
    handle, form = file.filehandle, file.tiff
    size, order = handle.size, form.byteorder
    wide = form.offsetsize == 8
    entry = struct.Struct(order + ("HHQ8s" if wide else "HHI4s"))

    def read(at: int, layout: str) -> int:
        length = struct.calcsize(layout)
        if at + length > size:
            raise _cut(path, "a page directory is missing")
        handle.seek(at)
        return int(struct.unpack(layout, handle.read(length))[0])

    seen: set[int] = set()
    offset = read(8 if wide else 4, form.offsetformat)
    while offset and offset not in seen:
        seen.add(offset)
        count = read(offset, form.tagnoformat)
        begin = offset + form.tagnosize
        following = read(begin + count * form.tagsize, form.offsetformat)
        handle.seek(begin)
        for code, kind, number, value in entry.iter_unpack(handle.read(count * form.tagsize)):
            length = number * _SIZES.get(kind, 0)
            if code in _MUST_BE_THERE and length > form.offsetsize:
                (place,) = struct.unpack(form.offsetformat, value)
                if place + length > size:
                    raise _cut(path, "the description of a page is missing")
        offset = following


def _cut(path: Path, what: str) -> ImageError:
    return ImageError(f"{path.name} is truncated: {what}. Copy or save it again.")


class Mapped:
    """A lazy array whose values are mapped as they are read.

    Parameters
    ----------
    array : array-like
        The array to read from.
    function : callable
        Maps an array of stored values, perhaps adding an axis at the end.
    """

    def __init__(self, array: Any, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self._array, self._function = array, function
        sample = function(np.zeros((1,) * len(array.shape), array.dtype))
        self._more = sample.shape[len(array.shape) :]
        self.shape = (*(int(n) for n in array.shape), *self._more)
        self.ndim = len(self.shape)
        self.dtype = sample.dtype
        chunks = getattr(array, "chunks", None)
        self.chunks = None if chunks is None else (*chunks, *self._more)

    def __getitem__(self, key: Any) -> np.ndarray:
        parts = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        inner = len(self._array.shape)
        found = self._function(np.asarray(self._array[tuple(parts[:inner])]))
        return np.asarray(found[(..., *parts[inner:])] if parts[inner:] else found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)


def meaning(page: Any, path: Path) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a function from stored values to brightness or colours; None if none is needed.

    Where white is zero, values are inverted. Palette indices become colours (red, green, blue, 8
    bits, on an axis at the end), unless the palette only gets brighter: then it is a display
    setting, and the stored values are the measurements.

    Raises
    ------
    ImageError
        If white is zero and values are not unsigned integers.
    """
    kind = int(page.photometric)
    if kind == 0:
        if page.dtype.kind == "b":
            return np.logical_not
        if page.dtype.kind != "u":
            raise ImageError(
                f"{path.name} has the lowest value as white (MinIsWhite), which is undefined for "
                f"{page.dtype} values; save it with black as the lowest value."
            )
        top = page.dtype.type(2**page.bitspersample - 1)
        return lambda values: top - values
    if kind != 3 or page.colormap is None:
        return None
    palette = np.asarray(page.colormap)
    if palette.max(initial=0) > 255:  # 16 bits by the standard; some programs write 8
        palette = palette >> 8
    colours = palette.T.astype(np.uint8)
    brightness = colours.astype(float) @ (0.299, 0.587, 0.114)
    if (np.diff(brightness) >= 0).all():
        return None
    return lambda values: colours[values]
