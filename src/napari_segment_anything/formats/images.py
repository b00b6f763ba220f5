"""Read images: TIFF (OME, ImageJ, plain), PNG, JPEG, NPY, NPZ, Zarr and OME-Zarr.

Large files stay on disk and are read on indexing. Axes and pixel sizes come from the metadata of
the file; without any, axes are derived from the shape (see `guess_axes`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from ..reading import is_url, require, require_file
from ..wording import extent
from .plane_array import PlaneArray

AXES = "TZCYXSQ"
LAZY_ABOVE = 256 * 2**20
TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".svs", ".ndpi", ".qptiff")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_INSTRUMENT_SUFFIXES = (".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi", ".ims", ".dv", ".mrc")
_UNITS = {
    "µm": "micrometer", "μm": "micrometer", "um": "micrometer", "micron": "micrometer",
    "microns": "micrometer", "\\u00b5m": "micrometer", "micrometre": "micrometer",
    "nm": "nanometer", "mm": "millimeter", "cm": "centimeter", "m": "meter", "å": "angstrom",
    "s": "second", "sec": "second", "ms": "millisecond", "min": "minute", "h": "hour",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """An image as stored in a file, with the metadata of the file.

    Parameters
    ----------
    array : array-like
        NumPy array, or a lazy one with ``shape``, ``dtype`` and ``__getitem__`` (a Zarr array or
        a memory map) where the file is large.
    axes : str
        A letter per dimension: T time, Z depth, C channel, Y row, X column, S colour sample
        (red, green, blue and perhaps alpha, always last), Q a stack of unknown meaning.
    channel_axis : int or None
        Position of C.
    rgb : bool
        Whether the last axis holds colour samples.
    scale : tuple of float
        Pixel size along each dimension; 1.0 where unknown.
    units : tuple of (str or None)
        Unit of each scale, by its full name ("micrometer"); None where unknown.
    name : str
        The file's name without its suffix.
    levels : tuple of array-like
        The image pyramid, full resolution first; only ``array`` if there is none.
    path : Path, str or None
        Where the image came from; a URL is a str.
    files : tuple of Path
        The files that contain the pixels; () for Zarr and for arrays in memory.
    """

    array: Any
    axes: str
    channel_axis: int | None
    rgb: bool
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    name: str
    levels: tuple[Any, ...] = ()
    path: str | Path | None = None
    files: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        return f"<ImageData {self.name}: {self.axes} {extent(self.shape)} {self.array.dtype}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full-resolution array."""
        return tuple(int(n) for n in self.array.shape)

    @property
    def lazy(self) -> bool:
        """Whether pixels are on disk."""
        return not isinstance(self.array, np.ndarray) or isinstance(self.array, np.memmap)

    @property
    def stack_axes(self) -> str:
        """The axes, T, Z or Q, along which the image is a stack of planes, in order."""
        return "".join(a for a in self.axes if a in "TZQ")

    @property
    def pixel_size(self) -> tuple[float, float]:
        """(row, column) pixel size."""
        return self.scale[self.axes.index("Y")], self.scale[self.axes.index("X")]

    def plane(self, **index: int) -> ImageData:
        """Select one plane of a stack.

        Parameters
        ----------
        **index : int
            Index along each stack axis, such as ``plane(T=0, Z=5)``; negative numbers count from
            the end. An axis of length one may be omitted.

        Returns
        -------
        ImageData
            The plane with axes YX, CYX or YXS; in memory.

        Raises
        ------
        ImageError
            If a stack axis is missing or unknown, or an index is out of range.
        """
        return self._plane(index, lazy=False)

    def lazy_plane(self, **index: int) -> ImageData:
        """Select one plane of a stack, as `plane`; pixels on disk stay there, with all levels."""
        return self._plane(index, lazy=self.lazy)

    def _plane(self, index: Mapping[str, int], lazy: bool) -> ImageData:
        for axis in index:
            if axis not in self.stack_axes:
                raise ImageError(f"{self.name} has no stack axis {axis}; its axes are {self.axes}.")
        where: list[int | slice] = []
        for axis, length in zip(self.axes, self.shape, strict=True):
            if axis not in "TZQ":
                where.append(slice(None))
                continue
            if axis not in index and length > 1:
                raise ImageError(
                    f"{self.name} is a stack: axes {self.axes}, shape {self.shape}. "
                    f"Choose one plane of axis {axis}, 0 to {length - 1}."
                )
            number = int(index.get(axis, 0))
            if not -length <= number < length:
                raise ImageError(
                    f"{self.name} has planes 0 to {length - 1} along axis {axis}; got {number}."
                )
            where.append(number % length)
        keep = [i for i, axis in enumerate(self.axes) if axis not in "TZQ"]
        if len(keep) == len(self.axes):
            return self
        axes = "".join(self.axes[i] for i in keep)
        if lazy:
            levels = tuple(
                PlaneArray.of(level, where, self.shape) for level in self.levels or (self.array,)
            )
        else:
            levels = (_read(self.array[tuple(where)]),)
        return replace(
            self,
            array=levels[0],
            axes=axes,
            channel_axis=axes.index("C") if "C" in axes else None,
            scale=tuple(self.scale[i] for i in keep),
            units=tuple(self.units[i] for i in keep),
            levels=levels if len(levels) > 1 else (),
        )


def _read(array: Any) -> Any:
    return np.asarray(array) if not isinstance(array, np.memmap) else np.array(array)


def read_image(
    path: str | Path,
    *,
    axes: str | None = None,
    series: int = 0,
    key: str | None = None,
    lazy: bool | None = None,
) -> ImageData:
    """Read an image file, or open it lazily if it is large.

    Parameters
    ----------
    path : str or Path
        TIFF (with OME, ImageJ or no metadata), PNG, JPEG, BMP, NPY, NPZ, or the folder of a Zarr
        array or OME-Zarr image (also of a part of a store, such as ``plate.zarr/A/1/0``). Zarr
        may also be given by a URL that fsspec supports: ``s3://``, ``https://``, ``memory://`` ...
    axes : str, optional
        A letter for each dimension, such as "ZYX" or "CYX", instead of those in the file.
    series : int
        Index of the image in a file with several (TIFF series, multi-image Zarr).
    key : str, optional
        Name of the array in an NPZ file ("image" unless given) or in a Zarr group.
    lazy : bool, optional
        Leave pixels on disk. By default, files above 256 MiB and all Zarr images are lazy.

    Returns
    -------
    ImageData
        The array with its axes, channel axis, pixel size and units.

    Raises
    ------
    ImageError
        If the file is missing, truncated, corrupt, empty or of an unknown format, or its axes
        are not those of an image.

    Notes
    -----
    The orientation tag of JPEG files is ignored, so that coordinates agree with other programs.
    Palette images become RGB, bilevel ones 0 and 255. A TIFF whose palette only gets brighter
    keeps its values, which are measurements. Where zero is white in a TIFF, values are inverted.
    """
    return open_file(path, axes, series, key, lazy)


def open_file(
    path: str | Path,
    axes: str | None = None,
    series: int = 0,
    key: str | None = None,
    lazy: bool | None = None,
    *,
    stored: bool = False,
) -> ImageData:
    """Read a file as `read_image` does; with `stored`, TIFF values are not mapped.

    Parameters
    ----------
    path, axes, series, key, lazy
        As for `read_image`.
    stored : bool
        Return TIFF values unchanged, without applying a palette.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    require(path, (str, Path), "an image's path", "give a text or a Path; arrays need no reading")
    from . import _readers, zarr_images
    from ._stores import locate, short_name

    if is_url(path):
        location = locate(path)
        if is_url(location):
            if location.lower().endswith((*TIFF_SUFFIXES, *PICTURE_SUFFIXES, ".npy", ".npz")):
                raise ImageError(f"{location}: only Zarr is read by URL; download the file.")
            found = zarr_images.read_zarr(location, series, key, lazy)
            return _finish(location, short_name(location), found, axes)
        path = location
    path = Path(path).expanduser()
    if not path.exists():
        raise ImageError(f"{path} does not exist.")
    suffix = path.suffix.lower()
    if path.is_dir():
        found = zarr_images.read_zarr(str(path), series, key, lazy)
    elif not require_file(path, "image", ImageError).stat().st_size:
        raise ImageError(f"{path} is empty (0 bytes).")
    elif suffix in TIFF_SUFFIXES:
        found = _readers.read_tiff(path, series, lazy, stored)
    elif suffix in PICTURE_SUFFIXES:
        found = _readers.read_picture(path)
    elif suffix == ".npy":
        found = _readers.read_npy(path, lazy)
    elif suffix == ".npz":
        found = _readers.read_npz(path, key)
    elif suffix in _INSTRUMENT_SUFFIXES:
        raise ImageError(
            f"{path.name}: {suffix} files are not supported; open the file in napari with a reader "
            "plugin for its format, or export it as OME-TIFF or OME-Zarr."
        )
    else:
        raise ImageError(
            f"{path.name} has an unknown format; use TIFF, PNG, JPEG, NPY, NPZ or Zarr."
        )
    return _finish(path, path.name.removesuffix(path.suffix).removesuffix(".ome"), found, axes)


def _finish(path: str | Path, name: str, found: Any, axes: str | None) -> ImageData:
    where = path if isinstance(path, str) else path.name
    array, levels = found.levels[0], found.levels
    dtype, shape = np.dtype(array.dtype), tuple(int(n) for n in array.shape)
    if dtype.kind not in "uifb":
        raise ImageError(f"{where} has {dtype} values; images are integers or floats.")
    if 0 in shape:
        raise ImageError(f"{where} has no pixels: its shape is {shape}.")
    scale, units = found.scale, found.units
    if axes is not None:
        given = axes.upper()
        if len(given) != len(shape):
            raise ImageError(
                f"Axes '{axes}' name {len(given)} dimensions, "
                f"but {where} has {len(shape)}: shape {shape}."
            )
        if found.axes is None or sorted(given) != sorted(found.axes):
            scale = units = None
        elif scale is not None:
            order = [found.axes.index(a) for a in given]
            scale = [scale[i] for i in order]
            units = None if units is None else [units[i] for i in order]
    else:
        given = found.axes or guess_axes(shape, where)
    check_axes(given, shape, where)
    if isinstance(array, np.ndarray) and dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
        levels = (array,)
    if "S" in given and given[-1] != "S":
        raise ImageError(
            f"{where} has axes {given}; colour samples (S) must be last. "
            f"Name them as channels instead: '{given.replace('S', 'C')}'."
        )
    units = tuple(_unit(u) for u in units) if units else (None,) * len(given)
    return ImageData(
        array=array,
        axes=given,
        channel_axis=given.index("C") if "C" in given else None,
        rgb="S" in given,
        scale=tuple(float(s) for s in scale) if scale else (1.0,) * len(given),
        units=units,
        name=name,
        levels=tuple(levels),
        path=path,
        files=found.files or ((path,) if isinstance(path, Path) and path.is_file() else ()),
    )


def image_data(
    image: Any,
    axes: str | None = None,
    channel_axis: int | None = None,
    *,
    guess: Callable[[Sequence[int]], str] | None = None,
    lazy: bool | None = None,
) -> ImageData:
    """Return an image, in any form that users give it in, with its axes.

    Parameters
    ----------
    image : ImageData, str, Path, array-like or sequence of array-like
        As it is; a path or URL, as for `read_image`; an array with shape, dtype and indexing; or
        the levels of a pyramid, the full resolution first.
    axes : str, optional
        A letter for each dimension, instead of those in the file or derived from the shape.
    channel_axis : int, optional
        Axis of the channels of an array without `axes`.
    guess : callable, optional
        From the shape of an array, without its channels, to its axes; `guess_axes` by default.
    lazy : bool, optional
        As for `read_image`.

    Raises
    ------
    ImageError
        If it is none of these, or axes do not fit.
    """
    if isinstance(image, ImageData):
        if axes is None or axes.upper() == image.axes:
            return image
        known, image = image, image.levels or (image.array,)
        found = image_data(image, axes)
        return replace(known, axes=found.axes, channel_axis=found.channel_axis, rgb=found.rgb)
    if isinstance(image, (str, os.PathLike)):
        return read_image(os.fspath(image), axes=axes, lazy=lazy)
    several = isinstance(image, Sequence) and not hasattr(image, "shape")
    levels = tuple(image) if several else (image,)
    if not levels or not all(hasattr(level, "shape") for level in levels):
        raise ImageError("give an image as a path, an array, or a list of pyramid levels")
    shape = [int(n) for n in levels[0].shape]
    guess = guess or guess_axes
    if axes is not None:
        letters = axes.upper()
    elif channel_axis is None:
        letters = guess(shape)
    else:
        if not -len(shape) <= channel_axis < len(shape):
            raise ImageError(f"channel_axis {channel_axis} does not exist in {len(shape)} axes")
        at = channel_axis % len(shape)
        rest = guess([n for i, n in enumerate(shape) if i != at])
        letters = rest[:at] + "C" + rest[at:]
    if len(letters) != len(shape):
        raise ImageError(
            f"axes '{letters}' name {len(letters)} dimensions; the image has the shape "
            f"{tuple(shape)}"
        )
    check_axes(letters, shape)
    return ImageData(
        array=levels[0],
        axes=letters,
        channel_axis=letters.index("C") if "C" in letters else None,
        rgb="S" in letters,
        scale=(1.0,) * len(shape),
        units=(None,) * len(shape),
        name="image",
        levels=levels,
    )


def guess_axes(shape: Sequence[int], name: str = "The array") -> str:
    """Derive the axes of an array without metadata.

    (rows, columns) is YX; a last dimension of 3 or 4 makes YXS (colour); any other first
    dimension of three is Q, a stack of unknown meaning.

    Parameters
    ----------
    shape : sequence of int
    name : str
        Start of messages.

    Raises
    ------
    ImageError
        If there are fewer than two dimensions, or too many to tell.
    """
    n = len(shape)
    colour = n >= 3 and shape[-1] in (3, 4)
    if n == 2:
        return "YX"
    if n == 3:
        return "YXS" if colour else "QYX"
    if n == 4 and colour:
        return "QYXS"
    if n < 2:
        raise ImageError(f"{name} has shape {tuple(shape)}; an image has at least two dimensions.")
    raise ImageError(
        f"{name} has {n} dimensions, shape {tuple(shape)}, of unknown meaning: give its axes, such "
        "as 'TZYX' or 'CZYX'."
    )


def check_axes(axes: str, shape: Sequence[int], name: str = "The array") -> None:
    """Raise `ImageError` unless `axes` are a valid letter for each dimension.

    Parameters
    ----------
    axes : str
        A letter for each dimension.
    shape : sequence of int
    name : str
        Start of messages.
    """
    unknown = sorted(set(axes) - set(AXES))
    if unknown:
        raise ImageError(f"{name}: axis '{unknown[0]}' is not one of T, Z, C, Y, X, S and Q.")
    if len(set(axes)) != len(axes):
        raise ImageError(f"{name}: axes '{axes}' name a dimension twice.")
    if "Y" not in axes or "X" not in axes or axes.index("X") < axes.index("Y"):
        raise ImageError(f"{name}: axes '{axes}' need Y (rows) and, after it, X (columns).")
    if "S" in axes and shape[axes.index("S")] not in (3, 4):
        raise ImageError(
            f"{name}: colour samples are 3 (RGB) or 4 (RGBA); "
            f"got {shape[axes.index('S')]}. Name other channels C."
        )
    if "S" in axes and "C" in axes:
        raise ImageError(f"{name}: axes '{axes}' have both channels and colour samples.")


def _unit(name: str | None) -> str | None:
    if not name:
        return None
    name = name.strip()
    return _UNITS.get(name.lower(), name.lower() if name.lower() not in ("pixel", "none") else None)
