"""One tile: read, segment, keep. Runs in any thread or process."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, uniform_filter

from ..automatic import CandidateTable, segment_everything
from ..engine import Model, load_model, open_image
from ..engine.contrast import stretch
from ..engine.device import choose_device, choose_precision, encoder_work, precision_name
from ..errors import CheckpointError, ResourceError
from ..formats.marks import pixel_hash
from ..formats.ome_zarr import LabelsGroup
from .grid import TileGrid, within
from .image import LargeImage
from .ledger import Ledger, TileResult

EDGE = 2
"""A mask this near to a window's edge may go on beyond it: masks often stop a pixel short."""

EMPTY_THRESH = 4.0
PROBES = 8
"""Tiles tried, at most, until one that is not empty has been timed."""

_BLOCK = 8


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model, so that any process can load it.

    Parameters
    ----------
    source : str
        Name, path or URL, as for `load_model`.
    fingerprint : str
        Of its weights.
    device, precision : str
        As for `load_model`.
    instance_decoder : str, optional
        As for `load_model`.
    """

    source: str
    fingerprint: str
    device: str = "auto"
    precision: str = "auto"
    instance_decoder: str | None = None


_loaded: dict[ModelSpec, Model] = {}
_loading = threading.Lock()


def keep_model(spec: ModelSpec, model: Model) -> None:
    """Let this process use a model that it has loaded already."""
    with _loading:
        _loaded[spec] = model


def settled_precision(device: str, precision: str, encoder: str) -> str:
    """Return the precision a model with such an encoder would have in this process."""
    where = choose_device(device)
    found = [choose_precision(precision, where, w)[0] for w in (encoder_work(encoder), "decoder")]
    return precision_name(*found)


def model_of(spec: ModelSpec) -> Model:
    """Return a model, loaded once in each process.

    Raises
    ------
    CheckpointError
        If the file holds other weights here than where the run was begun.
    """
    with _loading:
        if spec not in _loaded:
            options = {}
            if spec.instance_decoder is not None:
                options["instance_decoder"] = spec.instance_decoder
            model = load_model(spec.source, spec.device, spec.precision, **options)
            if model.fingerprint != spec.fingerprint:
                raise CheckpointError(
                    f"{spec.source} holds other weights on this machine than where the run was "
                    "begun; give every worker the same file"
                )
            _loaded.clear()  # one model per process
            _loaded[spec] = model
        return _loaded[spec]


@dataclass(frozen=True, slots=True)
class Job:
    """All that is needed to work on any tile of a run.

    Parameters
    ----------
    image : LargeImage
        With settled contrast limits.
    labels : LabelsGroup
        Where results go.
    grid : TileGrid
        The tiles.
    model : ModelSpec
        What segments.
    mode, policy : str
        As for `segment_everything` and `CandidateTable.to_labels`.
    parameters : mapping
        Of everything mode.
    empty_thresh : float
        See `segment_large`.
    torch_threads : int or None
        Threads torch may use for one operation in this process; None leaves that alone.
    """

    image: LargeImage
    labels: LabelsGroup
    grid: TileGrid
    model: ModelSpec
    mode: str
    policy: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    empty_thresh: float = 0.0
    torch_threads: int | None = None


@dataclass(frozen=True, slots=True)
class TileReport:
    """What became of a tile.

    Parameters
    ----------
    index : int
        Number of the tile.
    objects : int
        How many were found.
    empty : bool
        Whether nothing was there to look at.
    seconds : float
        Time it took.
    read : (int, int)
        Hash and mark of the pixels it was read from.
    stored : int
        Bytes kept of it.
    """

    index: int
    objects: int
    empty: bool
    seconds: float
    read: tuple[int, int]
    stored: int = 0


def run_tile(job: Job, index: int) -> TileReport:
    """Segment a tile, keep what was found, and show it in the labels until they are composed.

    Raises
    ------
    ImageError
        If the image cannot be read there.
    ResourceError
        If memory does not suffice, or results cannot be written (`StoreError`).
    """
    began = time.perf_counter()
    if job.torch_threads is not None:
        import torch

        if torch.get_num_threads() != job.torch_threads:
            torch.set_num_threads(job.torch_threads)
    # before the pixels: what is written meanwhile is noticed by the next call
    mark = tile_marks(job, [index])[0]
    pixels = read_window(job, index)
    read = pixel_hash(pixels), mark
    if shows_nothing(job, pixels):
        return TileReport(index, 0, True, time.perf_counter() - began, read)
    table = segment_everything(
        pixels,
        model_of(job.model),
        job.mode,
        contrast_limits=job.image.contrast_limits,
        channel_axis=2,
        **job.parameters,
    )
    result = measure(table, job.grid, index, job.policy)
    stored = _write(job, index, result)
    return TileReport(index, len(result), False, time.perf_counter() - began, read, stored)


def read_window(job: Job, index: int) -> NDArray[Any]:
    """Read a tile's window: (rows, columns, channels in use)."""
    grid, planes = job.grid, job.image.planes
    plane = grid.plane(index)
    arguments = planes.embed_arguments(plane)
    source = open_image(
        planes.image(plane),
        channel_axis=arguments["channel_axis"],
        channels=arguments["channels"],
    )
    return source.read(0, *grid.window(index).slices)


def tile_marks(job: Job, tiles: Sequence[int]) -> list[int]:
    """Return the mark of each tile's window; see `LargeImage.marks`."""
    return job.image.marks((job.grid.plane(i), job.grid.window(i)) for i in tiles)


def what_is_read(job: Job, index: int) -> tuple[int, int]:
    """Return hash and mark of the pixels that a tile is read from."""
    mark = tile_marks(job, [index])[0]
    return pixel_hash(read_window(job, index)), mark


def shows_nothing(job: Job, pixels: NDArray[Any]) -> bool:
    """Whether a tile is taken as empty."""
    if job.empty_thresh <= 0:
        return False
    return _spread(stretch(pixels, job.image.contrast_limits)) < job.empty_thresh


def _spread(shown: NDArray[Any]) -> float:
    """Range of local means, in grey levels."""
    grey = shown if shown.ndim == 2 else shown.astype(np.float32).mean(axis=2)
    means = uniform_filter(grey.astype(np.float32, copy=False), _BLOCK, mode="nearest")
    return float(means.max() - means.min())


def measure(table: CandidateTable, grid: TileGrid, index: int, policy: str) -> TileResult:
    """Reduce a candidate table to what stitching needs."""
    resolved = table.resolve(policy)
    rows = np.flatnonzero(resolved.label)
    # consecutive ids, in the table's order
    ids = np.zeros(
        int(resolved.labels.max(initial=0)) + 1, np.uint16 if len(rows) < 65535 else np.uint32
    )
    ids[resolved.label[rows]] = np.arange(1, len(rows) + 1)
    labels = ids[resolved.labels]
    count = len(rows)
    window, core = grid.window(index), grid.core(index)
    inner = grid.inner_edges(index)
    boxes = np.zeros((count, 4), np.int64)
    touches = np.zeros(count, np.uint8)
    for i, spans in enumerate(find_objects(labels, count)):
        if spans is None:
            continue
        (r, c) = spans
        boxes[i] = (
            window.row + r.start,
            window.col + c.start,
            window.row + r.stop - 1,
            window.col + c.stop - 1,
        )
        near = (
            r.start < EDGE,
            c.start < EDGE,
            r.stop > window.height - EDGE,
            c.stop > window.width - EDGE,
        )
        touches[i] = sum(1 << bit for bit in range(4) if near[bit] and inner[bit])
    kept = table.kept[rows]
    return TileResult(
        labels,
        boxes,
        np.bincount(labels.ravel(), minlength=count + 1)[1:],
        np.bincount(labels[within(core, window)].ravel(), minlength=count + 1)[1:],
        touches,
        table.candidates.predicted_iou[kept].astype(np.float32),
        table.candidates.stability_score[kept].astype(np.float32),
    )


def _write(job: Job, index: int, result: TileResult) -> int:
    grid = job.grid
    core, window = grid.core(index), grid.window(index)
    cut = result.labels[within(core, window)]
    # ids that will not meet; for the eye only, until the labels are composed
    shown = np.where(cut > 0, cut.astype(np.uint64) + (index % 32768) * 131072, 0)
    with writing(job.labels.path):
        stored = Ledger(job.labels, grid).put(index, result)
        array: Any = job.labels.array
        array[(*grid.plane(index), *core.slices)] = shown.astype(array.dtype)
    return stored


class StoreError(ResourceError):
    """The store does not take what is written to it: no tile can be kept."""


class writing:
    """Turn what a store raises while it is written into one clear `StoreError`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise StoreError(
                f"{self.path} cannot be written: {reason}. Nothing finished is lost; make room or "
                "mend it, then give the same command again to go on."
            ) from error
