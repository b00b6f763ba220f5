"""Large runs over a viewer's image: what they read, where they write, and their progress."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...engine import Model, PlaneSource
from ...errors import ImageError, SegmentAnythingError
from ...formats import ImageData
from ...formats.ome_zarr import is_url, label_names, open_labels
from ...large import LargePlan, LargeResult, LargeView, TileGrid, TileStatus, segment_large_steps
from ...large.image import LargeImage
from ...large.ledger import Ledger
from ...large.runners import cores
from ...progress import Progress
from ..viewer.images import ImageAxes, source_of
from .live_labels import LiveLabels

if TYPE_CHECKING:
    from napari.layers import Image

LIVE_SECONDS = 1.0
"""Seconds between updates of the layers of a run."""


@dataclass(frozen=True, slots=True, eq=False)
class LargeSource:
    """The whole image of a viewer, as large runs and stacks take it.

    Parameters
    ----------
    layers : tuple of Image
        Several are its channels.
    axes : ImageAxes
    source : PlaneSource
    letters : str
        A letter for each axis of the source's data: Y and X are the axes the viewer displays.
    """

    layers: tuple[Image, ...]
    axes: ImageAxes
    source: PlaneSource
    letters: str

    @classmethod
    def of(
        cls, layers: Sequence[Image], axes: ImageAxes, contrast_limits: Any = "auto"
    ) -> LargeSource:
        """Describe image layers as one source.

        Raises
        ------
        ImageError
            If the layers cannot be one image, or have too many axes.
        """
        source = source_of(tuple(layers), axes, contrast_limits=contrast_limits)
        letters = [""] * len(source.data_shape)
        letters[source.displayed[0]], letters[source.displayed[1]] = "Y", "X"
        if source.rgb:
            letters[-1] = "S"
        if source.channel_axis is not None:
            letters[source.channel_axis] = "C"
        shift = len(letters) - len(axes.shape) - int(source.rgb)
        names = [str(name).strip().upper() for name in layers[0].axis_labels]
        free = list("QTZ")
        for axis, name in enumerate(names, start=shift):
            if 0 <= axis < len(letters) and not letters[axis] and name in free:
                letters[axis] = name
                free.remove(name)
        for axis in reversed(range(len(letters))):
            if not letters[axis]:
                if not free:
                    raise ImageError("an image has three axes at most beside rows and columns")
                letters[axis] = free.pop(0)
        return cls(tuple(layers), axes, source, "".join(letters))

    @property
    def order(self) -> tuple[int | None, ...]:
        """For each axis of the layer the axis of its labels; None on the axis of channels."""
        kept = [*self.axes.planes, *self.axes.displayed]
        return tuple(
            None if axis == self.axes.channel else kept.index(axis)
            for axis in range(len(self.axes.shape))
        )

    @property
    def data(self) -> ImageData:
        """The image's arrays, with letters, pixel sizes and units of their axes."""
        layer, letters = self.layers[0], self.letters
        shift = len(letters) - layer.ndim - int(self.source.rgb)
        scale, units = [1.0] * len(letters), [""] * len(letters)
        for axis in range(layer.ndim):
            scale[axis + shift] = float(layer.scale[axis])
            units[axis + shift] = str(layer.units[axis])
        channels = self.source.channel_axis
        if channels is not None:
            scale[channels], units[channels] = 1.0, ""
        levels = self.source.levels
        return ImageData(
            array=levels[0],
            axes=letters,
            channel_axis=channels,
            rgb=self.source.rgb,
            scale=tuple(scale),
            units=tuple(None if unit in ("", "pixel") else unit for unit in units),
            name=layer.name,
            levels=levels,
            path=self.source.path,
        )

    def image(self) -> str | ImageData:
        """Return what to read: the file that it came from, if that holds these pixels, or arrays.

        A run on a file can be resumed from anywhere. Reads a few small windows.
        """
        path = self.source.path
        if path is not None and (is_url(path) or Path(path).exists()):
            try:
                if LargeImage.of(path).planes.identity() == self.source.identity():
                    return path
            except SegmentAnythingError:
                return self.data
        return self.data


def default_store(layer: Image) -> str:
    """Return the default store of an image's labels: its own OME-Zarr, else one beside its file.

    "" for an image that was not read from a file.
    """
    path = layer.source.path
    if not path or is_url(path):
        return ""
    place = Path(path)
    for inside in (place, *place.parents[:2]):
        for name in ("zarr.json", ".zattrs"):
            try:
                if "multiscales" in (inside / name).read_text("utf-8"):
                    return str(inside)
            except (OSError, UnicodeDecodeError):
                continue
    stem = place.name
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr", place.suffix):
        if suffix and stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    return str(place.with_name(f"{stem}_labels.ome.zarr"))


def unfinished(store: str, label: str) -> tuple[int, int] | None:
    """Return how many tiles of an unfinished run are done, and their total; None without one."""
    try:
        if not store or is_url(store) or not Path(store).exists():
            return None
        if label not in label_names(store):
            return None
        group = open_labels(store, label)
        ledger = Ledger.open(group)
        if ledger is None or ledger.run.get("state") == "complete":
            return None
        status = ledger.status()
    except (SegmentAnythingError, OSError, KeyError, TypeError):
        return None
    return int(np.isin(status, (TileStatus.DONE, TileStatus.EMPTY)).sum()), int(status.size)


def spare_workers(device: str) -> int | None:
    """Return how many tiles to process at a time while people work in the viewer.

    On the CPU this leaves one core free; None leaves the number to the runner.
    """
    return max(1, cores() - 1) if device == "cpu" else None


def outline(source: LargeSource, tile: int, overlap: int, workers: int) -> LargePlan:
    """Return the plan of a run before anything was timed.

    Raises
    ------
    ParameterError
        If tiles and overlap do not fit.
    """
    grid = TileGrid.over(source.axes.rows_cols, source.axes.plane_shape, tile, overlap)
    return LargePlan.of(grid, 0, workers)


@dataclass(frozen=True, slots=True, eq=False)
class LargeStep:
    """The state of a run.

    Parameters
    ----------
    live : LiveLabels
    grid : TileGrid
    status : uint8 array (planes, tile rows, tile columns)
        When the step was made.
    plan : LargePlan
    fresh : bool
        Whether the layers should be updated.
    path : str
        Of the label image.
    """

    live: LiveLabels
    grid: TileGrid
    status: NDArray[np.uint8]
    plan: LargePlan
    fresh: bool
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class LargeDone:
    """A finished run with its tables."""

    result: LargeResult
    objects: Mapping[str, NDArray[Any]]
    seams: Mapping[str, NDArray[Any]]


def large_steps(
    source: LargeSource, store: str, model: Model, **options: Any
) -> Generator[Progress, None, LargeDone]:
    """Run everything mode over a viewer's whole image. May run on any thread.

    Parameters
    ----------
    store : str
        The store for the labels; "" for the image's own.
    **options
        Those of `segment_large_steps`; `workers` is `spare_workers` by default.

    Yields
    ------
    Progress
        Its `partial` is a `LargeStep` while tiles are segmented.
    """
    yield Progress(0, 1, message="opening the image")
    options.setdefault("workers", spare_workers(model.device.type))
    steps = segment_large_steps(source.image(), store or None, model, **options)
    live: LiveLabels | None = None
    shown, before = -np.inf, ""
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: LargeResult = stop.value
                break
            view = step.partial
            if not isinstance(view, LargeView):
                yield replace(step, partial=None)
                continue
            now, phase = time.monotonic(), step.message.partition(",")[0]
            fresh = now - shown > LIVE_SECONDS or phase != before
            if live is None:
                live = LiveLabels(view.labels.array, view.grid)
            if fresh:
                live.update(view.status)
                shown, before = now, phase
            here = LargeStep(
                live, view.grid, view.status.copy(), view.plan, fresh, str(view.labels.path)
            )
            yield replace(step, partial=here)
    finally:
        steps.close()
    yield Progress(1, 1, message="reading the tables")
    return LargeDone(result, result.table, result.seams)
