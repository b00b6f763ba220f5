"""The image argument: a file, a Zarr folder or URL, or a built-in sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from . import values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .options import ImageOptions


@dataclass(frozen=True, slots=True)
class Input:
    """One 2-D image, ready for the engine.

    Parameters
    ----------
    name : str
        What result files are named after.
    source : str
        As the user wrote it.
    levels : list of array
        The image, or its pyramid with the full resolution first; lazy where it is on disk.
    channel_axis : int or None
        Axis of the channels.
    channels : tuple of int or None
        Channels in use; None for all.
    contrast_limits : tuple of (float, float)
        One pair for each channel in use, determined once for the whole image.
    scale : tuple of float
        Size of a pixel: (row, column).
    unit : str or None
        Unit of the scale.
    """

    name: str
    source: str
    levels: list[Any]
    channel_axis: int | None
    channels: tuple[int, ...] | None
    contrast_limits: tuple[tuple[float, float], ...]
    scale: tuple[float, float]
    unit: str | None

    @property
    def image(self) -> Any:
        """What the engine takes: the array, or the list of levels."""
        return self.levels if len(self.levels) > 1 else self.levels[0]

    @property
    def engine_options(self) -> dict[str, Any]:
        """Options that tell the engine how to interpret the image."""
        return {
            "channel_axis": self.channel_axis,
            "channels": self.channels,
            "contrast_limits": self.contrast_limits,
        }

    @property
    def intensity_axis(self) -> int | None:
        """Axis of the channels in `pixels`, colour samples included."""
        if self.channel_axis is None and len(self.levels[0].shape) == 3:
            return 2
        return self.channel_axis

    @property
    def pixels(self) -> NDArray[np.generic]:
        """The full resolution in memory, for intensities in tables."""
        import numpy as np

        return np.asarray(self.levels[0][...])

    def display(self) -> NDArray[np.generic]:
        """(H, W, 3) in 0..255: the image as the network sees it."""
        import numpy as np

        from ..engine.contrast import stretch
        from ..engine.image import open_image

        source = open_image(self.image, channel_axis=self.channel_axis, channels=self.channels)
        shown = stretch(source.read(0, slice(None), slice(None)), self.contrast_limits)
        return np.repeat(shown[..., None], 3, axis=-1) if shown.ndim == 2 else shown


def open_input(source: str, view: ImageOptions, plane: str | None = None) -> Input:
    """Open one plane of the image argument.

    Parameters
    ----------
    source : str
        As the user wrote it.
    view : ImageOptions
        How to interpret it.
    plane : str, optional
        Which plane of a stack: `12`, or `T=3,Z=12`.

    Raises
    ------
    ImageError
        If there is no such image, or it is a stack and `plane` is missing.
    ParameterError
        If an option is malformed.
    """
    from ..datasets.opening import read_source

    options = view.read()
    chosen, channel_axis = options["channels"], options["channel_axis"]
    data = read_source(source, view.axes)
    name = data.name
    if data.stack_axes:
        lengths = {axis: data.shape[data.axes.index(axis)] for axis in data.stack_axes}
        if plane is None and max(lengths.values()) > 1:
            example = ",".join(f"{axis}={n // 2}" for axis, n in lengths.items() if n > 1)
            raise ImageError(
                f"{source} is a stack, {data.axes} of shape {data.shape}: "
                f"choose a plane, for example with --plane {example}"
            )
        where = values.plane(plane, data.stack_axes)
        data = data.plane(**where)
        place = [f"{axis}{index}" for axis, index in where.items()]
        name, source = "_".join([name, *place]), " ".join([source, *place])
    elif plane is not None:
        raise ImageError(f"{source} is a single plane: omit --plane")
    axis = data.channel_axis if channel_axis is None else channel_axis
    levels = list(data.levels) or [data.array]

    from ..engine.contrast import resolve_contrast_limits

    resolved = resolve_contrast_limits(
        levels if len(levels) > 1 else levels[0],
        options["contrast_limits"],
        channel_axis=axis,
        channels=chosen,
    )
    return Input(
        name=name,
        source=source,
        levels=levels,
        channel_axis=axis,
        channels=chosen,
        contrast_limits=resolved,
        scale=data.pixel_size,
        unit=data.units[data.axes.index("Y")],
    )
