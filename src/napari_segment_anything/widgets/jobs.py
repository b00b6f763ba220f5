"""Long work off the Qt thread: progress, cancelling, and nothing left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from ..progress import Progress
from ..session import Delivery, LatestWins

Job = Callable[[Callable[[], bool]], Generator[Progress, None, Any]]


class MainThread(QObject):
    """Has functions called on the thread it was made on, soon and in order.

    Made on the Qt thread. After `close`, and after Qt has deleted it, calls are dropped.
    """

    _asked = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._open = True
        self._asked.connect(self._call, Qt.ConnectionType.QueuedConnection)

    def __call__(self, function: Callable[[], None]) -> None:
        """Have a function called; from any thread."""
        if self._open:
            with contextlib.suppress(RuntimeError):  # deleted by Qt with its window
                self._asked.emit(function)

    def _call(self, function: Callable[[], None]) -> None:
        if self._open:
            function()

    def close(self) -> None:
        """Call nothing any more."""
        self._open = False


class Jobs(QObject):
    """Runs one long job at a time on a thread of its own; a new one replaces the one before.

    Signals come on the thread this was made on. A job that was replaced or cancelled says
    nothing after that moment, whatever it was doing.

    Parameters
    ----------
    parent : QObject, optional
    name : str
        Of the thread.
    """

    started = Signal()
    progressed = Signal(object)
    """Emits a Progress."""
    finished = Signal(object)
    """Emits what the job returned."""
    failed = Signal(object)
    """Emits the exception."""
    ended = Signal()
    """The last word of every job: after finished, failed or a cancel."""

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
        """Whether a job runs or waits for the one before to stop."""
        return self._running

    def start(self, job: Job) -> None:
        """Run a job: a function that takes `cancelled` and returns a generator of Progress."""
        self._begun += 1
        mark = self._begun
        self._running = True
        self._ticket = self._scheduler.submit(
            job, lambda item: self._main(lambda: self._hear(mark, item))
        )
        self.started.emit()

    def report(self, progress: Progress) -> None:
        """Emit a Progress of the job that runs; from its thread."""
        mark = self._begun
        self._main(lambda: self._hear(mark, Delivery(0, "progress", progress)))

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
        """Stop what runs at its next yield, and hear no more of it."""
        if not self._running:
            return
        self._scheduler.cancel()
        self._running = False
        self._begun += 1
        self.ended.emit()

    def close(self) -> None:
        """Stop at the next yield, wait for that, and end the thread."""
        self._main.close()
        self._begun += 1
        self._running = False
        self._scheduler.close()
