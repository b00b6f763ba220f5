"""The image of a large run: opened where it is needed, in this process or another."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import PlaneSource, Window
from ..errors import ParameterError
from ..formats import ImageData, read_image
from ..formats.images import image_data
from ..formats.marks import region_marks
from ..formats.ome_zarr import locate

_PLANES_SAMPLED = 5
_HELD_ARRAY = 16 << 20


@dataclass(frozen=True)
class LargeImage:
    """An image of any size and number of planes, read window by window.

    A path or URL travels to other processes as such and is opened there; arrays travel as they
    are, which for Zarr and Dask arrays is their description.

    Parameters
    ----------
    source : str or ImageData
        Path or URL, or arrays with their axes.
    axes : str, optional
        A letter per dimension, in place of those in the file.
    channel_axis : int, optional
        Axis of the channels, in place of what axes say.
    channels : tuple of int, optional
        Channels in use.
    contrast_limits : object
        As `resolve_contrast_limits` takes them; pairs of numbers once a run has settled them.
    token : str
        Of the run: within a run a process opens the image once.
    """

    source: str | ImageData
    axes: str | None = None
    channel_axis: int | None = None
    channels: tuple[int, ...] | None = None
    contrast_limits: Any = "auto"
    token: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        # cached properties do not travel
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
        """Take an image as users give it; parameters are those of `segment_large`."""
        source: str | ImageData
        if isinstance(image, (str, os.PathLike)):
            source = locate(os.fspath(image))
        else:  # pixels in memory need not be those of the file any more
            source = replace(image_data(image, axes, channel_axis), files=())
            axes = source.axes
        wanted = None if channels is None else tuple(int(c) for c in channels)
        return cls(source, axes, channel_axis, wanted, contrast_limits)

    @cached_property
    def data(self) -> ImageData:
        """The image with axes, scale and units."""
        if isinstance(self.source, ImageData):
            return self.source
        return read_image(self.source, axes=self.axes, lazy=_lazy(self.source))

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
        """Return a number for each window of a plane, which changes when the pixels are written.

        No pixels are read; see `region_marks`.

        Parameters
        ----------
        places : iterable of (tuple of int, Window)
            Planes by their indices, and windows in them.

        Returns
        -------
        list of int
            0 where the storage does not tell.
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

    def check_portable(self) -> None:
        """Check that the image can be sent to other processes.

        Raises
        ------
        ParameterError
            If it holds more pixels in this process's memory than should travel with each tile.
        """
        levels = () if isinstance(self.source, str) else self.planes.levels
        size = sum(level.nbytes for level in levels if isinstance(level, np.ndarray))
        if size > _HELD_ARRAY:
            raise ParameterError(
                f"an array in this process's memory ({size >> 20} MiB) would travel with every "
                "tile: save it as Zarr where all workers reach it, and give its path"
            )

    def settle_contrast(self) -> tuple[tuple[float, float], ...]:
        """Settle the contrast limits, once for all planes and windows.

        Limits that are not numbers are estimated on up to five planes, evenly spread, and the
        median taken: one empty or saturated plane does not decide.
        """
        source = self.planes
        total = math.prod(source.plane_shape)
        places = sorted({round(p) for p in np.linspace(0, total - 1, min(total, _PLANES_SAMPLED))})
        planes = [tuple(map(int, np.unravel_index(p, source.plane_shape or (1,)))) for p in places]
        found = source.sampled_limits([plane[: source.ndim_planes] for plane in planes])
        return tuple(
            (float(low), float(max(high, np.nextafter(low, np.inf))))
            for low, high in np.median(found, axis=0)
        )


@lru_cache(maxsize=4)
def _arrived(*given: Any) -> LargeImage:
    """Return the image that came from another process, the same one every time."""
    return LargeImage(*given)


def _lazy(source: str) -> bool | None:
    suffix = Path(source).suffix.lower()
    return None if suffix in (".png", ".jpg", ".jpeg", ".bmp", ".npz") else True
