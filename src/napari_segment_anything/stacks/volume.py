"""A volume or time-lapse as a row of planes along one axis; lazy."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Embedding, PlaneSource, Predictor, Window
from ..errors import ImageError, ParameterError
from ..formats import ImageData, read_image
from ..formats.images import check_axes

CANVAS = 384
"""Planes smaller than this are mirrored at their edges up to it: enlarged to the model's frame,
their pixels would look like nothing the model has met."""
_SAMPLED = 9


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A stack of planes along an axis of an image; other axes hold further stacks.

    Made by `Volume.of`. Labels of it have the image's axes, in the same order, without those of
    channels and colour.

    Parameters
    ----------
    source : PlaneSource
        The image as 2-D planes.
    axis : int
        Axis of the labels along which the planes follow each other.
    axes : str
        A letter for each axis of the labels.
    scale : tuple of float
        Pixel size along each axis of the labels.
    units : tuple of (str or None)
        Units of these.
    limits : tuple of (float, float), or None
        Contrast limits of all planes; None if each has its own.
    path : str, optional
        Where the image came from.
    """

    source: PlaneSource
    axis: int
    axes: str
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    limits: tuple[tuple[float, float], ...] | None
    path: str | None = None
    _plane_axis: int = field(default=0, repr=False)

    @classmethod
    def of(
        cls,
        volume: Any,
        axis: int | str | None = None,
        *,
        axes: str | None = None,
        channel_axis: int | None = None,
        rgb: bool | None = None,
        channels: Sequence[int] | None = None,
        contrast_limits: Any = "auto",
    ) -> Volume:
        """Take a volume as users give it.

        Parameters
        ----------
        volume : array-like, pyramid, PlaneSource, ImageData, str or Path
            Anything with shape, dtype and indexing; a list of pyramid levels; a file or URL.
        axis : int or str, optional
            The axis to go along: its number in the volume, or its letter where `axes` are known.
            By default Z, else T, else the first that holds no channels.
        axes : str, optional
            A letter per axis of the volume, out of TZCYXSQ; for a file in place of its own.
        channel_axis, rgb, channels
            As for `PlaneSource`.
        contrast_limits : "auto", "percentile", "plane", (low, high), or one such pair per channel
            One for all planes, settled on a few of them; "plane": each plane its own.

        Raises
        ------
        ImageError
            If it cannot be read, or is no stack.
        ParameterError
            If there is no such axis.
        """
        if isinstance(volume, PlaneSource):
            return cls._from_source(volume, axis, contrast_limits)
        if isinstance(volume, (str, os.PathLike)):
            volume = read_image(os.fspath(volume), axes=axes)
            axes = None
        path = None
        if isinstance(volume, ImageData):
            data = volume
            levels: tuple[Any, ...] = data.levels or (data.array,)
            letters, scale, units = data.axes, data.scale, data.units
            path = None if data.path is None else str(data.path)
            if channel_axis is None:
                channel_axis = data.channel_axis
            rgb = data.rgb if rgb is None else rgb
        else:
            several = isinstance(volume, Sequence) and not hasattr(volume, "shape")
            levels = tuple(volume) if several else (volume,)
            if not levels or not all(hasattr(level, "shape") for level in levels):
                raise ImageError("a volume is an array with shape, dtype and indexing")
            shape = tuple(int(n) for n in levels[0].shape)
            letters = _letters(shape, axes, channel_axis, rgb)
            if channel_axis is None and "C" in letters:
                channel_axis = letters.index("C")
            rgb = "S" in letters
            scale, units = (1.0,) * len(shape), (None,) * len(shape)
        ndim = len(letters)
        colour = ndim - 1 if rgb else None if channel_axis is None else channel_axis % ndim
        spatial = [i for i in range(ndim) if i != colour]
        if len(spatial) < 3:
            raise ImageError(
                f"a stack has planes, rows and columns; this image is {letters} of shape "
                f"{tuple(levels[0].shape)}"
            )
        along = _axis(axis, letters, spatial, colour)
        rows, cols = [i for i in spatial if i != along][-2:]
        if "Y" in letters and along not in (letters.index("Y"), letters.index("X")):
            rows, cols = letters.index("Y"), letters.index("X")
        source = PlaneSource(
            list(levels),
            displayed=(rows, cols),
            channel_axis=channel_axis,
            rgb=bool(rgb),
            channels=None if channels is None else tuple(int(c) for c in channels),
            contrast_limits="auto" if _per_plane(contrast_limits) else contrast_limits,
            path=path,
        )
        return cls._build(
            source,
            along,
            spatial,
            "".join(letters[i] for i in spatial),
            tuple(scale[i] for i in spatial),
            tuple(units[i] for i in spatial),
            _per_plane(contrast_limits),
            path,
        )

    @classmethod
    def _from_source(cls, source: PlaneSource, axis: int | str | None, limits: Any) -> Volume:
        ndim = len(source.data_shape)
        colour = ndim - 1 if source.rgb else source.channel_axis
        spatial = [i for i in range(ndim) if i != colour]
        if isinstance(axis, str):
            raise ParameterError("give the axis of a PlaneSource as a number")
        others = [i for i in spatial if i not in source.displayed]
        if not others:
            raise ImageError("a stack has planes, rows and columns; this image is one plane")
        along = others[0] if axis is None else int(axis) % ndim
        if along not in others:
            raise ParameterError(
                f"axis {axis} is displayed or holds channels; planes follow each other along one "
                f"of {others}"
            )
        if limits != "auto":
            source = PlaneSource(
                list(source.levels),
                displayed=source.displayed,
                channel_axis=source.channel_axis,
                rgb=source.rgb,
                channels=source.channels,
                contrast_limits="auto" if _per_plane(limits) else limits,
                name=source.name,
                path=source.path,
            )
        letters = ["Q"] * len(spatial)
        letters[spatial.index(source.displayed[0])] = "Y"
        letters[spatial.index(source.displayed[1])] = "X"
        free = [i for i, letter in enumerate(letters) if letter == "Q"]
        for place, letter in zip(free, "TZ" if len(free) == 2 else "Q", strict=False):
            letters[place] = letter
        ones, unknown = (1.0,) * len(spatial), (None,) * len(spatial)
        return cls._build(
            source, along, spatial, "".join(letters), ones, unknown, _per_plane(limits), source.path
        )

    @classmethod
    def _build(
        cls,
        source: PlaneSource,
        along: int,
        spatial: list[int],
        axes: str,
        scale: tuple[float, ...],
        units: tuple[str | None, ...],
        per_plane: bool,
        path: str | None,
    ) -> Volume:
        others = [i for i in spatial if i not in source.displayed]
        place = others.index(along)
        limits = None if per_plane else _settle(source, place)
        return cls(source, spatial.index(along), axes, scale, units, limits, path, place)

    # -- shape -----------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Number of planes of one stack."""
        return self.source.plane_shape[self._plane_axis]

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of a plane."""
        return self.source.shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        data, colour = self.source.data_shape, self._colour
        return tuple(n for i, n in enumerate(data) if i != colour)

    @property
    def displayed(self) -> tuple[int, int]:
        """Axes of the labels that are rows and columns of a plane."""
        colour = self._colour
        first, second = (
            axis - (colour is not None and colour < axis) for axis in self.source.displayed
        )
        return first, second

    @property
    def others(self) -> tuple[int, ...]:
        """Axes of the labels that hold further stacks."""
        return tuple(i for i in range(len(self.shape)) if i not in (self.axis, *self.displayed))

    @property
    def stacks(self) -> list[tuple[int, ...]]:
        """Indices along the other axes, of every stack; [()] if there is one."""
        return [tuple(i) for i in np.ndindex(*(self.shape[axis] for axis in self.others))]

    @property
    def _colour(self) -> int | None:
        source = self.source
        return len(source.data_shape) - 1 if source.rgb else source.channel_axis

    @property
    def anisotropy(self) -> float | None:
        """Distance of planes in pixels of a plane, where the image says so; None for time."""
        unit, size = self.units[self.axis], self.scale[self.axis]
        rows = self.displayed[0]
        if self.axes[self.axis] == "T" or unit is None or unit != self.units[rows]:
            return None
        return size / self.scale[rows] if size > 0 and self.scale[rows] > 0 else None

    def index(self, plane: int, stack: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Return the index of a plane in the labels."""
        out: list[Any] = [slice(None)] * len(self.shape)
        out[self.axis] = plane
        for axis, place in zip(self.others, stack, strict=True):
            out[axis] = place
        return tuple(out)

    def check_stack(self, at: Sequence[int]) -> tuple[int, ...]:
        """Return the indices of a stack as a tuple.

        Raises
        ------
        ParameterError
            If there is no such stack.
        """
        stack = tuple(int(i) for i in at)
        sizes = tuple(self.shape[axis] for axis in self.others)
        if len(stack) != len(sizes) or any(
            not 0 <= i < n for i, n in zip(stack, sizes, strict=True)
        ):
            raise ParameterError(
                f"the volume has {self.axes} of shape {self.shape} and goes along "
                f"{self.axes[self.axis]}: at= needs an index for each of its {len(sizes)} other "
                f"axes, of sizes {sizes}; got {stack}"
            )
        return stack

    # -- pixels ----------------------------------------------------------------------------------

    @property
    def margin(self) -> int:
        """Mirrored pixels around each plane."""
        return max(0, (CANVAS - max(self.plane_shape) + 1) // 2)

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns of a plane with its margin."""
        rows, cols = self.plane_shape
        return rows + 2 * self.margin, cols + 2 * self.margin

    def bare(self, plane: int, stack: tuple[int, ...] = ()) -> tuple[Any, dict[str, Any]]:
        """Return a plane without margin, unread, and what else `Predictor.embed` needs."""
        where = self._plane(plane, stack)
        view = self.source.image(where)
        if self.limits is None:
            options = self.source.embed_arguments(where)
        else:
            options = {
                "channel_axis": self._view_channels,
                "channels": self.source.channels,
                "contrast_limits": self.limits,
            }
        return view, options

    def image(self, plane: int, stack: tuple[int, ...] = ()) -> tuple[Any, dict[str, Any]]:
        """Return a plane with its margin, and what else `Predictor.embed` needs.

        Without a margin nothing is read here.
        """
        view, options = self.bare(plane, stack)
        margin = self.margin
        if margin:
            view = np.asarray(view[0] if isinstance(view, list) else view)
            width = [(margin, margin)] * view.ndim
            if view.ndim == 3:
                first = options["channel_axis"] == 0
                width[0 if first else 2] = (0, 0)
            view = np.pad(view, width, mode="symmetric")
        return view, options

    def brightness(self, plane: int, stack: tuple[int, ...], window: Window) -> NDArray[np.float32]:
        """Read a window of a plane with its margin: the mean of its channels, as float32."""
        view, options = self.image(plane, stack)
        full = view[0] if isinstance(view, list) else view
        index = list(window.slices)
        channel = options["channel_axis"]
        if len(full.shape) == 3:
            channel = len(full.shape) - 1 if channel is None else channel
            index.insert(channel, slice(None))
        values = np.asarray(full[tuple(index)], np.float32)
        if values.ndim == 3:
            chosen = self.source.channels
            if chosen is not None:
                values = np.take(values, chosen, axis=channel)
            values = values.mean(axis=channel)
        return np.nan_to_num(values)

    @property
    def _view_channels(self) -> int | None:
        if self.source.channel_axis is None:
            return None
        return 2 if self.source.channel_axis > max(self.source.displayed) else 0

    def embed(
        self,
        predictor: Predictor,
        plane: int,
        stack: tuple[int, ...] = (),
        window: Window | None = None,
        span: int | None = None,
    ) -> Embedding:
        """Encode a plane, or a window of it (in pixels of the plane with its margin)."""
        view, options = self.image(plane, stack)
        return predictor.embed(view, window=window, span=span, **options)

    def _plane(self, plane: int, stack: tuple[int, ...]) -> tuple[int, ...]:
        return (*stack[: self._plane_axis], plane, *stack[self._plane_axis :])


def _per_plane(limits: Any) -> bool:
    return isinstance(limits, str) and limits == "plane"


def _letters(
    shape: tuple[int, ...], axes: str | None, channel_axis: int | None, rgb: bool | None
) -> str:
    """A letter for each axis of an array."""
    if axes is not None:
        letters = axes.upper()
        if len(letters) != len(shape):
            raise ImageError(f"axes '{axes}' name {len(axes)} dimensions; the volume is {shape}")
        check_axes(letters, shape)
        if rgb and "S" not in letters:
            raise ImageError(f"an RGB volume has its colour samples S last, not axes '{axes}'")
        return letters
    ndim = len(shape)
    if channel_axis is not None:
        if rgb:
            raise ImageError("an RGB volume has its channels on the last axis; no channel_axis")
        if not -ndim <= channel_axis < ndim:
            raise ImageError(f"channel_axis {channel_axis} does not exist in {ndim} axes")
        at = channel_axis % ndim
        rest = _plain(ndim - 1)
        return rest[:at] + "C" + rest[at:]
    if ndim == 3 and not rgb:
        return "QYX"  # three or four columns wide it may be, but a volume was asked for
    if rgb is None:
        rgb = ndim == 4 and shape[-1] in (3, 4)
    if rgb:
        if shape[-1] not in (3, 4):
            raise ImageError(f"an RGB volume ends with an axis of 3 or 4, not {shape}")
        return _plain(ndim - 1) + "S"
    return _plain(ndim)


def _plain(count: int) -> str:
    if count > 4:
        raise ImageError(f"a volume of {count} axes needs their names, such as axes='TZCYX'")
    return {2: "YX", 3: "QYX", 4: "TZYX"}.get(count, "Q" * count)


def _axis(axis: int | str | None, letters: str, spatial: list[int], colour: int | None) -> int:
    """The axis to go along, as a number in the volume."""
    named = ", ".join(f"{i} ({letters[i]})" for i in spatial)
    if axis is None:
        for letter in "ZT":
            if letter in letters:
                return letters.index(letter)
        return spatial[0]
    if isinstance(axis, str):
        if axis.upper() not in letters or letters.index(axis.upper()) == colour:
            raise ParameterError(f"there is no axis {axis!r} to go along; there are {named}")
        return letters.index(axis.upper())
    if not -len(letters) <= axis < len(letters):
        raise ParameterError(f"axis {axis} does not exist; there are {named}")
    along = int(axis) % len(letters)
    if along == colour:
        raise ParameterError(f"axis {axis} holds channels; go along one of {named}")
    return along


def _settle(source: PlaneSource, place: int) -> tuple[tuple[float, float], ...]:
    """Contrast limits of a whole stack, from a few planes of it.

    The high end is what a quarter of the planes exceed: a stack's empty ends do not make its
    middle white, nor does one plane with dirt make it black.
    """
    counts = source.plane_shape
    middle = [n // 2 for n in counts]
    count = counts[place]
    found, problem = [], None
    for plane in sorted({int(p) for p in np.linspace(0, count - 1, min(count, _SAMPLED)).round()}):
        where = (*middle[:place], plane, *middle[place + 1 :])
        try:
            found.append(source.embed_arguments(where)["contrast_limits"])
        except ImageError as error:  # a plane without a finite pixel
            problem = error
    if not found:
        raise problem or ImageError("the volume has no plane")
    values = np.asarray(found, np.float64)
    low = np.median(values[..., 0], axis=0)
    high = np.maximum(np.quantile(values[..., 1], 0.75, axis=0), np.nextafter(low, math.inf))
    return tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
