"""Label images in files: TIFF, PNG, NPY, NPZ and plain Zarr."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FormatError, ImageError
from ..limits import ARRAY_BYTES
from ..reading import is_url, require_file
from ._stores import locate, open_node, store_errors
from .atomic import replacing, staging
from .tiff_writing import write_tiff

if TYPE_CHECKING:
    from .ome_zarr import LabelsGroup

LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".npz", ".zarr")


def write_labels(
    path: str | Path,
    labels: ArrayLike,
    *,
    axes: str | None = None,
    scale: Sequence[float] | None = None,
    unit: str | None = None,
) -> None:
    """Write a label image, in the format given by the file's suffix.

    Parameters
    ----------
    path : str or Path
        ``.tif`` (OME-TIFF with axes and pixel size, zlib-compressed), ``.png`` (2-D, up to 65535
        labels), ``.npy``, ``.npz`` (key "labels"), ``.ome.zarr`` (into ``labels/segment_anything``
        of that store, which may be an image's own), or else ``.zarr`` (a plain Zarr array).
    labels : integer array
        0 is background. 2 to 4 dimensions.
    axes : str, optional
        A letter for each dimension from T, Z, Y, X; by default YX, ZYX or TZYX.
    scale : sequence of float, optional
        Pixel size along each dimension.
    unit : str, optional
        Unit of Z, Y and X such as "micrometer"; T is in seconds.

    Raises
    ------
    FormatError
        If labels are negative or not integers, not supported by the format, or cannot be
        written.
    """
    path = Path(path)
    array = _checked(labels)
    axes = {2: "YX", 3: "ZYX", 4: "TZYX"}[array.ndim] if axes is None else axes.upper()
    if len(axes) != array.ndim or set(axes) - set("TZYX") or len(set(axes)) != len(axes):
        raise FormatError(f"Axes '{axes}' do not match the {array.ndim} dimensions of the labels.")
    sizes = tuple(1.0 for _ in axes) if scale is None else tuple(float(s) for s in scale)
    if len(sizes) != array.ndim:
        raise FormatError(f"{len(sizes)} pixel sizes for {array.ndim} dimensions.")
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        if array.dtype == np.uint64:
            raise FormatError("OME-TIFF supports ids up to 2^32 - 1; write .npy or .zarr instead.")
        units = ["second" if axis == "T" else unit for axis in axes]
        write_tiff(path, array, axes, sizes if scale is not None else None, units)
    elif suffix == ".png":
        _write_png(path, array)
    elif suffix == ".npy":
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)
    elif suffix == ".npz":
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, labels=array)
    elif path.name.lower().endswith(".ome.zarr"):
        units = ["second" if axis == "T" else unit for axis in axes]
        known = scale is not None
        _write_ome_zarr(path, array, axes, sizes if known else None, units if known else None)
    elif suffix == ".zarr":
        _write_zarr(path, array, axes)
    else:
        raise FormatError(f"{path.name}: labels can be written as {', '.join(LABEL_SUFFIXES)}.")


def read_labels(path: str | Path) -> NDArray[Any]:
    """Read a label image: TIFF and PNG (also with a palette), NPY, NPZ or Zarr.

    If an OME-Zarr image or store has one label image, it is read; if it has several, give the
    path of one, ``image.ome.zarr/labels/cells``.

    Returns
    -------
    unsigned integer array
        The ids in the file, in the smallest dtype that holds them.

    Raises
    ------
    FormatError
        If the file is missing or damaged, or does not contain labels.
    """
    from .images import open_file

    group = _label_group(path)
    if group is not None:
        ARRAY_BYTES.check(group.array.nbytes, f"the labels {path} do not fit into memory")
        return _checked(group.array[...])
    path = path if is_url(path) else Path(path)
    if isinstance(path, Path) and path.suffix.lower() == ".png":
        return _checked(_read_png(path))
    key = None
    if isinstance(path, Path) and path.suffix.lower() == ".npz" and path.exists():
        key = "labels"
    try:
        found = open_file(path, key=key, stored=True)
    except ImageError as error:
        raise FormatError(str(error)) from error
    size = math.prod(found.shape) * np.dtype(found.array.dtype).itemsize
    ARRAY_BYTES.check(size, f"the labels {path} do not fit into memory")
    return _checked(found.array[...])


def open_label_array(path: str | Path) -> Any:
    """Open a label image as an array; labels of OME-Zarr stores stay on disk.

    Parameters
    ----------
    path : str or Path
        As for `read_labels`.

    Raises
    ------
    FormatError
        As `read_labels`.
    """
    group = _label_group(path)
    return read_labels(path) if group is None else group.array


def _label_group(path: str | Path) -> LabelsGroup | None:
    """Labels in an OME-Zarr store; None for other files and folders."""
    from ._ngff import ome_attributes
    from .ome_zarr import label_names, open_labels

    if not is_url(path) and not Path(path).is_dir():
        return None
    node = open_node(locate(path))
    if not label_names(path) and (node is None or "image-label" not in ome_attributes(node)):
        return None
    group = open_labels(path)
    if not group.complete:
        warnings.warn(
            f"{group.path} is unfinished: the run that writes it was stopped, or is still running",
            stacklevel=3,
        )
    return group


def _checked(labels: ArrayLike) -> NDArray[Any]:
    array = np.asarray(labels)
    if array.dtype.kind == "f" and array.size and np.array_equal(array, np.round(array)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "uib":
        raise FormatError(
            f"Labels are integers with 0 as background; these are {_words(array.dtype)}."
        )
    if not 2 <= array.ndim <= 4 or not array.size:
        raise FormatError(f"Labels have 2 to 4 dimensions and pixels; got shape {array.shape}.")
    if array.dtype.kind == "i" and array.min() < 0:
        raise FormatError(f"Labels must not be negative; got {array.min()}.")
    return array.astype(np.min_scalar_type(int(array.max())), copy=False)


def _words(dtype: np.dtype[Any]) -> str:
    names = {"f": "fractions", "c": "complex numbers", "O": "Python objects"}
    return names.get(dtype.kind, f"of type {dtype}")


def _write_png(path: Path, array: NDArray[Any]) -> None:
    from PIL import Image

    if array.ndim != 2:
        raise FormatError("PNG supports a single plane; write a stack of labels as .tif.")
    if array.dtype.itemsize > 2:
        raise FormatError(f"PNG supports ids up to 65535; got {array.max()}. Write .tif instead.")
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")


def _read_png(path: Path) -> NDArray[Any]:
    from PIL import Image

    require_file(path, "PNG file")
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture.load()
            array = np.array(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path.name} cannot be read as PNG: {error}.") from error
    if array.ndim != 2:
        raise FormatError(f"{path.name} is a colour picture, not a label image.")
    return array


def _write_ome_zarr(
    path: Path,
    array: NDArray[Any],
    axes: str,
    scale: Sequence[float] | None,
    units: Sequence[str | None] | None,
) -> None:
    from ..progress import finish
    from .ome_zarr import create_labels

    def write(place: Path) -> None:
        labels = create_labels(
            place,
            shape=array.shape,
            axes=axes,
            dtype=array.dtype,
            scale=scale,
            units=units,
            overwrite=True,
        )
        with store_errors(path):
            labels.array[...] = array
            finish(labels.build_pyramid())

    if path.exists():  # it holds an image, which gets the labels
        write(path)
        return
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging(path.parent) as folder:
            write(folder / path.name)
            (folder / path.name).rename(path)


def _write_zarr(path: Path, array: NDArray[Any], axes: str) -> None:
    import zarr

    if path.exists():
        if not (path / "zarr.json").exists() and not (path / ".zarray").exists():
            raise FormatError(f"{path} exists and is not a Zarr array; choose another name.")
        if (path / "zarr.json").exists() and not isinstance(zarr.open(path, mode="r"), zarr.Array):
            raise FormatError(f"{path} is a Zarr group with other data; choose another name.")
    chunks = tuple(min(n, 512 if i >= array.ndim - 2 else 1) for i, n in enumerate(array.shape))
    names = tuple(axis.lower() for axis in axes)
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging(path.parent) as folder:
            made = folder / path.name
            zarr.create_array(made, data=array, chunks=chunks, dimension_names=names)
            if path.exists():
                shutil.rmtree(path)
            made.replace(path)
