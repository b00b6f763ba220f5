"""The phases of a large run: tiles, stitching, labels, pyramid."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ..errors import CheckpointError, ImageError, ParameterError
from ..progress import Progress, mapped
from .compose import compose_chunk, plan_chunk
from .ledger import Ledger, TileStatus
from .plan import LargePlan, PeakMemory, probes
from .result import LargeResult, LargeView, failures
from .runners import Runner, ThreadRunner
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
            stitched = yield from tiles.shown(stitch(ledger))
            yield from tiles.shown(_compose(job, ledger, runner, stitched))
            yield from ledger.labels.build_pyramid()
            if redecode:
                from .redecoding import redecode_oversize

                yield from redecode_oversize(job, ledger)
            ledger.note(state="complete")
    failed = failures(ledger, tiles.status)
    return LargeResult(ledger.labels, ledger.grid, tiles.status.copy(), failed)


class _Tiles:
    """The tiles of one call: their status, and what failed."""

    def __init__(self, job: TileJob, ledger: Ledger, runner: Runner) -> None:
        self.job, self.ledger, self.runner, self.grid = job, ledger, runner, ledger.grid
        self.status = ledger.status()
        self.reasons: dict[str, str] = dict(ledger.run.get("failed", {}))
        self.plan = LargePlan.of(self.grid, self.count(*_FINISHED), runner.workers)
        self.failed_in_a_row = 0

    def count(self, *kinds: TileStatus) -> int:
        """How many tiles have one of these states."""
        return int(np.isin(self.status, kinds).sum())

    def segment(self, retries: int) -> Generator[Progress, None, None]:
        """Segment what is left."""
        left = self._left()
        if not left:
            return
        yield self.progress("timing a tile")
        done = self.count(*_FINISHED)
        timed = yield from self._time(left)
        self.plan = LargePlan.of(self.grid, done, self.runner.workers, timed, self.runner.dashboard)
        yield self.progress("segmenting")
        for attempt in range(retries + 1):
            todo = self._left()
            message = "segmenting" if not attempt else f"trying {len(todo)} failed tiles again"
            yield from self._round(todo, message)
        if self.count(TileStatus.FAILED) == len(self.grid):
            raise ImageError(f"every tile failed: {next(iter(self.reasons.values()))}")

    def _left(self) -> list[int]:
        unfinished = np.isin(self.status.ravel(), _FINISHED, invert=True)
        left: list[int] = np.flatnonzero(unfinished).tolist()
        return left

    def _time(self, left: Sequence[int]) -> Generator[Progress, None, Any]:
        """Run tiles one by one until one was not empty."""
        for index in probes(left):
            report = None
            with PeakMemory() as peak:
                for outcome in self.runner.run(run_tile, self.job, [index]):
                    if outcome is not None:
                        report = self._take(*outcome)
                    yield self.progress("timing a tile")
            if report is not None and not report.empty:
                here = peak.bytes if isinstance(self.runner, ThreadRunner) else None
                return report.seconds, report.stored, here
        return None

    def _round(self, todo: Iterable[int], message: str) -> Generator[Progress, None, None]:
        for outcome in self.runner.run(run_tile, self.job, todo):
            if outcome is not None:
                self._take(*outcome)
                if self.failed_in_a_row >= HOPELESS:
                    raise ImageError(
                        f"{HOPELESS} tiles one after another failed, the last with: "
                        f"{self.reasons[str(outcome[0])]}"
                    )
            yield self.progress(message)

    def _take(self, index: int, found: Any) -> TileReport | None:
        """Record what came of a tile."""
        if isinstance(found, _FATAL):
            raise found
        if isinstance(found, Exception):
            self.failed_in_a_row += 1
            self.reasons[str(index)] = " ".join(str(found).split())[:500] or type(found).__name__
            self.ledger.note(failed=self.reasons)
            self._set(index, TileStatus.FAILED)
            return None
        self.failed_in_a_row = 0
        if self.reasons.pop(str(index), None) is not None:
            self.ledger.note(failed=self.reasons)
        self.ledger.set_read(index, found.read)
        self._set(index, TileStatus.EMPTY if found.empty else TileStatus.DONE)
        report: TileReport = found
        return report

    def _set(self, index: int, status: TileStatus) -> None:
        self.status[self.grid.place(index)] = int(status)
        self.ledger.set_tile(index, status)

    def shown(self, steps: Generator[Progress, None, R]) -> Generator[Progress, None, R]:
        """Go through steps, each with a view of the run."""
        return mapped(steps, lambda step: replace(step, partial=self._view()))

    def progress(self, message: str) -> Progress:
        """How many tiles are finished."""
        failed = self.count(TileStatus.FAILED)
        message += f", {failed} failed" if failed else ""
        return Progress(self.count(*_FINISHED), len(self.grid), self._view(), message)

    def _view(self) -> LargeView:
        return LargeView(self.job.labels, self.grid, self.status, self.plan)


def _compose(
    job: TileJob, ledger: Ledger, runner: Runner, stitched: Stitched
) -> Generator[Progress, None, None]:
    """Write the final labels of all chunks, then the tables."""
    grid = ledger.grid
    counted = np.zeros(len(stitched.table["label"]) + 1, np.int64)
    plans = (plan_chunk(grid, stitched, index) for index in range(len(grid)))
    done = 0
    for outcome in runner.run(compose_chunk, job, plans):
        if outcome is not None:
            plan, found = outcome
            if isinstance(found, _FATAL):
                raise found
            if isinstance(found, Exception):  # such as a lost worker: do it in this process
                found = compose_chunk(job, plan)
            ids, areas = found
            counted[ids] += areas
            done += 1
        yield Progress(done, len(grid), message="writing labels")
    table = {**stitched.table, "area": counted[stitched.table["label"]]}
    seen = table["area"] > 0
    ledger.write_table("objects", {name: column[seen] for name, column in table.items()})
    ledger.write_table("seams", stitched.seams)
