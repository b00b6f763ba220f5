"""A volume or time-lapse as a row of planes along one axis; lazy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..engine import Embedding, PlaneSource, Predictor, View, Window, open_image
from ..errors import ImageError, ParameterError, SegmentAnythingError
from ..formats import ImageData
from ..formats.images import image_data

CANVAS = 384
"""Smaller planes are mirrored at their edges up to this size: enlarged to the model's frame, they
would be blurred more than any image of the training."""
_SAMPLED = 9
T = TypeVar("T")


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
    mirrored : bool
        Whether small planes get a margin.
    """

    source: PlaneSource
    axis: int
    axes: str
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    limits: tuple[tuple[float, float], ...] | None
    path: str | None = None
    mirrored: bool = True
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
        per_plane = isinstance(contrast_limits, str) and contrast_limits == "plane"
        limits: Any = "auto" if per_plane else contrast_limits
        displayed: tuple[int, int] | None = None
        if isinstance(volume, PlaneSource):
            data, displayed = _image_of(volume), volume.displayed
            channel_axis, channels = volume.channel_axis, volume.channels
            if isinstance(contrast_limits, str) and contrast_limits == "auto":
                limits = volume.contrast_limits
        else:
            colour_last = False if channel_axis is not None else rgb
            data = image_data(
                volume, axes, channel_axis, guess=lambda shape: _guess(shape, colour_last)
            )
        letters = data.axes
        if rgb and not data.rgb:
            raise ImageError(f"an RGB volume has its colour samples S last, not axes '{letters}'")
        if channel_axis is None:
            channel_axis = data.channel_axis
        colour = _colour_axis(len(letters), data.rgb, channel_axis)
        spatial = [i for i in range(len(letters)) if i != colour]
        if len(spatial) < 3:
            raise ImageError(
                f"a stack has planes, rows and columns; this image is {letters} of shape "
                f"{data.shape}"
            )
        along = _axis(axis, letters, spatial, colour, displayed)
        if displayed is None:
            displayed = letters.index("Y"), letters.index("X")
            if along in displayed:
                first, second = [i for i in spatial if i != along][-2:]
                displayed = first, second
        path = None if data.path is None else str(data.path)
        source = PlaneSource(
            list(data.levels) or [data.array],
            displayed=displayed,
            channel_axis=channel_axis,
            rgb=data.rgb,
            channels=None if channels is None else tuple(int(c) for c in channels),
            contrast_limits=limits,
            path=path,
        )
        place = [i for i in spatial if i not in displayed].index(along)
        return cls(
            source,
            spatial.index(along),
            "".join(letters[i] for i in spatial),
            tuple(data.scale[i] for i in spatial),
            tuple(data.units[i] for i in spatial),
            None if per_plane else _settle(source, place),
            path,
            _plane_axis=place,
        )

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
        return _colour_axis(len(source.data_shape), source.rgb, source.channel_axis)

    @property
    def anisotropy(self) -> float | None:
        """Distance of planes in pixels of a plane; None if unknown, and for time."""
        unit, size = self.units[self.axis], self.scale[self.axis]
        rows = self.displayed[0]
        if self.axes[self.axis] == "T" or unit is None or unit != self.units[rows]:
            return None
        return size / self.scale[rows] if size > 0 and self.scale[rows] > 0 else None

    def index(self, plane: int, stack: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Return the index of a plane in the labels, given its number and its stack."""
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
        return max(0, (CANVAS - max(self.plane_shape) + 1) // 2) if self.mirrored else 0

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns of a plane with its margin."""
        rows, cols = self.plane_shape
        return rows + 2 * self.margin, cols + 2 * self.margin

    def bare(self, plane: int, stack: tuple[int, ...] = ()) -> tuple[Any, dict[str, Any]]:
        """Return a plane without margin, unread, and the other arguments of `Predictor.embed`.

        Parameters
        ----------
        plane : int
        stack : tuple of int
            Which stack, where there are several.
        """
        where = self._plane(plane, stack)
        view = self.source.image(where)
        if self.limits is None:
            options = self.source.embed_arguments(where)
        else:
            options = {
                "channel_axis": self.source.plane_channel_axis,
                "channels": self.source.channels,
                "contrast_limits": self.limits,
            }
        return view, options

    def image(self, plane: int, stack: tuple[int, ...] = ()) -> tuple[Any, dict[str, Any]]:
        """Return a plane with its margin, and the other arguments of `Predictor.embed`.

        Parameters are those of `bare`. Without a margin nothing is read.
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
        """Read the mean of the channels in use: float32 (height, width).

        Parameters
        ----------
        plane : int
        stack : tuple of int
        window : Window
            In pixels of the plane with its margin.
        """
        view, options = self.image(plane, stack)
        source = open_image(
            view, channel_axis=options["channel_axis"], channels=options["channels"]
        )
        values = source.read(0, *window.slices).astype(np.float32).mean(axis=2)
        return np.nan_to_num(values)

    def embed(
        self,
        predictor: Predictor,
        plane: int,
        stack: tuple[int, ...] = (),
        view: View | None = None,
    ) -> Embedding:
        """Encode a plane.

        Parameters
        ----------
        predictor : Predictor
        plane : int
        stack : tuple of int
        view : View, optional
            In pixels of the plane with its margin; by default the whole plane.
        """
        image, options = self.image(plane, stack)
        if view is not None:
            options = {"window": view.window, "span": view.span, **options}
        return predictor.embed(image, **options)

    def _plane(self, plane: int, stack: tuple[int, ...]) -> tuple[int, ...]:
        return (*stack[: self._plane_axis], plane, *stack[self._plane_axis :])


def _colour_axis(ndim: int, rgb: bool, channel_axis: int | None) -> int | None:
    """Axis of colour samples or channels."""
    return ndim - 1 if rgb else None if channel_axis is None else channel_axis % ndim


def _image_of(source: PlaneSource) -> ImageData:
    """A plane source as an image; its further axes are T, Z, or a stack of unknown meaning."""
    ndim = len(source.data_shape)
    letters = ["Q"] * ndim
    colour = _colour_axis(ndim, source.rgb, source.channel_axis)
    if colour is not None:
        letters[colour] = "S" if source.rgb else "C"
    letters[source.displayed[0]], letters[source.displayed[1]] = "Y", "X"
    free = [i for i, letter in enumerate(letters) if letter == "Q"]
    if len(free) == 2:
        letters[free[0]], letters[free[1]] = "T", "Z"
    return ImageData(
        array=source.levels[0],
        axes="".join(letters),
        channel_axis=source.channel_axis,
        rgb=source.rgb,
        scale=(1.0,) * ndim,
        units=(None,) * ndim,
        name=source.name,
        levels=source.levels,
        path=source.path,
    )


def _guess(shape: Sequence[int], rgb: bool | None) -> str:
    """Axes of an array that comes without their names.

    Three columns or rows do not make it a colour image: a volume was asked for.
    """
    if rgb is None:
        rgb = len(shape) == 4 and shape[-1] in (3, 4)
    if rgb and shape[-1] not in (3, 4):
        raise ImageError(f"an RGB volume ends with an axis of 3 or 4, not {tuple(shape)}")
    known = {2: "YX", 3: "QYX", 4: "TZYX"}
    count = len(shape) - rgb
    if count not in known:
        raise ImageError(f"a volume of {count} axes needs their names, such as axes='TZCYX'")
    return known[count] + "S" * rgb


def _axis(
    axis: int | str | None,
    letters: str,
    spatial: list[int],
    colour: int | None,
    displayed: tuple[int, int] | None,
) -> int:
    """Return the axis to go along, as a number in the volume."""
    able = [i for i in spatial if displayed is None or i not in displayed]
    named = ", ".join(f"{i} ({letters[i]})" for i in able)
    if axis is None:
        found = [letters.index(letter) for letter in "ZT" if letter in letters]
        return found[0] if found and displayed is None else able[0]
    if isinstance(axis, str):
        if axis.upper() not in letters or letters.index(axis.upper()) not in able:
            raise ParameterError(f"there is no axis {axis!r} to go along; there are {named}")
        return letters.index(axis.upper())
    if not -len(letters) <= axis < len(letters):
        raise ParameterError(f"axis {axis} does not exist; there are {named}")
    along = int(axis) % len(letters)
    if along not in able:
        what = "holds channels" if along == colour else "is displayed"
        raise ParameterError(f"axis {axis} {what}; go along one of {named}")
    return along


def _settle(source: PlaneSource, place: int) -> tuple[tuple[float, float], ...]:
    """Contrast limits of a whole stack, from a few planes of it.

    The high end is what a quarter of the planes exceed: a stack's empty ends do not make its
    middle white, nor does one plane with dirt make it black.
    """
    counts = source.plane_shape
    middle = [n // 2 for n in counts]
    planes = spread(counts[place], _SAMPLED)
    places = [(*middle[:place], plane, *middle[place + 1 :]) for plane in planes]
    values = source.sampled_limits(places)
    low = np.median(values[..., 0], axis=0)
    high = np.maximum(np.quantile(values[..., 1], 0.75, axis=0), np.nextafter(low, math.inf))
    return tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` planes, evenly spread, the first and the last among them."""
    return sorted({int(p) for p in np.linspace(0, count - 1, min(count, most)).round()})


def central_window(shape: tuple[int, int], sides: tuple[int, int]) -> Window:
    """Return the window of these sides, or the shape's where it is smaller, in the middle."""
    rows, cols = (min(n, side) for n, side in zip(shape, sides, strict=True))
    return Window((shape[0] - rows) // 2, (shape[1] - cols) // 2, rows, cols)


def attempt(read: Callable[[], T]) -> T | Exception:
    """Return what is read of planes; or, where they cannot be read, the error.

    That is our `ImageError`, or whatever a lazy array's store raises; other errors of ours are
    raised.
    """
    try:
        return read()
    except ImageError as error:
        return error
    except SegmentAnythingError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        return error
