"""Write images and labels as OME-TIFF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..limits import ARRAY_BYTES
from .atomic import replacing
from .images import ImageData


def write_tiff(
    path: Path,
    array: NDArray[Any],
    axes: str,
    scale: Sequence[float] | None = None,
    units: Sequence[str | None] | None = None,
) -> None:
    """Write an array as OME-TIFF, zlib-compressed.

    Parameters
    ----------
    path : Path
    array : array
    axes : str
        A letter for each dimension: T, Z, C, Y, X, or S for colour samples.
    scale : sequence of float, optional
        Pixel size along each dimension.
    units : sequence of (str or None), optional
        Unit of each, such as "micrometer".

    Raises
    ------
    FormatError
        If it cannot be written.
    """
    import tifffile

    metadata: dict[str, Any] = {"axes": axes}
    if scale is not None:
        for axis, size, unit in zip(axes, scale, units or [None] * len(axes), strict=True):
            if axis == "T":
                metadata["TimeIncrement"] = size
                metadata["TimeIncrementUnit"] = "s"
            elif axis in "ZYX":
                metadata[f"PhysicalSize{axis}"] = size
                metadata[f"PhysicalSize{axis}Unit"] = _symbol(unit)
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            array,
            ome=True,
            metadata=metadata,
            compression="zlib",
            photometric="rgb" if axes.endswith("S") else "minisblack",
        )


def write_image(path: Path, data: ImageData, channels: Sequence[int] | None = None) -> None:
    """Write an image as OME-TIFF, with its axes and pixel size.

    Parameters
    ----------
    path : Path
    data : ImageData
        It is read whole.
    channels : sequence of int, optional
        The channels to write; all by default.

    Raises
    ------
    ImageError
        If it is too large for memory, or has no such channel.
    FormatError
        If it cannot be written.
    """
    size = int(np.prod(data.shape, dtype=np.int64)) * np.dtype(data.array.dtype).itemsize
    ARRAY_BYTES.check(size, f"the image {data.name} does not fit into memory", ImageError)
    array, axes = np.asarray(data.array[...]), data.axes
    scale, units = list(data.scale), list(data.units)
    if channels is not None:
        at = data.channel_axis if not data.rgb else axes.index("S")
        count = 0 if at is None else array.shape[at]
        if at is None or not all(0 <= channel < count for channel in channels):
            raise ImageError(f"{data.name} has {count} channels, none of number {channels}")
        array = np.take(array, channels, at)
        if len(channels) == 1:
            array = array.squeeze(at)
            axes = axes[:at] + axes[at + 1 :]
            del scale[at], units[at]
        elif data.rgb:
            axes = axes.replace("S", "C")
    write_tiff(path, array, axes, scale, units)


def _symbol(unit: str | None) -> str:
    names = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm",
             "meter": "m", "angstrom": "Å", None: "pixel"}  # fmt: skip
    return names.get(unit, str(unit))
