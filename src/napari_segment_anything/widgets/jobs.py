"""Long jobs on a worker thread: progress, cancelling, and a clean end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from ..progress import Progress
from ..session import Delivery, LatestWins
from ..session.scheduler import Job


class MainThread(QObject):
    """Calls functions on the Qt thread, where it must be created, in the order they were asked for.

    Calls made after `close`, or after Qt has deleted it, are dropped.
    """

    _asked = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open = True
        self._asked.connect(self._call, Qt.ConnectionType.QueuedConnection)

    def __call__(self, function: Callable[[], None]) -> None:
        """Queue a function; can be called from any thread."""
        if self._open:
            with contextlib.suppress(RuntimeError):  # deleted by Qt with its window
                self._asked.emit(function)

    def _call(self, function: Callable[[], None]) -> None:
        if self._open:
            function()

    def close(self) -> None:
        """Drop all later calls."""
        self._open = False


def in_one_step(work: Callable[[], Any]) -> Job:
    """Make a job of a function, which cannot be stopped once it runs."""

    def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, Any]:
        yield Progress(0, 1)
        return work()

    return job


class Jobs(QObject):
    """Runs one long job at a time on a thread of its own; a new job replaces the previous one.

    Signals are emitted on the Qt thread. A job that was replaced or cancelled emits nothing more,
    and the next one starts only after it has stopped. napari's `thread_worker` has neither of
    these properties, and takes a RuntimeError of torch for a deleted worker.

    Parameters
    ----------
    parent : QObject, optional
    name : str
        Of the thread.
    """

    progressed = Signal(object)
    """Emits a Progress."""
    finished = Signal(object)
    """Emits what the job returned."""
    failed = Signal(object)
    """Emits the exception."""
    ended = Signal()
    """Emitted last for every job: after `finished`, `failed` or `cancel`."""

    def __init__(
        self, parent: QObject | None = None, name: str = "segment-anything-everything"
    ) -> None:
        super().__init__(parent)
        self._main = MainThread(self)
        self._scheduler = LatestWins(name=name)
        self._ticket = 0
        self._begun = 0
        self._running = False

    @property
    def running(self) -> bool:
        """Whether a job is running, or waiting for the previous one to stop."""
        return self._running

    def start(self, job: Job) -> None:
        """Start a job: a function that takes `cancelled` and returns a generator of Progress."""
        self._begun += 1
        mark = self._begun
        self._running = True
        self._ticket = self._scheduler.submit(
            job, lambda item: self._main(lambda: self._hear(mark, item))
        )

    def _hear(self, mark: int, item: Delivery) -> None:
        if mark != self._begun or not self._running:
            return
        if item.kind == "progress":
            self.progressed.emit(item.value)
            return
        self._running = False
        if item.kind == "result":
            self.finished.emit(item.value)
        elif item.kind == "error":
            self.failed.emit(item.value)
        self.ended.emit()

    def cancel(self) -> None:
        """Stop the job at its next yield, and ignore whatever it still reports."""
        if not self._running:
            return
        self._scheduler.cancel()
        self._running = False
        self._begun += 1
        self.ended.emit()

    def close(self) -> None:
        """Stop the job at its next yield, wait for it, and end the thread."""
        self._main.close()
        self._begun += 1
        self._running = False
        self._scheduler.close()
