"""One reader per file format, returning arrays with the axes and pixel sizes of the file."""

from __future__ import annotations

import warnings
import weakref
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError
from ._archives import check_header, open_npz
from ._stores import line
from .images import LAZY_ABOVE

_NEEDS_CODEC = "{} is compressed with {}, which needs another package: pip install imagecodecs."


@dataclass(slots=True)
class FileContent:
    """Content of a file: pyramid levels, with axes, scale and units where the file has them.

    `files` are given if an image consists of several.
    """

    levels: tuple[Any, ...]
    axes: str | None = None
    scale: list[float] | None = None
    units: list[str | None] | None = None
    files: tuple[Path, ...] = ()


def read_tiff(path: Path, series: int, lazy: bool | None, stored: bool = False) -> FileContent:
    """Read one series of a TIFF file, with axes from OME, ImageJ or the pages themselves.

    With `stored`, values are returned as they are in the file, without applying a palette.
    """
    import tifffile

    from ._tiff import Mapped, check_whole, meaning

    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise ImageError(f"{path.name} is a TIFF file without images.")
            chosen = choose(file.series, series, path.name)
            axes, scale, units = _tiff_axes(file, chosen, tifffile)
            check_whole(file, chosen, path)
            shown = None if stored else meaning(chosen.keyframe, path)
            files = tuple(sorted({Path(page.parent.filehandle.path) for page in chosen.pages}))
            if lazy or (lazy is None and chosen.nbytes > LAZY_ABOVE):
                levels = _tiff_levels(path, series, len(chosen.levels))
                if shown is not None:
                    levels = tuple(Mapped(level, shown) for level in levels)
                    axes = _with_colours(axes, levels[0], chosen)
                return FileContent(levels, axes, scale, units, files)
            array = _tiff_pixels(chosen, path)
            if shown is not None:
                array = shown(array)
                axes = _with_colours(axes, array, chosen)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{path.name} does not fit into memory; convert it to Zarr.") from error
    except Exception as error:  # tifffile raises many types of errors for damaged files
        raise ImageError(f"{path.name} cannot be read as TIFF: {line(error)}") from error
    if axes is not None and "S" in axes and axes[-1] != "S":
        at = axes.index("S")
        array = np.ascontiguousarray(np.moveaxis(array, at, -1))
        axes = axes[:at] + axes[at + 1 :] + "S"
    return FileContent((array,), axes, scale, units, files)


def _with_colours(axes: str | None, array: Any, chosen: Any) -> str | None:
    """Add the colour axis that a palette adds."""
    return f"{axes}S" if axes is not None and len(array.shape) > len(chosen.shape) else axes


def _tiff_pixels(chosen: Any, path: Path) -> Any:
    try:
        return chosen.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    # Baseline JPEG and LZW need a codec package that may be missing; Pillow supports both.
    from PIL import Image

    page = chosen.keyframe
    if len(chosen.pages) == 1 and page.dtype == np.uint8 and page.samplesperpixel in (1, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.seek(page.index)
                colour = page.samplesperpixel == 3
                array = np.asarray(picture.convert("RGB") if colour else picture)
                if int(page.photometric) == 0:  # Pillow has inverted it already
                    array = 255 - array
        if array.shape == tuple(chosen.shape):
            return array
    raise ImageError(_NEEDS_CODEC.format(path.name, _name(page.compression)))


def _tiff_levels(path: Path, series: int, count: int) -> tuple[Any, ...]:
    import tifffile
    import zarr

    levels = []
    for level in range(count):
        file = tifffile.TiffFile(path)
        array = zarr.open_array(file.series[series].aszarr(level=level), mode="r")
        # The array reads from the file as long as it exists, and nothing else closes it.
        weakref.finalize(array, file.close)
        levels.append(array)
    try:
        levels[0][(0,) * levels[0].ndim]
    except ValueError as error:  # fail now instead of at a later read
        if "imagecodecs" not in str(error):
            raise
        raise ImageError(_NEEDS_CODEC.format(path.name, line(error))) from error
    return tuple(levels)


def _tiff_axes(
    file: Any, chosen: Any, tifffile: Any
) -> tuple[str | None, list[float] | None, list[str | None] | None]:
    axes = chosen.axes.upper()
    # I is a sequence of pages or files; Q and others are dimensions without a meaning.
    named = "".join(a if a in "TZCYXS" else "Q" for a in axes)
    if named.count("Q") > 1:
        return None, None, None
    if "S" in named and chosen.shape[named.index("S")] not in (3, 4):
        if "C" in named:
            return None, None, None
        named = named.replace("S", "C")
    sizes: dict[str, tuple[float, str | None]] = {}
    if file.is_ome and file.ome_metadata:
        sizes = _ome_sizes(file.ome_metadata, file.series.index(chosen), tifffile)
    elif file.is_imagej:
        sizes = _imagej_sizes(file)
    if not sizes:
        return named, None, None
    scale = [sizes.get(a, (1.0, None))[0] for a in named]
    return named, scale, [sizes.get(a, (1.0, None))[1] for a in named]


def _ome_sizes(xml: str, series: int, tifffile: Any) -> dict[str, tuple[float, str | None]]:
    images = tifffile.xml2dict(xml).get("OME", {}).get("Image", [])
    images = images if isinstance(images, list) else [images]
    if series >= len(images):
        return {}
    pixels = images[series].get("Pixels", {})
    sizes = {}
    for axis in "XYZ":
        value = pixels.get(f"PhysicalSize{axis}")
        if _positive(value):
            unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
            sizes[axis] = (float(value), unit)
    if _positive(pixels.get("TimeIncrement")):
        sizes["T"] = (float(pixels["TimeIncrement"]), pixels.get("TimeIncrementUnit", "s"))
    return sizes


def _imagej_sizes(file: Any) -> dict[str, tuple[float, str | None]]:
    metadata = file.imagej_metadata or {}
    unit = metadata.get("unit")
    if unit in (None, "pixel", "inch", "null"):
        return {}
    sizes = {}
    tags = file.pages[0].tags
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        if tag in tags and tags[tag].value[0]:
            numerator, denominator = tags[tag].value
            sizes[axis] = (denominator / numerator, unit)
    if _positive(metadata.get("spacing")):
        sizes["Z"] = (float(metadata["spacing"]), unit)
    if _positive(metadata.get("finterval")):
        sizes["T"] = (float(metadata["finterval"]), metadata.get("tunit", "s"))
    return sizes


def read_picture(path: Path) -> FileContent:
    """Read a PNG, JPEG or BMP picture as it is stored."""
    from PIL import Image, UnidentifiedImageError

    with path.open("rb") as file:
        head = file.read(26)
    deep = head.startswith(b"\x89PNG") and head[24:25] == b"\x10"
    if deep and head[25:26] != b"\0":
        raise ImageError(
            f"{path.name} is a PNG with 16-bit colours, which would be reduced to 8 bits; "
            "save it as TIFF."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if getattr(picture, "n_frames", 1) > 1:
                    raise ImageError(f"{path.name} is an animation; save its frames as TIFF.")
                picture.load()
                array = np.array(_plain(picture))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path.name} is too large for a picture; use TIFF or Zarr.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path.name} is damaged, or not what its name says.") from error
    except (OSError, SyntaxError, ValueError, zlib.error, EOFError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path.name} cannot be read: {line(error)}") from error
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    return FileContent((array,), "YX" if array.ndim == 2 else "YXS")


def _plain(picture: Any) -> Any:
    """Convert modes other than grey and RGB(A) to one of these."""
    alpha = picture.mode in ("PA", "LA", "La", "RGBa") or "transparency" in picture.info
    if alpha or picture.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV"):
        return picture.convert("RGBA" if alpha else "RGB")
    return picture.convert("L") if picture.mode == "1" else picture


def read_npy(path: Path, lazy: bool | None) -> FileContent:
    """Read or memory-map a NumPy file."""
    size = path.stat().st_size
    if lazy is None:
        lazy = size > LAZY_ABOVE
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise ImageError(f"{path.name} is an archive of arrays; rename it to .npz.")
        file.seek(0)
        check_header(file, size, path.name)
    try:
        array = np.load(path, mmap_mode="r" if lazy else None, allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise ImageError(f"{path.name} cannot be read as NPY: {line(error)}") from error
    return FileContent((array,))


def read_npz(path: Path, key: str | None) -> FileContent:
    """Read one array of a NumPy archive."""
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise ImageError(f"{path.name} is not an archive of arrays; rename it to .npy.")
    with open_npz(path) as archive:
        return FileContent((archive[pick(list(archive.files), key, path.name)],))


def choose(items: Any, number: int, name: str) -> Any:
    if not -len(items) <= number < len(items):
        raise ImageError(f"{name} has {len(items)} images (0 first); there is no image {number}.")
    return items[number]


def pick(names: list[str], key: str | None, name: str) -> str:
    if key is None and len(names) == 1:
        return names[0]
    wanted = "image" if key is None else key
    if wanted in names:
        return wanted
    if not names:
        raise ImageError(f"{name} contains no array.")
    raise ImageError(f"{name} has no array '{wanted}'; it has {', '.join(names[:8])}.")


def _positive(value: Any) -> bool:
    try:
        return float(value) > 0
    except (TypeError, ValueError):
        return False


def _name(compression: Any) -> str:
    import tifffile

    try:
        return str(tifffile.COMPRESSION(compression).name)
    except ValueError:
        return str(compression)
