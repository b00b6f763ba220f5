"""A scheduler where the latest job wins: earlier ones are dropped or stopped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..errors import ParameterError
from ..progress import Progress
from ..threads import start_thread

Cancelled: TypeAlias = Callable[[], bool]
Job: TypeAlias = Callable[[Cancelled], Generator[Progress, None, Any]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message of a job.

    Parameters
    ----------
    ticket : int
        The job, as `LatestWins.submit` returned it.
    kind : {"progress", "result", "error", "stopped"}
        "stopped" is the last message of a job that was replaced or cancelled while it ran. Every
        job that was started sends exactly one of result, error and stopped; a job that was dropped
        before sends nothing.
    value : object
        A `Progress`, the job's return value, an exception, or None.
    """

    ticket: int
    kind: Literal["progress", "result", "error", "stopped"]
    value: Any = None


Deliver: TypeAlias = Callable[[Delivery], object]


class LatestWins:
    """Runs jobs on its own threads; a new job replaces earlier ones.

    A job that has not started is dropped; a running one is closed at its next yield.

    Parameters
    ----------
    deliver : callable, optional
        Called on the worker thread with each `Delivery`; `submit` may name another one.
        An exception in it is delivered once as "error", and otherwise ignored.
    threads : int
        How many jobs may run at a time. With one, a new job waits until the old one yields.
    name : str
        Prefix of the threads' names.
    """

    def __init__(
        self, deliver: Deliver | None = None, threads: int = 1, name: str = "segment-anything"
    ) -> None:
        if threads < 1:
            raise ParameterError(f"a scheduler needs at least one thread, not {threads}")
        self._deliver = deliver
        self._count = threads
        self._name = name
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._pending: tuple[int, Job, Deliver] | None = None
        self._latest = 0
        self._running: set[int] = set()
        self._closed = False

    def submit(self, job: Job, deliver: Deliver | None = None) -> int:
        """Start a job as soon as a thread is free; return its ticket.

        Parameters
        ----------
        job : callable
            Called on the worker thread with a function that tells whether the job has been
            replaced; returns a generator of Progress.
        deliver : callable, optional
            Used instead of the scheduler's own.

        Raises
        ------
        ParameterError
            If there is no `deliver`, or the scheduler is closed.
        """
        taker = deliver or self._deliver
        if taker is None:
            raise ParameterError("a job needs a function that takes its deliveries")
        with self._wake:
            if self._closed:
                raise ParameterError("this scheduler is closed")
            self._latest += 1
            self._pending = (self._latest, job, taker)
            if len(self._threads) < self._count:
                name = f"{self._name}-{len(self._threads)}"
                self._threads.append(start_thread(self._work, name, lambda: self.close(0)))
            self._wake.notify()
            return self._latest

    def cancel(self) -> None:
        """Drop the waiting job, and stop running ones at their next yield."""
        with self._wake:
            self._latest += 1
            self._pending = None

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        with self._wake:
            return self._pending is not None or bool(self._running)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs or waits; return whether that is so."""
        with self._wake:
            return self._wake.wait_for(lambda: self._pending is None and not self._running, timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Cancel all jobs and end the threads; return whether they have ended."""
        with self._wake:
            self._closed = True
            self._latest += 1
            self._pending = None
            self._wake.notify_all()
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout)
        return not any(thread.is_alive() for thread in threads)

    def __enter__(self) -> LatestWins:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._pending is not None)
                if self._pending is None:
                    return
                ticket, job, deliver = self._pending
                self._pending = None
                self._running.add(ticket)
            try:
                self._run(ticket, job, deliver)
            finally:
                with self._wake:
                    self._running.discard(ticket)
                    self._wake.notify_all()

    def _run(self, ticket: int, job: Job, deliver: Deliver) -> None:
        def stale() -> bool:
            return ticket != self._latest

        last = Delivery(ticket, "stopped")
        try:
            generator = job(stale)
            try:
                while not stale():
                    try:
                        step = next(generator)
                    except StopIteration as stop:
                        if not stale():
                            last = Delivery(ticket, "result", stop.value)
                        break
                    if not stale():
                        deliver(Delivery(ticket, "progress", step))
            finally:
                generator.close()
        except Exception as error:
            last = Delivery(ticket, "error", error)
        try:
            deliver(last)
        except Exception as error:
            if last.kind != "error":
                with contextlib.suppress(Exception):  # the receiver is gone
                    deliver(Delivery(ticket, "error", error))
