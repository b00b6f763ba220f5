"""A volume in parts that fit into memory: what they cover, their pixels, and how large to show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..automatic import generate_candidates
from ..engine import Predictor, open_image
from ..errors import ImageError
from ..progress import finish
from .solid_maps import CELL, Sight
from .volume import Volume, attempt, central_window, spread

OBJECT = 64.0
"""Frame pixels that a common object is shown with; its cells are then 16 wide. With 48, 56, 80 and
96 the mean AP over four volumes was lower or the same: .142, .165, .205, .164, against .197."""
SCALES = (0.125, 8.0)
_SAMPLED = (0.25, 0.5, 0.75)
_WINDOW = (1024, 1024)
_PLANES = 9
_ENDS = (0.1, 99.9)
_CELLS = 208
_MARGIN = 24
_VOXELS = 128e6


@dataclass(frozen=True, slots=True)
class Part:
    """A box of voxels (planes, rows, columns), and the core inside it.

    Objects whose middle lies in the core are this part's; the margin shows them whole.

    Parameters
    ----------
    box, core : tuple of slice
    """

    box: tuple[slice, slice, slice]
    core: tuple[slice, slice, slice]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the box along each axis."""
        planes, rows, cols = (part.stop - part.start for part in self.box)
        return planes, rows, cols


def choose_scale(
    volume: Volume, stack: tuple[int, ...], predictor: Predictor, values: Mapping[str, Any]
) -> float:
    """Choose how large to show a volume: the frame pixels per pixel at which objects suit.

    The size of objects is that of everything mode on three planes; where it finds none, a plane
    fills the model's frame.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
    predictor : Predictor
    values : mapping
        Parameters of everything mode.
    """

    def areas(plane: int) -> NDArray[np.int64]:
        image, options = volume.image(plane, stack)
        run = generate_candidates(
            image, predictor.model, mode="instances", predictor=predictor,
            window=central_window(volume.canvas, _WINDOW), **options, **values,
        )  # fmt: skip
        return finish(run).areas

    # planes that cannot be read are told when their part is
    tried = [attempt(partial(areas, int(share * volume.count))) for share in _SAMPLED]
    known = [each for each in tried if not isinstance(each, Exception)]
    found = np.concatenate([*known, np.zeros(0, np.int64)])
    if len(found):
        scale = OBJECT / math.sqrt(float(np.median(found)))
    else:
        scale = predictor.model.image_size / max(volume.plane_shape)
    return float(np.clip(scale, *SCALES))


def limits_of(volume: Volume, stack: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
    """Return the contrast limits of a volume: those given, else of pixels without their noise.

    Noise that one plane shows is averaged out over the directions; to the limits of single planes
    it would add so much that objects become faint.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
    """
    given = volume.limits or ()
    if not isinstance(volume.source.contrast_limits, str) or volume.source.rgb:
        return given
    window = central_window(volume.plane_shape, _WINDOW)

    def quiet(plane: int) -> NDArray[np.float32]:
        values = _read(volume, stack, plane, window.slices)
        blurred: NDArray[np.float32] = gaussian_filter(values, (1, 1, 0))
        return blurred.reshape(-1, values.shape[-1])

    tried = [attempt(partial(quiet, plane)) for plane in spread(volume.count, _PLANES)]
    samples = [each for each in tried if not isinstance(each, Exception)]
    if not samples:
        return given
    ends = np.percentile(np.concatenate(samples), _ENDS, axis=0).T.tolist()
    # where hardly anything is in the image, these may be one value
    return tuple(
        (low, high) if high > low else whole for (low, high), whole in zip(ends, given, strict=True)
    )


def plan_parts(shape: tuple[int, int, int], sight: Sight) -> list[Part]:
    """Divide a volume into parts of bounded size, with margins of one and a half objects.

    Parameters
    ----------
    shape : tuple of int
        Planes, rows, columns.
    sight : Sight
    """
    per_pixel = sight.scale / CELL
    # voxels are read at half the pitch of a cell at the most
    most = min(_CELLS, math.floor(_VOXELS ** (1 / 3) * max(per_pixel, 1 / CELL)))
    sides = []
    for size, pitch in zip(
        shape, (per_pixel * sight.anisotropy, per_pixel, per_pixel), strict=True
    ):
        margin = math.ceil(_MARGIN / pitch)
        core = max(1, math.floor((most - 2 * _MARGIN) / pitch))
        count = 1 if size * pitch <= most else math.ceil(size / core)
        edges = np.linspace(0, size, count + 1).round().astype(int).tolist()
        sides.append(
            [
                (slice(max(0, start - margin), min(size, stop + margin)), slice(start, stop))
                for start, stop in pairwise(edges)
            ]
        )
    return [Part((z[0], y[0], x[0]), (z[1], y[1], x[1])) for z, y, x in product(*sides)]


@dataclass(frozen=True, slots=True, eq=False)
class PartPixels:
    """Pixels of a part.

    Parameters
    ----------
    values : float32 array (planes, rows, columns, channels)
        Means of several voxels where these are much smaller than cells.
    sight : Sight
        Of these.
    failed : dict of int to str
        Planes of the volume that could not be read, and why; they hold what the plane before does.
    """

    values: NDArray[np.float32]
    sight: Sight
    failed: dict[int, str]


def read_part(volume: Volume, stack: tuple[int, ...], part: Part, sight: Sight) -> PartPixels:
    """Read a part plane by plane.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
    part : Part
    sight : Sight
        Of the volume's voxels.

    Raises
    ------
    ImageError
        If no plane of it can be read.
    """
    step = max(1, math.floor(1 / sight.scale))
    failed: dict[int, str] = {}
    planes = range(part.box[0].start, part.box[0].stop)
    read = read_planes(volume, stack, planes, part.box[1:], failed)
    values = np.stack([_binned(plane, step) for plane in read])
    return PartPixels(values, Sight(sight.anisotropy / step, sight.scale * step), failed)


def read_planes(
    volume: Volume,
    stack: tuple[int, ...],
    planes: range,
    window: tuple[slice, slice],
    failed: dict[int, str] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Read a window of planes; one that cannot be read is taken from a plane next to it.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
    planes : range
    window : (slice, slice)
        Rows and columns of a plane.
    failed : dict of int to str, optional
        Planes that cannot be read, and why, are added to it.

    Yields
    ------
    float32 array (rows, columns, channels)
        One for each plane, in their order.

    Raises
    ------
    ImageError
        If no plane can be read.
    """
    last: NDArray[np.float32] | None = None
    waiting, why = 0, ""
    for plane in planes:
        values = attempt(partial(_read, volume, stack, plane, window))
        if isinstance(values, Exception):
            why = f"{type(values).__name__}: {values}"
            if failed is not None:
                failed[plane] = why
            if last is None:
                waiting += 1
            else:
                yield last
            continue
        for _ in range(waiting + 1):
            yield values
        last, waiting = values, 0
    if last is None:
        raise ImageError(f"no plane could be segmented: {why}")


def _read(
    volume: Volume, stack: tuple[int, ...], plane: int, window: tuple[slice, slice]
) -> NDArray[np.float32]:
    view, options = volume.bare(plane, stack)
    source = open_image(view, channel_axis=options["channel_axis"], channels=options["channels"])
    values = source.read(0, *window).astype(np.float32)
    for channel, (low, _) in enumerate(options["contrast_limits"]):
        np.nan_to_num(values[..., channel], copy=False, nan=low)
    return values


def _binned(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Means of squares of pixels; what is left at the far edges forms smaller ones."""
    if step == 1:
        return values
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], step)
        counts = np.diff(np.append(starts, values.shape[axis])).astype(np.float32)
        shape = [1] * values.ndim
        shape[axis] = len(counts)
        sums = np.add.reduceat(values, starts, axis=axis)
        values = (sums / counts.reshape(shape)).astype(np.float32)
    return values
