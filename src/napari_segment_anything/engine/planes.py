"""An image of any number of dimensions as 2-D planes, read lazily."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import ImageError, PromptError
from .contrast import resolve_contrast_limits
from .image import open_image
from .windows import Window

_SAMPLE_SIDE = 64


class PlaneSource:
    """An image as 2-D planes. Nothing is read until it is needed, and then only a window.

    Parameters
    ----------
    levels : array-like, or sequence of array-likes
        Any array with shape, dtype and indexing (NumPy, zarr, dask, ...), or a pyramid of them,
        the full resolution first.
    displayed : (int, int), optional
        Axes of the data that are rows and columns of a plane, in any order; by default the last
        two that hold no channels.
    channel_axis : int, optional
        Axis that holds channels. It belongs to no plane: every plane has all channels.
    rgb : bool
        Whether the last axis holds red, green, blue (and alpha).
    channels : tuple of int, optional
        The channels to use.
    contrast_limits : "auto", "percentile", (low, high), or one such pair per channel
        As for `resolve_contrast_limits`; resolved once for a plane, never for a window.
    name : str
        To display.
    path : str, optional
        The file it came from.

    Raises
    ------
    ImageError
        If axes do not fit the data.
    """

    def __init__(
        self,
        levels: Any,
        *,
        displayed: tuple[int, int] | None = None,
        channel_axis: int | None = None,
        rgb: bool = False,
        channels: tuple[int, ...] | None = None,
        contrast_limits: Any = "auto",
        name: str = "",
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        several = isinstance(levels, Sequence) and not hasattr(levels, "shape")
        self.levels: tuple[Any, ...] = tuple(levels) if several else (levels,)
        if not self.levels or not all(hasattr(level, "shape") for level in self.levels):
            raise ImageError("an image is an array with shape, dtype and indexing")
        full = tuple(int(n) for n in self.levels[0].shape)
        self.data_shape = full
        ndim = len(full)
        for level in self.levels:
            if len(level.shape) != ndim:
                raise ImageError("the levels of a pyramid need the same axes")
        if rgb and channel_axis is not None:
            raise ImageError(
                "an RGB image has its channels on the last axis; leave out channel_axis"
            )
        if rgb and (ndim < 3 or full[-1] not in (3, 4)):
            raise ImageError(f"an RGB image ends with an axis of 3 or 4, not {full}")
        if channel_axis is not None and not -ndim <= channel_axis < ndim:
            raise ImageError(
                f"channel_axis {channel_axis} does not exist in an image of {ndim} axes"
            )
        self.rgb = bool(rgb)
        self.channel_axis = None if channel_axis is None else int(channel_axis) % ndim
        colour = ndim - 1 if rgb else self.channel_axis
        spatial = [axis for axis in range(ndim) if axis != colour]
        if len(spatial) < 2:
            raise ImageError(f"an image has rows and columns; this one has the shape {full}")
        if displayed is None:
            displayed = (spatial[-2], spatial[-1])
        wanted = tuple(int(axis) % ndim for axis in displayed)
        if len(wanted) != 2 or wanted[0] == wanted[1] or not set(wanted) <= set(spatial):
            raise ImageError(
                f"the displayed axes are two different ones of {spatial}, not {tuple(displayed)}"
            )
        self.displayed: tuple[int, int] = (wanted[0], wanted[1])
        self.channels = None if channels is None else tuple(int(c) for c in channels)
        self.contrast_limits = contrast_limits
        self.name = str(name)
        self.path = None if path is None else str(os.fspath(path))
        self._colour = colour
        self._others = tuple(axis for axis in spatial if axis not in self.displayed)
        self.shape: tuple[int, int] = (full[wanted[0]], full[wanted[1]])
        """Rows and columns of a plane, at full resolution."""
        self.plane_shape: tuple[int, ...] = tuple(full[axis] for axis in self._others)
        """Number of planes along each axis that is neither displayed nor holds channels."""
        self.ndim_planes = len(self._others)
        """Number of these axes."""
        self._limits: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()

    @property
    def plane_channel_axis(self) -> int | None:
        """Axis of a plane (see `image`) that holds channels; None without one, and for RGB."""
        if self.channel_axis is None:
            return None
        return 2 if self._channels_last else 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        dtype: np.dtype[Any] = np.dtype(self.levels[0].dtype)
        return dtype

    def check_plane(self, plane: Sequence[int]) -> tuple[int, ...]:
        """Return a plane's indices as a tuple of int.

        Raises
        ------
        PromptError
            If the image has no such plane.
        """
        try:
            indices = tuple(int(index) for index in plane)
        except (TypeError, ValueError) as error:
            raise PromptError(f"a plane is a tuple of indices, not {plane!r}") from error
        if len(indices) != self.ndim_planes:
            raise PromptError(
                f"a plane of this image has {self.ndim_planes} indices, not {len(indices)}: "
                f"{indices}"
            )
        for index, count in zip(indices, self.plane_shape, strict=True):
            if not 0 <= index < count:
                raise PromptError(
                    f"plane {indices} lies outside the image, which has {self.plane_shape} planes"
                )
        return indices

    def image(self, plane: Sequence[int] = ()) -> Any:
        """Return a plane as `Predictor.embed` takes it: a lazy array, or a list of levels.

        Axes are (rows, columns), then colour; channels of an axis before the rows or columns
        come first.
        """
        indices = self.check_plane(plane)
        views = [self._view(level, indices) for level in self.levels]
        return views if len(views) > 1 else views[0]

    def read(self, plane: Sequence[int], window: Window) -> np.ndarray:
        """Return the pixels of a window at full resolution, as they are stored.

        Returns
        -------
        array (height, width, channels)
            All channels; of RGB with an alpha channel the three colours.
        """
        view = self._view(self.levels[0], self.check_plane(plane))
        return open_image(view, channel_axis=self.plane_channel_axis).read(0, *window.slices)

    def embed_arguments(self, plane: Sequence[int] = ()) -> dict[str, Any]:
        """Return what else `Predictor.embed` needs: channel_axis, channels, contrast_limits.

        Contrast limits are resolved when a plane is first asked for, from a sample of bounded
        size, and are then the same for all its windows.
        """
        indices = self.check_plane(plane)
        axis = self.plane_channel_axis
        with self._lock:
            if indices not in self._limits:
                self._limits[indices] = resolve_contrast_limits(
                    self.image(indices),
                    self.contrast_limits,
                    channel_axis=axis,
                    channels=self.channels,
                )
            limits = self._limits[indices]
        return {"channel_axis": axis, "channels": self.channels, "contrast_limits": limits}

    def sampled_limits(self, planes: Iterable[Sequence[int]]) -> np.ndarray:
        """Return the contrast limits of planes: float64 (planes, channels, 2).

        Planes without a finite pixel are left out.

        Raises
        ------
        ImageError
            If none has any.
        """
        found, problem = [], ImageError("the image has no plane")
        for plane in planes:
            try:
                found.append(self.embed_arguments(plane)["contrast_limits"])
            except ImageError as error:
                problem = error
        if not found:
            raise problem
        return np.asarray(found, np.float64)

    def settings(self) -> dict[str, Any]:
        """Return axes, channels and contrast limits as plain values, by parameter name."""
        limits = self.contrast_limits
        if not isinstance(limits, str):
            limits = np.asarray(limits, np.float64).tolist()
        return {
            "displayed": list(self.displayed),
            "channel_axis": self.channel_axis,
            "rgb": self.rgb,
            "channels": None if self.channels is None else list(self.channels),
            "contrast_limits": limits,
        }

    def signature(self) -> dict[str, Any]:
        """Return what identifies this image, as plain values.

        Shape, type, axes, name, path and a checksum of a few small windows of the full
        resolution, in up to three planes; never more is read.
        """
        dtype = self.dtype.newbyteorder("=")
        return {
            "shape": list(self.data_shape),
            "dtype": dtype.name,
            **self.settings(),
            "levels": len(self.levels),
            "name": self.name,
            "path": self.path,
            "checksum": self._checksum(),
        }

    def identity(self) -> dict[str, Any]:
        """Return the signature without path, name and contrast limits: a moved image keeps it."""
        gone = ("path", "name", "contrast_limits")
        return {name: value for name, value in self.signature().items() if name not in gone}

    def _checksum(self) -> str:
        digest = hashlib.sha256()
        total = int(np.prod(self.plane_shape, dtype=np.int64)) if self._others else 1
        places = sorted({0, total // 2, total - 1})
        grid = 3 if len(places) == 1 else 2
        for place in places:
            plane = tuple(int(i) for i in np.unravel_index(place, self.plane_shape or (1,)))
            view = self._view(self.levels[0], plane[: self.ndim_planes])
            opened = open_image(view, channel_axis=self.plane_channel_axis)
            for rows in _spread(self.shape[0], grid):
                for cols in _spread(self.shape[1], grid):
                    pixels = opened.read(0, rows, cols)
                    kind = pixels.dtype.newbyteorder("<")
                    digest.update(np.ascontiguousarray(pixels, kind).tobytes())
        return digest.hexdigest()[:32]

    @property
    def _channels_last(self) -> bool:
        return self._colour is not None and self._colour > max(self.displayed)

    def _view(self, array: Any, plane: tuple[int, ...]) -> Any:
        index: list[Any] = [slice(None)] * len(self.data_shape)
        for axis, place in zip(self._others, plane, strict=True):
            # a pyramid may be reduced along the other axes too
            index[axis] = min(
                place * int(array.shape[axis]) // self.data_shape[axis], int(array.shape[axis]) - 1
            )
        order = list(self.displayed)
        if self._colour is not None:
            order.insert(2 if self._channels_last else 0, self._colour)
        if isinstance(array, np.ndarray):
            kept = sorted(order)
            view: np.ndarray = array[tuple(index)].transpose([kept.index(axis) for axis in order])
            return view
        return _PlaneView(array, tuple(index), tuple(order))


class _PlaneView:
    """A plane of a lazy array, with its axes in a given order."""

    def __init__(self, array: Any, index: tuple[Any, ...], order: tuple[int, ...]) -> None:
        self._array = array
        self._index = index
        self._order = order
        self.shape = tuple(int(array.shape[axis]) for axis in order)
        self.ndim = len(order)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        chunks = getattr(array, "chunks", None)
        try:
            sizes = [chunks[axis] for axis in order]  # type: ignore[index]
            # dask has a tuple of sizes for each axis
            self.chunks: tuple[int, ...] | None = tuple(
                int(n[0] if isinstance(n, tuple) else n) for n in sizes
            )
        except (TypeError, IndexError):
            self.chunks = None

    def __getitem__(self, key: Any) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        if any(part is Ellipsis for part in key):
            place = next(i for i, part in enumerate(key) if part is Ellipsis)
            fill = (slice(None),) * (self.ndim - len(key) + 1)
            key = (*key[:place], *fill, *key[place + 1 :])
        key = (*key, *(slice(None),) * (self.ndim - len(key)))
        index = list(self._index)
        for axis, part in zip(self._order, key, strict=True):
            index[axis] = part
        pixels = np.asarray(self._array[tuple(index)])
        kept = [
            axis for axis, part in zip(self._order, key, strict=True) if isinstance(part, slice)
        ]
        ranks = sorted(kept)
        return pixels.transpose([ranks.index(axis) for axis in kept])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)


def _spread(extent: int, count: int) -> list[slice]:
    """Spread a few short slices over an axis."""
    if extent <= _SAMPLE_SIDE * count:
        return [slice(0, extent)]
    starts = [round(i * (extent - _SAMPLE_SIDE) / (count - 1)) for i in range(count)]
    return [slice(start, start + _SAMPLE_SIDE) for start in starts]
