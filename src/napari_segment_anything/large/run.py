"""Everything mode over images of any size, tile by tile; stopped any time, gone on with later."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..automatic import POLICIES, choose_mode
from ..automatic.heads import dense_head
from ..automatic.parameters import resolve
from ..engine import Model, Window
from ..errors import CheckpointError, FormatError, ImageError, ParameterError
from ..formats.locking import only_writer
from ..formats.ome_zarr import open_labels
from ..progress import Progress, finish
from .compose import compose_chunk, plan_chunk
from .image import LargeImage
from .ledger import LEDGER, Ledger, TileStatus, grid_of
from .opening import (
    destination_of,
    model_and_spec,
    open_run,
    plain,
    precision_there,
    signature,
    tiles_over,
)
from .plan import LargePlan, peak_memory
from .result import LargeResult, LargeView, failures
from .runners import DaskRunner, ThreadRunner, make_runner
from .stitching import Stitched, stitch
from .tiles import EMPTY_THRESH, PROBES, Job, StoreError, TileReport, keep_model, run_tile, writing
from .unchanged import check_unchanged

HOPELESS = 20
_FATAL = (StoreError, CheckpointError, ParameterError)

Steps = Generator[Progress, None, LargeResult]


def segment_large(
    image: Any,
    output: str | Path | None = None,
    model: Model | str | Path = "default",
    *,
    on_progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> LargeResult:
    """Segment every object of an image of any size, into an OME-Zarr label image.

    The image is segmented in overlapping tiles; objects that tiles share are made one. Every
    plane of a stack is segmented by itself. Only windows are ever read. The run can be killed at
    any time: the same call goes on, and ends with the same labels. Labels do not depend on the
    number of workers, on where they run, or on interruptions.

    Parameters
    ----------
    image : str, Path or array-like
        Path or URL of a Zarr or OME-Zarr image, TIFF or any other file `read_image` opens; an
        array (NumPy, Zarr, Dask); the levels of a pyramid, the full resolution first; or an
        `ImageData` with axes, scale and units.
    output : str or Path, optional
        OME-Zarr store for the labels, new or existing (an image's own store is a good place);
        left out, the image's own store, which must then be an OME-Zarr image. Labels lie in its
        ``labels/`` under the name `label`.
    model : Model, str or Path
        As `load_model` returns it, or what it takes. Workers of a cluster load it themselves,
        so it must have a name or file.
    on_progress : callable, optional
        Called with every `Progress`, whose `partial` is a `LargeView`; if it raises, the run stops
        and can be gone on with.
    **options
        Those of `segment_large_steps`.

    Returns
    -------
    LargeResult
        Where the labels are, tables of objects and seams, and tiles that failed.

    Raises
    ------
    ImageError, ParameterError, CheckpointError
        If image, parameters or model cannot be used, or `output` holds a run with other settings.
    FormatError
        If labels cannot be created at `output`.
    ResourceError
        If another process is writing these labels, or the store cannot be written to any more:
        nothing finished is lost.
    """
    return finish(segment_large_steps(image, output, model, **options), on_progress)


def segment_large_steps(
    image: Any,
    output: str | Path | None = None,
    model: Model | str | Path = "default",
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
    empty_thresh: float = EMPTY_THRESH,
    axes: str | None = None,
    channel_axis: int | None = None,
    channels: Sequence[int] | None = None,
    contrast_limits: Any = "auto",
    device: str = "auto",
    precision: str = "auto",
    instance_decoder: str | Path | None = None,
    **parameters: Any,
) -> Steps:
    """Segment an image of any size, step by step.

    `image`, `output` and `model` are those of `segment_large`.

    Parameters
    ----------
    mode : {"auto", "grid", "proposals", "instances"}
        As for `segment_everything`.
    tile : int, optional
        Side of a tile in pixels; by default the model's frame, so that pixels are seen as they
        are. A larger tile is seen reduced, which suits larger objects.
    overlap : int, optional
        Pixels that neighbouring tiles share, by default an eighth of the tile. Objects smaller
        than half of it are seen whole by some tile for certain; larger ones are put together.
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
        Begin anew where `output` has a label image of that name.
    policy : {"small", "score", "large"}
        Which mask wins where two of a tile overlap; see `CandidateTable.resolve`.
    oversize : {"merge", "redecode"}
        Objects that no tile sees whole: put together from their pieces, or prompted for again
        with the box around the pieces, in a window that holds all of it.
    empty_thresh : float
        Tiles whose local mean (over 8 x 8 pixels) varies by less than this many grey levels,
        of the 255 between the contrast limits, are taken as empty; 0 looks at every tile.
    axes : str, optional
        A letter per dimension of the image (TZCYXS), in place of what the file says.
    channel_axis, channels, contrast_limits
        As for `Predictor.embed`. Contrast limits are settled once for the whole run.
    device, precision, instance_decoder : str
        Where and how a model that is given by name runs, and what goes with it; see `load_model`.
    **parameters
        Of everything mode, as for `segment_everything`.

    Yields
    ------
    Progress
        After every tile and now and then in between; `partial` is a `LargeView`.

    Returns
    -------
    LargeResult
        As `segment_large`.
    """
    began = time.perf_counter()
    if retries < 0:
        raise ParameterError(f"retries is at least 0, not {retries}")
    if policy not in POLICIES:
        raise ParameterError(f"policy is one of {', '.join(POLICIES)}, not {policy!r}")
    if oversize not in ("merge", "redecode"):
        raise ParameterError(f"oversize is 'merge' or 'redecode', not {oversize!r}")
    if not 0 <= empty_thresh <= 255:
        raise ParameterError(f"empty_thresh lies between 0 and 255, not {empty_thresh}")
    remote = not (isinstance(scheduler, str) and scheduler == "threads")
    with ExitStack() as opened:
        runner: ThreadRunner | DaskRunner | None = None
        if remote:
            runner = make_runner(scheduler, workers, "cpu", worker_resources)
            opened.callback(runner.close)
        loaded, spec = model_and_spec(model, device, precision, remote, instance_decoder)
        if runner is not None and not isinstance(model, Model):
            spec = yield from precision_there(runner, spec, loaded)
        mode = choose_mode(loaded, mode)
        given = {name: value for name, value in parameters.items() if value is not None}
        values = resolve(mode, given, loaded.everything_defaults(mode), dense_head(loaded))
        large = LargeImage.of(image, axes, channel_axis, channels, contrast_limits)
        grid = tiles_over(large, loaded, tile, overlap, region)
        wanted = {
            "ledger": LEDGER,
            "version": __version__.rsplit(".", 1)[0],
            "image": signature(large),
            "contrast": plain(contrast_limits),
            "model": loaded.fingerprint,
            "precision": spec.precision,
            "mode": mode,
            "parameters": plain(values),
            "policy": policy,
            "oversize": oversize,
            "empty_thresh": float(empty_thresh),
            "tile": grid.tile,
            "overlap": grid.overlap,
            "region": [grid.region.row, grid.region.col, *grid.region.shape],
        }
        destination = destination_of(image, output)
        if runner is None:
            keep_model(spec, loaded)
            runner = make_runner(scheduler, workers, loaded.device.type, worker_resources)
        opened.enter_context(only_writer(destination, label))
        group, ledger = open_run(large, destination, label, grid, wanted, overwrite)
        limits = tuple((float(a), float(b)) for a, b in ledger.run["limits"])
        job = Job(
            replace(large, contrast_limits=limits, token=uuid.uuid4().hex),
            group, grid, spec, mode, policy, given, float(empty_thresh), runner.torch_threads,
        )  # fmt: skip
        return (yield from _Run(job, ledger, runner, retries, oversize, began).steps())


def open_large(output: str | Path, label: str | None = None) -> LargeResult:
    """Open what a large run left, finished or not, without a model.

    Parameters
    ----------
    output : str or Path
        The OME-Zarr store, or the label group itself.
    label : str, optional
        Name of the label image, where there are several.

    Returns
    -------
    LargeResult
        Labels, tables, seams and failed tiles; tables are empty until the run was finished.

    Raises
    ------
    FormatError
        If there are no labels, or no run made them.
    """
    group = open_labels(output, label)
    run = Ledger.present(group)
    if run is None:
        raise FormatError(f"{group.path} has labels that no large run made")
    grid = grid_of(group, run)
    status = Ledger(group, grid).status()
    return LargeResult(group, grid, status, failures(grid, status, run.get("failed", {})))


class _Run:
    """One call: tiles, stitching, labels, pyramid."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        runner: ThreadRunner | DaskRunner,
        retries: int,
        oversize: str,
        began: float,
    ) -> None:
        self.job, self.ledger, self.runner = job, ledger, runner
        self.retries, self.oversize, self.began = retries, oversize, began
        self.grid = job.grid
        self.status = ledger.status()
        self.reasons: dict[str, str] = dict(ledger.run.get("failed", {}))
        self.plan = LargePlan.of(self.grid, self._finished(), runner.workers)
        self.hopeless = 0

    def steps(self) -> Steps:
        run = self.ledger.run
        kept = np.flatnonzero((self.status == TileStatus.DONE) | (self.status == TileStatus.EMPTY))
        with writing(self.job.labels.path):
            for step in check_unchanged(self.job, self.ledger, self.runner, kept.tolist()):
                yield Progress(step.done, step.total, self._view(), step.message)
        if run["state"] == "complete" and not (self.status == TileStatus.FAILED).any():
            yield self._progress("finished before")
            return self._result()
        with writing(self.job.labels.path):
            stored = run["state"]
            if stored == "complete":  # some tiles failed then: they get another chance
                self.ledger.note(state="running")
            changed = yield from self._tiles()
            if changed or run.get("stitched") is not True:
                self.ledger.note(stitched=False, state="running")
                self.ledger.reset_composed()
            stitched = yield from self._stitch()
            yield from self._compose(stitched)
            yield from self.job.labels.build_pyramid()
            self.ledger.note(state="complete")
            if self.oversize == "redecode":
                from .redecoding import redecode_oversize

                yield from redecode_oversize(self.job, self.ledger)
        return self._result()

    # -- tiles -----------------------------------------------------------------------------------

    def _tiles(self) -> Generator[Progress, None, bool]:
        """Segment what is left; says whether anything was."""
        unfinished = np.isin(self.status.ravel(), (TileStatus.TODO, TileStatus.FAILED))
        left = np.flatnonzero(unfinished).tolist()
        if not left:
            return False
        yield self._progress("timing a tile")
        before = self._finished()
        timed = yield from self._time(left)
        self.plan = LargePlan.of(
            self.grid, before, self.runner.workers, timed, self.runner.dashboard
        )
        yield self._progress("segmenting")
        for attempt in range(self.retries + 1):
            todo = [i for i in left if self._at(i) in (TileStatus.TODO, TileStatus.FAILED)]
            if not todo:
                break
            message = "segmenting" if not attempt else f"trying {len(todo)} failed tiles again"
            yield from self._round(todo, message)
        failed = int((self.status == TileStatus.FAILED).sum())
        if failed and failed == len(self.grid):
            raise ImageError(f"every tile failed: {next(iter(self.reasons.values()))}")
        return True

    def _time(self, left: Sequence[int]) -> Generator[Progress, None, Any]:
        """Run tiles one by one, from the middle, until one was not empty."""
        places = sorted({len(left) // 2, *np.linspace(0, len(left) - 1, PROBES).astype(int)})
        places.sort(key=lambda place: abs(place - len(left) // 2))
        for place in places:
            report: TileReport | None = None
            with peak_memory() as peak:
                for outcome in self.runner.run(run_tile, self.job, [left[place]]):
                    if outcome is not None:
                        report = self._take(outcome)
                    yield self._progress("timing a tile")
            if report is not None and not report.empty:
                here = peak.bytes if isinstance(self.runner, ThreadRunner) else None
                return report.seconds, report.stored, here
        return None

    def _round(self, todo: Iterable[int], message: str) -> Generator[Progress, None, None]:
        with writing(self.job.labels.path):
            for outcome in self.runner.run(run_tile, self.job, todo):
                if outcome is not None:
                    self._take(outcome)
                    if self.hopeless >= HOPELESS:
                        raise ImageError(
                            f"{HOPELESS} tiles one after another failed, the last with: "
                            f"{self.reasons[str(outcome[0])]}"
                        )
                yield self._progress(message)

    def _take(self, outcome: tuple[int, Any]) -> TileReport | None:
        index, found = outcome
        if isinstance(found, _FATAL):
            raise found
        if isinstance(found, Exception):
            self.hopeless += 1
            self.reasons[str(index)] = " ".join(str(found).split())[:500] or type(found).__name__
            self.ledger.note(failed=self.reasons)
            self._set(index, TileStatus.FAILED)
            return None
        self.hopeless = 0
        if self.reasons.pop(str(index), None) is not None:
            self.ledger.note(failed=self.reasons)
        self.ledger.set_read(index, found.read)
        self._set(index, TileStatus.EMPTY if found.empty else TileStatus.DONE)
        report: TileReport = found
        return report

    # -- labels ----------------------------------------------------------------------------------

    def _stitch(self) -> Generator[Progress, None, Stitched]:
        for step in stitch(self.ledger):
            if isinstance(step, Stitched):
                stitched = step
            else:
                yield Progress(step.done, step.total, self._view(), step.message)
        return stitched

    def _compose(self, stitched: Stitched) -> Generator[Progress, None, None]:
        composed = self.ledger.composed()
        counted = np.zeros(len(stitched.table["label"]) + 1, np.int64)
        # areas of chunks that an earlier call composed are counted again: cheap, and exact
        if composed.any():
            self.ledger.reset_composed()
        self.ledger.note(stitched=True)
        plans = (plan_chunk(self.grid, stitched, index) for index in range(len(self.grid)))
        done = 0
        trouble: list[tuple[Any, Exception]] = []
        for outcome in self.runner.run(compose_chunk, self.job, plans):
            if outcome is not None:
                plan, found = outcome
                if isinstance(found, Exception):
                    trouble.append((plan, found))
                else:
                    counted[found[1]] += found[2]
                    done += 1
            yield Progress(done, len(self.grid), self._view(), "writing labels")
        for plan, error in trouble:
            if isinstance(error, _FATAL):
                raise error
            _, ids, areas = compose_chunk(self.job, plan)  # here, where it cannot be lost
            counted[ids] += areas
        table = {**stitched.table, "area": counted[stitched.table["label"]]}
        seen = table["area"] > 0
        self.ledger.write_table("objects", {name: column[seen] for name, column in table.items()})
        self.ledger.write_table("seams", stitched.seams)

    # -- state -----------------------------------------------------------------------------------

    def _at(self, index: int) -> int:
        return int(self.status[self.grid.place(index)])

    def _set(self, index: int, status: TileStatus) -> None:
        self.status[self.grid.place(index)] = int(status)
        self.ledger.set_status(index, status)

    def _finished(self) -> int:
        return int(((self.status == TileStatus.DONE) | (self.status == TileStatus.EMPTY)).sum())

    def _view(self) -> LargeView:
        return LargeView(self.job.labels, self.grid, self.status, self.plan)

    def _progress(self, message: str) -> Progress:
        failed = int((self.status == TileStatus.FAILED).sum())
        if failed:
            message += f", {failed} failed"
        return Progress(self._finished(), len(self.grid), self._view(), message)

    def _result(self) -> LargeResult:
        return LargeResult(
            self.job.labels,
            self.grid,
            self.status.copy(),
            failures(self.grid, self.status, self.reasons),
            time.perf_counter() - self.began,
        )
