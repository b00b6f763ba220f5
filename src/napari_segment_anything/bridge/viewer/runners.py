"""Jobs, which run immediately or on another thread, and actions that wait for them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ...errors import ParameterError
from ...progress import Progress
from ...session.scheduler import Delivery, Job, LatestWins

Dispatch = Callable[[Callable[[], None]], object]
Kind = Literal["prompt", "edit", "other"]


@dataclass(frozen=True, slots=True)
class JobCallbacks:
    """Callbacks of a job, called on the thread that submitted it.

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

    def submit(self, job: Job, callbacks: JobCallbacks) -> None:
        """Run a job, a function that takes `cancelled` and returns a generator of Progress."""

    def cancel(self) -> None:
        """Drop jobs that have not started; stop the running one at its next yield."""

    def close(self) -> None:
        """Stop the running job and wait for it."""


class Inline:
    """Runs a job to its end before `submit` returns; its errors are raised."""

    def submit(self, job: Job, callbacks: JobCallbacks) -> None:
        """Run a job."""
        generator = job(lambda: False)
        try:
            while True:
                try:
                    callbacks.progress(next(generator))
                except StopIteration as stop:
                    callbacks.result(stop.value)
                    return
        finally:
            generator.close()
            callbacks.ended()

    def cancel(self) -> None:
        """Nothing to do: nothing runs between calls."""

    def close(self) -> None:
        """Nothing to do: nothing runs between calls."""


class Background:
    """Runs jobs on a thread; results come back through a dispatch function.

    Parameters
    ----------
    dispatch : callable
        Takes a function without arguments and schedules it on the viewer's thread, in order,
        without waiting for it.
    scheduler : LatestWins, optional
        One of its own by default.
    """

    def __init__(self, dispatch: Dispatch, scheduler: LatestWins | None = None) -> None:
        self._dispatch = dispatch
        self._scheduler = scheduler or LatestWins()
        self._ticket = 0
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Job, callbacks: JobCallbacks) -> None:
        """Run a job as soon as the present one has reached its next yield."""
        with self._lock:  # the ticket must be known before a delivery is compared with it
            self._ticket = self._scheduler.submit(job, lambda item: self._deliver(item, callbacks))

    def _deliver(self, item: Delivery, callbacks: JobCallbacks) -> None:
        if not self._closed:
            self._dispatch(lambda: self._hear(item, callbacks))

    def _hear(self, item: Delivery, callbacks: JobCallbacks) -> None:
        if not self._is_latest(item):
            return
        if item.kind == "progress":
            callbacks.progress(item.value)
            return
        if item.kind == "result":
            callbacks.result(item.value)
        elif item.kind == "error":
            callbacks.error(item.value)
        if self._is_latest(item):  # a callback may have submitted another job
            callbacks.ended()

    def _is_latest(self, item: Delivery) -> bool:
        with self._lock:
            return item.ticket == self._ticket and not self._closed

    def cancel(self) -> None:
        """Drop jobs that have not started; stop the running one at its next yield."""
        self._scheduler.cancel()

    def close(self) -> None:
        """Stop the running job at its next yield, and wait for it."""
        self._closed = True
        self._scheduler.close()


class Worker:
    """Where a session's jobs run, and whether one is running.

    Parameters
    ----------
    busy_changed : callable
        Called with whether a job is running, when that changes.
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

    def submit(self, job: Job, callbacks: JobCallbacks) -> None:
        """Run a job. Its `ended` callback has to call `idle`."""
        if not self.busy:
            self.busy = True
            self._busy_changed(True)
        self.runner.submit(job, callbacks)

    def cancel(self) -> None:
        """Drop jobs that have not started; stop the running one at its next yield."""
        self.runner.cancel()

    def idle(self) -> None:
        """Note that no job is running."""
        if self.busy:
            self.busy = False
            self._busy_changed(False)


@dataclass(frozen=True, slots=True)
class _Step:
    act: Callable[[], object]
    ready: Callable[[], bool]
    kind: Kind


class ActionQueue:
    """A queue of actions, each with a condition.

    An action runs when all before it have run and its condition holds, which may be at once. Call
    `go` whenever a condition may have become true.
    """

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self._going = False

    @property
    def users(self) -> int:
        """Number of prompts and edits that wait."""
        return sum(step.kind != "other" for step in self._steps)

    def ask(
        self,
        act: Callable[[], object],
        ready: Callable[[], bool] = lambda: True,
        kind: Kind = "edit",
    ) -> None:
        """Run an action after all earlier ones.

        Parameters
        ----------
        act : callable
        ready : callable
            Whether it can run now.
        kind : {"prompt", "edit", "other"}
            Prompts and edits come from the user, and can be dropped.
        """
        self._steps.append(_Step(act, ready, kind))
        self.go()

    def go(self) -> None:
        """Run the actions that can run now."""
        if self._going:
            return
        self._going = True
        try:
            while self._steps and self._steps[0].ready():
                self._steps.popleft().act()
        finally:
            self._going = False

    def drop_prompts(self) -> bool:
        """Drop the latest waiting prompts; return whether there were any."""
        count = len(self._steps)
        while self._steps and self._steps[-1].kind == "prompt":
            self._steps.pop()
        return len(self._steps) < count

    def drop(self, *kinds: Kind) -> int:
        """Drop all actions of some kinds; return their number."""
        kept = [step for step in self._steps if step.kind not in kinds]
        dropped = len(self._steps) - len(kept)
        self._steps = deque(kept)
        return dropped
