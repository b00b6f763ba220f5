"""Open an image by path, URL, or the name of a built-in sample."""

from __future__ import annotations

from pathlib import Path

from ..errors import ImageError
from ..formats.images import ImageData, read_image
from ..reading import is_url
from ..samples import sample, sample_names

SAMPLE = "sample:"


def read_source(source: str, axes: str | None = None, lazy: bool | None = None) -> ImageData:
    """Open a file, a Zarr folder or URL, or a built-in sample.

    Parameters
    ----------
    source : str
        Path, URL, or ``sample:NAME``.
    axes : str, optional
        A letter for each dimension, instead of those in the file.
    lazy : bool, optional
        As for `read_image`.

    Raises
    ------
    ImageError
        If there is no such image, or it cannot be read.
    """
    if source.startswith(SAMPLE):
        found = sample(source.removeprefix(SAMPLE))
        return ImageData(
            array=found.image,
            axes=found.axes,
            channel_axis=found.channel_axis,
            rgb=found.rgb,
            scale=found.scale,
            units=found.units,
            name=found.name,
        )
    if not is_url(source) and not Path(source).expanduser().exists():
        hint = f"; the built-in sample is {SAMPLE}{source}" if source in sample_names() else ""
        raise ImageError(f"there is no file {source}{hint}")
    return read_image(source, axes=axes, lazy=lazy)
