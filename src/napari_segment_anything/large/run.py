"""Everything mode over images of any size, tile by tile; it can be stopped and resumed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..engine import Model, Window
from ..errors import ParameterError
from ..formats.locking import only_writer
from ..parameters import RUN, TILING, check_values
from ..progress import Progress, finish
from .dask_runner import DaskRunner
from .image import LargeImage
from .ledger import LEDGER
from .opening import destination_of, open_run, tiles_over
from .phases import run_phases
from .result import LargeResult
from .runners import Runner, ThreadRunner
from .segmenting import WindowFunction, prepare
from .tiles import ImageTiles, TileJob

LargeSteps = Generator[Progress, None, LargeResult]


def segment_large(
    image: Any,
    output: str | Path | None = None,
    model: Model | str | Path | WindowFunction = "default",
    *,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> LargeResult:
    """Segment every object of an image of any size, into an OME-Zarr label image.

    The image is segmented in overlapping tiles, and objects that several tiles see are joined.
    Every plane of a stack is segmented by itself. The image is read window by window, never whole.
    The run can be killed at any time: the same call resumes it. Labels depend neither on the number
    of workers, nor on where they run, nor on interruptions.

    Parameters
    ----------
    image : str, Path or array-like
        Path or URL of a Zarr or OME-Zarr image, TIFF or any other file `read_image` opens; an
        array (NumPy, Zarr, Dask); the levels of a pyramid, the full resolution first; or an
        `ImageData` with axes, scale and units.
    output : str or Path, optional
        OME-Zarr store for the labels, new or existing; by default the image's own store, which
        must then be an OME-Zarr image. Labels are written to its group ``labels/``, under the name
        `label`.
    model : Model, str, Path or callable
        A loaded model, or what `load_model` takes; workers of a cluster load it themselves, so
        they need its name or file. Or a function that segments a window: it takes the pixels as
        stored (rows, columns, channels), and returns a label image (rows, columns), or a label
        image and a score for each label, in ascending order of labels.
    on_progress : callable, optional
        Called with every `Progress`, whose `partial` is a `LargeView`; if it raises, the run stops
        and can be resumed.
    **options
        Those of `segment_large_steps`.

    Returns
    -------
    LargeResult
        The place of the labels, tables of objects and seams, and the tiles that failed.

    Raises
    ------
    ImageError, ParameterError, CheckpointError
        If image, parameters or model cannot be used, or `output` holds a run with other settings.
    FormatError
        If labels cannot be created at `output`.
    ResourceError
        If another process is writing these labels, or the store cannot be written to any more.
        Finished tiles are kept.
    """
    return finish(segment_large_steps(image, output, model, **options), on_progress)


def segment_large_steps(
    image: Any,
    output: str | Path | None = None,
    model: Model | str | Path | WindowFunction = "default",
    *,
    mode: str = "auto",
    tile: int | None = None,
    overlap: int | None = None,
    label: str = "segment_anything",
    scheduler: Any = "threads",
    workers: int | None = None,
    worker_resources: Mapping[str, float] | None = None,
    region: Window | None = None,
    retries: int = 2,
    overwrite: bool = False,
    policy: str = "small",
    oversize: str = "merge",
    empty_thresh: float = 4.0,
    axes: str | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    device: str = "auto",
    precision: str = "auto",
    instance_decoder: str | Path | None = None,
    **parameters: Any,
) -> LargeSteps:
    """Segment an image of any size, step by step.

    `image`, `output` and `model` are those of `segment_large`.

    Parameters
    ----------
    mode : {"auto", "grid", "proposals", "instances"}
        As for `segment_everything`.
    tile : int, optional
        Side of a tile in pixels; by default the model's frame, so that tiles are encoded at full
        resolution (1024 for a function). A larger tile is reduced, which suits larger objects.
    overlap : int, optional
        Pixels that neighbouring tiles share, by default an eighth of the tile. Objects smaller
        than half of it always lie wholly in some tile; larger ones may be joined from pieces.
    label : str
        Name of the label image.
    scheduler : "threads", str, distributed.Client or cluster
        Threads of this process, or a Dask cluster: its scheduler's address, a client, or the
        cluster itself.
    workers : int, optional
        Number of threads; by default one per core.
    worker_resources : mapping, optional
        What a tile needs of a Dask worker, such as ``{"GPU": 1}``.
    region : Window, optional
        The part of every plane to segment; by default all.
    retries : int
        How often a tile that failed is tried again, after all others.
    overwrite : bool
        Replace a label image of that name, and begin again.
    policy : {"small", "score", "large"}
        Which mask wins where two of a tile overlap; see `CandidateTable.resolve`.
    oversize : {"merge", "redecode"}
        Objects that lie in no tile wholly: joined from their pieces, or segmented once more, with
        the box around the pieces as prompt, in a window that holds all of them.
    empty_thresh : float
        Tiles are skipped as empty where their local mean (over 8 x 8 pixels) varies by less than
        this many grey levels, of the 255 between the contrast limits; 0 skips none.
    axes : str, optional
        A letter per dimension of the image (TZCYXS), in place of those in the file.
    channel_axis, channels, contrast_limits
        As for `Predictor.embed`. Contrast limits are settled once for the whole run.
    device, precision, instance_decoder : str
        For a model given by name or file; see `load_model`.
    **parameters
        Of everything mode, as for `segment_everything`.

    Yields
    ------
    Progress
        After every tile, and about four times a second; `partial` is a `LargeView`.

    Returns
    -------
    LargeResult
        As `segment_large`.
    """
    began = time.perf_counter()
    check_values(
        {**RUN, **TILING},
        {"mode": mode, "policy": policy, "tile": tile, "overlap": overlap, "workers": workers,
         "retries": retries, "oversize": oversize, "empty_thresh": empty_thresh},
    )  # fmt: skip
    if oversize == "redecode" and callable(model) and not isinstance(model, Model):
        raise ParameterError("oversize='redecode' prompts a model; a function has no prompts")
    remote = not (isinstance(scheduler, str) and scheduler == "threads")
    with ExitStack() as opened:
        runner: Runner | None = None
        if remote:
            runner = opened.enter_context(DaskRunner(scheduler, workers, worker_resources))
        with_what = yield from prepare(
            model, mode, policy, parameters, device=device, precision=precision,
            instance_decoder=instance_decoder, cluster=runner,
        )  # fmt: skip
        large = LargeImage.of(image, axes, channel_axis, channels, contrast_limits)
        grid = tiles_over(large, tile or with_what.side, overlap, region)
        wanted = {
            "ledger": LEDGER,
            "version": __version__.rsplit(".", 1)[0],
            "image": large.planes.identity(),
            "contrast": contrast_limits,
            **with_what.settings,
            "policy": policy,
            "oversize": oversize,
            "empty_thresh": float(empty_thresh),
            "tile": grid.tile,
            "overlap": grid.overlap,
            "region": [grid.region.row, grid.region.col, *grid.region.shape],
        }
        destination = destination_of(image, output)
        if runner is None:
            runner = ThreadRunner(workers, with_what.device, worker_resources)
        else:
            large.check_portable()
        opened.enter_context(only_writer(destination, label))
        ledger = open_run(large, destination, label, grid, wanted, overwrite)
        limits = tuple((float(a), float(b)) for a, b in ledger.run["limits"])
        large = replace(large, contrast_limits=limits, token=uuid.uuid4().hex)
        job = TileJob(
            ImageTiles(large, grid), with_what.segment, ledger, float(empty_thresh),
            runner.torch_threads,
        )  # fmt: skip
        result = yield from run_phases(job, ledger, runner, retries, oversize == "redecode")
        return replace(result, seconds=time.perf_counter() - began)
