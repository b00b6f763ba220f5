"""Where decoding happens: here and now, or on another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import ParameterError
from ...progress import Progress
from ...session.scheduler import Delivery, LatestWins

Job = Callable[[Callable[[], bool]], Generator[Progress, None, Any]]
Dispatch = Callable[[Callable[[], None]], object]


@dataclass(frozen=True, slots=True)
class Ears:
    """Who hears of a job, on the thread that asked for it.

    Parameters
    ----------
    result, error, progress : callable
        Take the result, the exception, each Progress.
    ended : callable
        Called when nothing runs any more.
    """

    result: Callable[[Any], object]
    error: Callable[[BaseException], object]
    progress: Callable[[Progress], object]
    ended: Callable[[], object]


class JobRunner(Protocol):
    """Runs jobs of which only the latest matters."""

    def submit(self, job: Job, ears: Ears) -> None:
        """Run a job, a function that takes `cancelled` and returns a generator of Progress."""

    def cancel(self) -> None:
        """Drop what has not begun; stop what runs at its next yield."""

    def close(self) -> None:
        """Stop, and leave nothing running."""


class Inline:
    """Runs a job to its end before it returns; what it raises is raised."""

    def submit(self, job: Job, ears: Ears) -> None:
        """Run a job."""
        generator = job(lambda: False)
        try:
            while True:
                try:
                    ears.progress(next(generator))
                except StopIteration as stop:
                    ears.result(stop.value)
                    return
        finally:
            generator.close()
            ears.ended()

    def cancel(self) -> None:
        """Nothing runs between calls."""

    def close(self) -> None:
        """Nothing runs between calls."""


class Background:
    """Runs jobs on a thread; results come back through a dispatch function.

    Parameters
    ----------
    dispatch : callable
        Takes a function without arguments and has it called on the viewer's thread, soon and in
        order. It must not wait for that.
    scheduler : LatestWins, optional
        One of its own by default.
    """

    def __init__(self, dispatch: Dispatch, scheduler: LatestWins | None = None) -> None:
        self._dispatch = dispatch
        self._scheduler = scheduler or LatestWins()
        self._ticket = 0
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Job, ears: Ears) -> None:
        """Run a job after what runs now has come to its next yield."""
        with self._lock:  # a delivery must not be judged before the ticket is known
            self._ticket = self._scheduler.submit(job, lambda item: self._deliver(item, ears))

    def _deliver(self, item: Delivery, ears: Ears) -> None:
        if not self._closed:
            self._dispatch(lambda: self._hear(item, ears))

    def _hear(self, item: Delivery, ears: Ears) -> None:
        if not self._is_latest(item):
            return
        if item.kind == "progress":
            ears.progress(item.value)
            return
        if item.kind == "result":
            ears.result(item.value)
        elif item.kind == "error":
            ears.error(item.value)
        if self._is_latest(item):  # hearing of it may have begun another job
            ears.ended()

    def _is_latest(self, item: Delivery) -> bool:
        with self._lock:
            return item.ticket == self._ticket and not self._closed

    def cancel(self) -> None:
        """Drop what has not begun; stop what runs at its next yield."""
        self._scheduler.cancel()

    def close(self) -> None:
        """Stop at the next yield, and wait for that."""
        self._closed = True
        self._scheduler.close()


class Worker:
    """Where a session's jobs run, and whether one does.

    Parameters
    ----------
    busy_changed : callable
        Told whether a job runs, when that changes.
    """

    def __init__(self, busy_changed: Callable[[bool], object]) -> None:
        self.runner: JobRunner = Inline()
        self.inline = True
        """Whether a job has ended when `submit` returns."""
        self.busy = False
        self._busy_changed = busy_changed

    def use(self, run: str | JobRunner) -> None:
        """Choose where jobs run: "sync", or a runner such as `Background`.

        Raises
        ------
        ParameterError
            If it is neither.
        """
        if isinstance(run, str) and run != "sync":
            raise ParameterError(f"run is 'sync' or a runner, not {run!r}")
        self.runner.close()
        self.runner = Inline() if isinstance(run, str) else run
        self.inline = isinstance(self.runner, Inline)

    def submit(self, job: Job, ears: Ears) -> None:
        """Run a job; who waits for `Ears.ended` calls `rest` then."""
        if not self.busy:
            self.busy = True
            self._busy_changed(True)
        self.runner.submit(job, ears)

    def cancel(self) -> None:
        """Drop what has not begun; stop what runs at its next yield."""
        self.runner.cancel()

    def rest(self) -> None:
        """Say that nothing runs any more."""
        if self.busy:
            self.busy = False
            self._busy_changed(False)
