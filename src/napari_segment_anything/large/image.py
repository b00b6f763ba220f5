"""The image of a large run: opened where it is needed, in this process or another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import PlaneSource, Window
from ..errors import ImageError
from ..formats import ImageData, read_image
from ..formats.marks import region_marks
from ..reading import require

_PLANES_SAMPLED = 5


@dataclass(frozen=True)
class LargeImage:
    """An image of any size and number of planes, read window by window.

    A path or URL travels to other processes as such and is opened there; arrays travel as they
    are, which for Zarr and Dask arrays is their description.

    Parameters
    ----------
    source : str or sequence of array-like
        Path, URL, or the pyramid's levels (a single array is a sequence of one).
    axes : str, optional
        A letter per dimension; for arrays without it, as `guess_axes` of `formats` says.
    channel_axis : int, optional
        Axis of the channels, in place of what axes say.
    channels : tuple of int, optional
        Channels in use.
    contrast_limits : object
        As `resolve_contrast_limits` takes them; pairs of numbers once a run has settled them.
    token : str
        Of the run: a process that meets the same image in the same run again need not open it
        again.
    scale, units : tuple, optional
        Pixel size along each dimension of arrays, and its units; files say these themselves.
    """

    source: Any
    axes: str | None = None
    channel_axis: int | None = None
    channels: tuple[int, ...] | None = None
    contrast_limits: Any = "auto"
    token: str = ""
    scale: tuple[float, ...] | None = None
    units: tuple[str | None, ...] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # what was opened stays here
        given = tuple(getattr(self, each.name) for each in fields(self))
        return (_arrived if isinstance(self.source, str) else LargeImage), given

    @classmethod
    def of(
        cls,
        image: Any,
        axes: str | None = None,
        channel_axis: int | None = None,
        channels: Sequence[int] | None = None,
        contrast_limits: Any = "auto",
    ) -> LargeImage:
        """Take an image as users give it: path, URL, array, pyramid levels, or `ImageData`."""
        scale = units = None
        if isinstance(image, ImageData):
            axes = image.axes if axes is None else axes
            scale, units = image.scale, image.units
            image = list(image.levels) or [image.array]
        if isinstance(image, (str, os.PathLike)):
            source: Any = os.fspath(image)
            if "://" not in source:
                source = str(Path(source).expanduser().absolute())
        elif hasattr(image, "shape"):
            source = (image,)
        else:
            require(image, (list, tuple), "an image", "give a path, an array, or pyramid levels")
            source = tuple(image)
            if not source or not all(hasattr(level, "shape") for level in source):
                raise ImageError("an image is a path, an array, or a list of pyramid levels")
        wanted = None if channels is None else tuple(int(c) for c in channels)
        return cls(source, axes, channel_axis, wanted, contrast_limits, "", scale, units)

    @cached_property
    def data(self) -> Any:
        """The image with axes, scale and units: an `ImageData`."""
        from ..formats.images import check_axes, guess_axes

        if isinstance(self.source, str):
            return read_image(self.source, axes=self.axes, lazy=_lazy(self.source))
        array = self.source[0]
        shape = tuple(int(n) for n in array.shape)
        axes = self.axes.upper() if self.axes else None
        if axes is None and self.channel_axis is not None:
            at = self.channel_axis % len(shape)
            rest = guess_axes([n for i, n in enumerate(shape) if i != at])
            axes = rest[:at] + "C" + rest[at:]
        if axes is None:
            axes = guess_axes(shape)
        if len(axes) != len(shape):
            raise ImageError(f"axes '{axes}' name {len(axes)} dimensions; the image is {shape}")
        check_axes(axes, shape)
        return ImageData(
            array=array,
            axes=axes,
            channel_axis=axes.index("C") if "C" in axes else None,
            rgb="S" in axes,
            scale=self.scale or (1.0,) * len(shape),
            units=self.units or (None,) * len(shape),
            name="image",
            levels=self.source,
        )

    @cached_property
    def planes(self) -> PlaneSource:
        """The image as planes."""
        data = self.data
        axis = data.channel_axis if self.channel_axis is None else self.channel_axis
        return PlaneSource(
            list(data.levels) or [data.array],
            displayed=(data.axes.index("Y"), data.axes.index("X")),
            channel_axis=axis,
            rgb=data.rgb,
            channels=self.channels,
            contrast_limits=self.contrast_limits,
            name=data.name,
            path=self.source if isinstance(self.source, str) else None,
        )

    @property
    def label_axes(self) -> tuple[int, ...]:
        """Axes of the image that its labels have: those of the planes, then rows and columns."""
        planes = self.planes
        rows, cols = planes.displayed
        gone = {rows, cols, len(self.data.axes) - 1 if self.data.rgb else planes.channel_axis}
        return (*(i for i in range(len(self.data.axes)) if i not in gone), rows, cols)

    def marks(self, places: Iterable[tuple[tuple[int, ...], Window]]) -> list[int]:
        """Return a number for each window of a plane: another one once it was written again.

        Nothing of the pixels is read; 0 where storage does not tell (see `region_marks`).
        """
        shape = self.planes.data_shape
        regions = []
        for plane, window in places:
            region = [slice(0, n) for n in shape]
            parts = (*(slice(i, i + 1) for i in plane), *window.slices)
            for axis, part in zip(self.label_axes, parts, strict=True):
                region[axis] = part
            regions.append(region)
        return region_marks(self.planes.levels[0], self.data.files, regions)

    def opened(self) -> dict[str, Any]:
        """Return how to open it again, as plain values; `image` is None for an array."""
        return {
            "image": self.source if isinstance(self.source, str) else None,
            "axes": self.axes,
            "channel_axis": self.channel_axis,
            "channels": None if self.channels is None else list(self.channels),
        }

    @property
    def pixel_size(self) -> tuple[list[float] | None, list[str | None] | None]:
        """Scale and units of the labels' dimensions; None where nothing is known."""
        data, kept = self.data, self.label_axes
        scale = [float(data.scale[i]) for i in kept]
        units = [data.units[i] for i in kept]
        known = any(units) or any(size != 1.0 for size in scale)
        return (scale, units) if known else (None, None)

    def settle_contrast(self) -> tuple[tuple[float, float], ...]:
        """Settle the contrast limits, once for all planes and windows.

        Limits that are not numbers are estimated on up to five planes, evenly spread, and the
        median taken: one empty or saturated plane does not decide.
        """
        source = self.planes
        total = int(np.prod(source.plane_shape, dtype=np.int64)) if source.plane_shape else 1
        places = sorted({round(p) for p in np.linspace(0, total - 1, min(total, _PLANES_SAMPLED))})
        found, problem = [], None
        for place in places:
            plane = tuple(int(i) for i in np.unravel_index(place, source.plane_shape or (1,)))
            try:
                arguments = source.embed_arguments(plane[: source.ndim_planes])
            except ImageError as error:  # a plane without a finite pixel
                problem = error
                continue
            found.append(arguments["contrast_limits"])
        if not found and problem is not None:
            raise problem
        middle = np.median(np.asarray(found, np.float64), axis=0)
        return tuple(
            (float(low), float(max(high, np.nextafter(low, np.inf)))) for low, high in middle
        )


@lru_cache(maxsize=4)
def _arrived(*given: Any) -> LargeImage:
    """Return the image that came from another process, the same one every time."""
    return LargeImage(*given)


def _lazy(source: str) -> bool | None:
    suffix = Path(source).suffix.lower()
    return None if suffix in (".png", ".jpg", ".jpeg", ".bmp", ".npz") else True
