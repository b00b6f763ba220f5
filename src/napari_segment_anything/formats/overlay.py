"""Pictures of a segmentation: translucent fills and thin outlines over the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FormatError, ImageError
from .atomic import replacing

# The colour-blind-safe colours of Okabe and Ito, some lightened for dark images; ordered so that
# the most frequent ones contrast most.
PALETTE = np.array(
    [
        (86, 180, 233),  # sky blue
        (240, 165, 20),  # orange
        (0, 190, 140),  # bluish green
        (224, 120, 180),  # reddish purple
        (245, 230, 80),  # yellow
        (230, 95, 30),  # vermilion
        (70, 120, 245),  # blue
        (170, 235, 225),  # pale cyan
    ],
    np.uint8,
)
_CHANNELS = np.array(
    [(0.25, 0.45, 1.0), (0.1, 1.0, 0.3), (1.0, 0.2, 0.2), (1.0, 0.3, 1.0), (0.2, 1.0, 1.0)],
    np.float32,
)


def to_rgb(
    image: ArrayLike, *, channel_axis: int | None = None, rgb: bool | None = None
) -> NDArray[np.uint8]:
    """Convert an image to an RGB picture.

    Parameters
    ----------
    image : array
        (rows, columns), (rows, columns, 3 or 4), or with channels at `channel_axis`. uint8 colour
        is unchanged; all else is stretched from its 0.1 to its 99.9 percentile.
    channel_axis : int, optional
        Position of the channels. One is shown grey, several in colours (blue, green, red ...).
    rgb : bool, optional
        Whether the last axis is colour; by default decided by its length.

    Returns
    -------
    uint8 array (rows, columns, 3)
        The picture.

    Raises
    ------
    ImageError
        If the shape is none of these.
    """
    array = np.asarray(image)
    if rgb is None:
        rgb = channel_axis is None and array.ndim == 3 and array.shape[-1] in (3, 4)
    if channel_axis is None and rgb and array.ndim == 3 and array.shape[-1] in (3, 4):
        array = array[..., :3]
        if array.dtype == np.uint8:
            return np.ascontiguousarray(array)
        return _byte(_stretched(array))
    if channel_axis is None:
        if array.ndim != 2:
            raise ImageError(
                f"A picture needs one plane, (rows, columns) or colour; got shape {array.shape}."
            )
        return np.repeat(_byte(_stretched(array))[..., None], 3, axis=2)
    if array.ndim != 3:
        raise ImageError(f"One plane with channels has three axes; got shape {array.shape}.")
    channels = np.moveaxis(array, channel_axis, 0)
    if len(channels) == 1:
        return to_rgb(channels[0])
    light = np.zeros((*channels.shape[1:], 3), np.float32)
    for number, channel in enumerate(channels):
        light += _stretched(channel)[..., None] * _CHANNELS[number % len(_CHANNELS)]
    return _byte(np.clip(light, 0, 1))


def overlay(
    image: ArrayLike,
    labels: ArrayLike,
    *,
    outline: bool = True,
    alpha: float = 0.34,
    min_side: int = 768,
) -> NDArray[np.uint8]:
    """Draw labels over an image.

    Parameters
    ----------
    image : uint8 array (rows, columns, 3)
        The picture, such as `to_rgb` makes it.
    labels : int array (rows, columns)
        0 is background. Objects that touch, or nearly so, get different colours.
    outline : bool
        Draw a thin outline around each object.
    alpha : float
        Opacity of the fill, 0 to 1.
    min_side : int
        Small images are enlarged by a whole number until their longer side is at least this, so
        that outlines are thin relative to objects; 0 keeps the size.

    Returns
    -------
    uint8 array (k * rows, k * columns, 3)
        The picture with its overlay.

    Raises
    ------
    ImageError
        If image and labels do not match.
    """
    picture, array = np.asarray(image), np.asarray(labels)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ImageError(
            f"overlay needs a uint8 RGB picture; got {picture.dtype} {picture.shape}. "
            "Make one with to_rgb."
        )
    if array.shape != picture.shape[:2] or array.dtype.kind not in "iub":
        raise ImageError(
            f"Labels of {array.dtype} {array.shape} do not fit a picture of {picture.shape[:2]}."
        )
    if not 0 <= alpha <= 1:
        raise ImageError(f"alpha is an opacity from 0 to 1; got {alpha}.")
    factor = max(1, -(-min_side // max(array.shape))) if min_side > 0 else 1
    dense = _dense(array)
    colour = colour_classes(dense)
    classes = _enlarged_classes(colour[dense], factor, len(PALETTE) + 1)
    canvas = _enlarged(picture, factor).astype(np.float32)
    inside = classes > 0
    paint, under = PALETTE[classes[inside] - 1].astype(np.float32), canvas[inside]
    # Fill towards the colour at the image's own brightness, so that structure shows through.
    grey = np.maximum(np.maximum(under[:, :1], under[:, 1:2]), under[:, 2:])
    under += alpha * (paint * (0.35 + 0.65 * grey / 255) - under)
    if outline:
        strength = _outline(classes, dense if factor == 1 else None, len(colour) - 1)
        from scipy.ndimage import maximum_filter

        under += strength[inside][:, None] * (paint - under)
        outside = maximum_filter(strength, 3) * ~inside
        around = outside > 0
        canvas[around] *= 1 - 0.35 * outside[around][:, None]
    canvas[inside] = under
    return _round(canvas)


def save_overlay(path: str | Path, picture: ArrayLike) -> None:
    """Save a uint8 picture (rows, columns, 3) as PNG.

    Parameters
    ----------
    path : str or Path
        The file, ending in ``.png``.
    picture : uint8 array (rows, columns, 3)

    Raises
    ------
    FormatError
        If it is not a picture, or the file cannot be written.
    """
    from PIL import Image

    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise FormatError(f"A picture is uint8 RGB; got {array.dtype} {array.shape}.")
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FormatError(f"{path.name}: overlays can only be written as .png.")
    with replacing(path) as temporary:
        # half the time of level 6, for files a twentieth larger
        Image.fromarray(array).save(temporary, format="PNG", compress_level=3)


def colour_classes(labels: NDArray[np.integer], *, gap: int = 4) -> NDArray[np.uint8]:
    """Give each label one of few colours so that neighbours differ.

    Parameters
    ----------
    labels : int array (rows, columns)
        Labels 0 to n.
    gap : int
        Objects at most this many pixels apart count as neighbours.

    Returns
    -------
    uint8 array (n + 1,)
        Colour class of each label, 1 to the number of colours; 0 for the background.
    """
    count = int(labels.max(initial=0))
    colours = np.zeros(count + 1, np.uint8)
    neighbours: list[list[int]] = [[] for _ in range(count + 1)]
    for a, b in _touching(labels, gap):
        neighbours[a].append(b)
        neighbours[b].append(a)
    usage = np.zeros(len(PALETTE), np.int64)
    # Objects with most neighbours are coloured first.
    order = sorted(range(1, count + 1), key=lambda i: (-len(neighbours[i]), i))
    for number in order:
        cost = usage / (usage.sum() + 1.0)
        for other in neighbours[number]:
            if colours[other]:
                cost[colours[other] - 1] += 10
        # A slight preference by number avoids stripes of equal colours.
        cost[(number * 5) % len(PALETTE)] -= 0.05
        choice = int(np.argmin(cost))
        colours[number] = choice + 1
        usage[choice] += 1
    return colours


def _touching(labels: NDArray[np.integer], gap: int) -> list[tuple[int, int]]:
    """Pairs of labels that touch when each is expanded by half the gap."""
    if not labels.any():
        return []
    from skimage.segmentation import expand_labels

    grown = expand_labels(labels, gap / 2 + 0.5)
    pairs = []
    for first, second in ((grown[1:], grown[:-1]), (grown[:, 1:], grown[:, :-1])):
        meet = (first != second) & (first > 0) & (second > 0)
        low, high = np.minimum(first[meet], second[meet]), np.maximum(first[meet], second[meet])
        pairs.append(np.stack([low, high], axis=1))
    unique = np.unique(np.concatenate(pairs), axis=0)
    return [(int(a), int(b)) for a, b in unique]


def _outline(
    classes: NDArray[np.integer], numbers: NDArray[np.integer] | None, count: int
) -> NDArray[np.float32]:
    """Opacity of outlines: two smooth pixels inside each object, or one if objects are small."""
    line = _borders(classes, numbers)
    inside = classes > 0
    if not count or inside.sum() / count < 350:
        return line.astype(np.float32) * np.float32(0.94)
    from scipy.ndimage import binary_dilation, gaussian_filter

    line = binary_dilation(line) & inside
    soft = gaussian_filter(line.astype(np.float32), 0.6)
    opacity: NDArray[np.float32] = np.clip(1.25 * soft, 0, 0.96) * inside
    return opacity


def _borders(
    classes: NDArray[np.integer], numbers: NDArray[np.integer] | None
) -> NDArray[np.bool_]:
    """Pixels of an object next to a pixel that does not belong to it."""
    line = np.zeros(classes.shape, bool)
    for array in (classes,) if numbers is None else (classes, numbers):
        down, right = array[1:] != array[:-1], array[:, 1:] != array[:, :-1]
        line[1:] |= down
        line[:-1] |= down
        line[:, 1:] |= right
        line[:, :-1] |= right
    return line & (classes > 0)


def _enlarged_classes(classes: NDArray[np.uint8], factor: int, count: int) -> NDArray[np.uint8]:
    """Enlarge an image of colour classes with smooth instead of stepped edges.

    Neighbouring objects never share a class, so whole classes can be enlarged at once: each as a
    grey image, and every pixel takes the class that is strongest there.
    """
    if factor == 1:
        return classes
    best = np.zeros([n * factor for n in classes.shape], np.float32)
    out = np.zeros(best.shape, np.uint8)
    for number in range(count):
        mask = classes == number
        if not mask.any():
            continue
        strength = _enlarged(mask.astype(np.float32), factor)
        wins = strength > best
        best[wins], out[wins] = strength[wins], number
    return out


def _enlarged(array: NDArray[Any], factor: int) -> NDArray[Any]:
    """Enlarge by a whole number: cubic for a picture, linear for a mask."""
    if factor == 1:
        return array
    from PIL import Image

    size = (array.shape[1] * factor, array.shape[0] * factor)
    how = Image.Resampling.BICUBIC if array.dtype == np.uint8 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(array).resize(size, how))


def _dense(labels: NDArray[Any]) -> NDArray[np.int64]:
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape).astype(np.int64)
    zero = int(np.searchsorted(ids, 0))
    if zero < len(ids) and ids[zero] == 0:
        table = np.where(np.arange(len(ids)) < zero, np.arange(len(ids)) + 1, np.arange(len(ids)))
        table[zero] = 0
        return table[dense]
    return dense + 1


def _stretched(array: NDArray[Any]) -> NDArray[np.float32]:
    values = array.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 1.0)
    if array.dtype == np.bool_ or high <= low:
        low, high = float(low) if array.dtype != np.bool_ else 0.0, float(low) + 1.0
    values = (values - np.float32(low)) / np.float32(high - low)
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)


def _byte(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return _round(values * 255)


def _round(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    counts: NDArray[np.uint8] = (np.clip(values, 0, 255) + 0.5).astype(np.uint8)
    return counts
