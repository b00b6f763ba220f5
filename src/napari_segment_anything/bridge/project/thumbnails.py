"""Small pictures of a project's images."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

from ...errors import SegmentAnythingError
from ...progress import Progress
from ...projects import ProjectImage

SIDE = 40
"""Pixels of the longer side."""
_LARGEST = 2**27


def thumbnail(image: ProjectImage, side: int = SIDE) -> NDArray[np.uint8] | None:
    """Return an image, reduced; None where that would need all of a very large one.

    Parameters
    ----------
    image : ProjectImage
    side : int
        Pixels of the longer side.

    Returns
    -------
    uint8 array (rows, columns, 3) or None

    Raises
    ------
    ImageError
        If the image is missing or damaged.
    """
    data = image.open()
    array = (data.levels or (data.array,))[-1]
    if int(np.prod(array.shape)) > _LARGEST:
        return None
    row, col = (data.axes.index(axis) for axis in "YX")
    step = max(1, max(array.shape[row], array.shape[col]) // side)
    index = [slice(None)] * len(array.shape)
    index[row] = index[col] = slice(step // 2, None, step)
    pixels = np.asarray(array[tuple(index)], np.float64)
    if data.channel_axis is not None:
        pixels = pixels.max(data.channel_axis)
    if data.rgb:
        return pixels[..., :3].clip(0, 255).astype(np.uint8)
    finite = pixels[np.isfinite(pixels)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    grey = np.nan_to_num((pixels - low) / max(high - low, 1e-9) * 255).clip(0, 255)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def thumbnails(
    images: list[ProjectImage], cancelled: Callable[[], bool]
) -> Generator[Progress, None, None]:
    """Make thumbnails one by one; `partial` of each Progress is the key with the picture or None.

    Parameters
    ----------
    images : list of ProjectImage
    cancelled : callable
        Asked before each.
    """
    for number, image in enumerate(images):
        if cancelled():
            return
        try:
            picture = thumbnail(image)
        except SegmentAnythingError:
            picture = None  # reported when the image is opened
        yield Progress(number + 1, len(images), partial=(image.key, picture))
