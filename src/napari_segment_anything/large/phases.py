"""The phases of a large run: tiles, stitching, labels, pyramid."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ..errors import CheckpointError, ImageError, ParameterError
from ..progress import Progress, mapped
from .comparing import Comparison, Comparisons, compare_tiles
from .compose import compose_chunk, plan_chunk
from .ledger import Ledger, TileStatus
from .plan import LargePlan, PeakMemory, TimedTile
from .recording import Recorder
from .result import LargeResult, LargeView, failures
from .runners import Runner, ThreadRunner, Turns
from .stitching import Stitched, stitch
from .tiles import StoreError, TileJob, TileReport, run_tile, writing
from .unchanged import check_unchanged

HOPELESS = 20
"""The run stops when so many tiles in a row have failed."""
_FATAL = (StoreError, CheckpointError, ParameterError)
_FINISHED = (TileStatus.DONE, TileStatus.EMPTY)

R = TypeVar("R")


def run_phases(
    job: TileJob, ledger: Ledger, runner: Runner, retries: int, redecode: bool
) -> Generator[Progress, None, LargeResult]:
    """Do what is left of a run.

    Parameters
    ----------
    job : TileJob
    ledger : Ledger
    runner : Runner
        Where tiles are worked on.
    retries : int
        How often a tile that failed is tried again, after all others.
    redecode : bool
        Prompt for objects again that no tile sees whole.
    """
    tiles = _Tiles(job, ledger, runner)
    with writing(ledger.labels.path):
        finished = np.flatnonzero(np.isin(tiles.status, _FINISHED)).tolist()
        yield from tiles.shown(check_unchanged(job.tiles, ledger, runner, finished))
        if ledger.run["state"] == "complete" and not tiles.count(TileStatus.FAILED):
            yield tiles.progress("finished before")
        else:
            ledger.note(state="running")
            yield from tiles.segment(retries)
            stitched = yield from tiles.shown(stitch(ledger, runner, tiles.comparisons))
            yield from tiles.shown(_compose(job, ledger, runner, stitched))
            yield from ledger.labels.build_pyramid()
            if redecode:
                from .redecoding import redecode_oversize

                yield from redecode_oversize(job, ledger)
            ledger.note(state="complete")
    failed = failures(ledger, tiles.status)
    return LargeResult(ledger.labels, ledger.grid, tiles.status.copy(), failed)


class _Tiles:
    """The tiles of one call: their status, what failed, and what was compared."""

    def __init__(self, job: TileJob, ledger: Ledger, runner: Runner) -> None:
        self.job, self.ledger, self.runner, self.grid = job, ledger, runner, ledger.grid
        self.status = ledger.status()
        self.comparisons = Comparisons(ledger, self.status)
        self.done = self.count(*_FINISHED)
        self.plan = LargePlan.of(self.grid, self.done, runner.workers)
        self.failed_in_a_row = 0

    def count(self, *kinds: TileStatus) -> int:
        """How many tiles have one of these states."""
        return int(np.isin(self.status, kinds).sum())

    def segment(self, retries: int) -> Generator[Progress, None, None]:
        """Segment what is left, and compare what is there."""
        todo = self._left()
        if not todo:
            return
        with Recorder(self.ledger, self.status) as recorder, ExitStack() as measuring:
            peak = measuring.enter_context(PeakMemory())
            message = "timing a tile"
            yield self.progress(message)
            for attempt in range(retries + 1):
                if attempt:
                    todo = self._left()
                    message = f"trying {len(todo)} failed tiles again"
                if not todo:
                    break
                for report in self._round(todo, recorder):
                    if report is not None and not report.empty and self.plan.seconds is None:
                        measuring.close()
                        self._time(report, peak)
                        message = "segmenting"
                    yield self.progress(message)
            if self.count(TileStatus.FAILED) == len(self.grid):
                raise ImageError(f"every tile failed: {next(iter(recorder.reasons.values()))}")

    def _left(self) -> list[int]:
        unfinished = np.isin(self.status.ravel(), _FINISHED, invert=True)
        left: list[int] = np.flatnonzero(unfinished).tolist()
        return left

    def _time(self, report: TileReport, peak: PeakMemory) -> None:
        """Estimate the run from its first tile."""
        here = peak.bytes if isinstance(self.runner, ThreadRunner) else None
        timed = TimedTile(report.seconds, report.storage, report.stored, here)
        self.plan = LargePlan.of(
            self.grid, self.done, self.runner.workers, timed, self.runner.dashboard
        )

    def _round(
        self, todo: Sequence[int], recorder: Recorder
    ) -> Generator[TileReport | None, None, None]:
        """Go through tiles; yields what became of each, and None now and then."""
        fatal: list[Exception] = []

        def items() -> Iterator[int | Comparison]:
            for index in todo:
                yield from self.comparisons.ready()
                if fatal:
                    return
                yield index
            yield from self.comparisons.ready()

        for outcome in self.runner.run(_work_on, self.job, items(), self.job.tiles.size):
            report = None
            if outcome is not None:
                item, found = outcome
                if isinstance(found, _FATAL) and not fatal:
                    fatal.append(found)
                    self.runner.stop()
                # after a fatal error, what is finished counts and what was stopped has not failed
                if not (fatal and isinstance(found, Exception)):
                    report = self._take(item, found, recorder)
                if self.failed_in_a_row >= HOPELESS:
                    raise ImageError(
                        f"{HOPELESS} tiles one after another failed, the last with: {found}"
                    )
            recorder.proceed()
            yield report
        if fatal:
            raise fatal[0]

    def _take(self, item: int | Comparison, found: Any, recorder: Recorder) -> TileReport | None:
        """Record what came of a tile, or of a comparison."""
        if isinstance(item, Comparison):
            if not isinstance(found, Exception):  # else it is tried again at the end
                self.comparisons.take(item, found)
            return None
        if isinstance(found, Exception):
            self.failed_in_a_row += 1
            reason = " ".join(str(found).split())[:500] or type(found).__name__
            recorder.failed(item, reason)
            return None
        self.failed_in_a_row = 0
        report: TileReport = found
        recorder.finished(item, TileStatus.EMPTY if report.empty else TileStatus.DONE, report.read)
        if not report.empty:
            self.comparisons.finished(item)
        return report

    def shown(self, steps: Generator[Progress, None, R]) -> Generator[Progress, None, R]:
        """Go through steps, each with a view of the run."""
        return mapped(steps, lambda step: replace(step, partial=self._view()))

    def progress(self, message: str) -> Progress:
        """How many tiles are finished."""
        failed = self.count(TileStatus.FAILED)
        message += f", {failed} failed" if failed else ""
        return Progress(self.count(*_FINISHED), len(self.grid), self._view(), message)

    def _view(self) -> LargeView:
        return LargeView(self.ledger.labels, self.grid, self.status, self.plan)


def _work_on(job: TileJob, item: int | Comparison, turns: Turns) -> Any:
    """Segment a tile, or compare one with its neighbours."""
    if isinstance(item, Comparison):
        return compare_tiles(job.ledger, item, turns)
    return run_tile(job, item, turns)


def _compose(
    job: TileJob, ledger: Ledger, runner: Runner, stitched: Stitched
) -> Generator[Progress, None, None]:
    """Write the final labels of all chunks, then the tables."""
    grid = ledger.grid
    counted = np.zeros(len(stitched.table["label"]) + 1, np.int64)
    plans = (plan_chunk(grid, stitched, index) for index in range(len(grid)))
    done = 0
    for outcome in runner.run(compose_chunk, job, plans, 4 * grid.tile * grid.tile):
        if outcome is not None:
            plan, found = outcome
            if isinstance(found, _FATAL):
                raise found
            if isinstance(found, Exception):  # such as a lost worker: do it in this process
                found = compose_chunk(job, plan, Turns(1))
            ids, areas = found
            counted[ids] += areas
            done += 1
        yield Progress(done, len(grid), message="writing labels")
    table = {**stitched.table, "area": counted[stitched.table["label"]]}
    seen = table["area"] > 0
    ledger.write_table("objects", {name: column[seen] for name, column in table.items()})
    ledger.write_table("seams", stitched.seams)
