"""Where tiles are worked on, and how many compute while others read and write; threads."""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ..errors import ParameterError
from ..limits import THREADS
from ..parameters import TILING

ItemOutcome = tuple[Any, Any]
"""An item and what came of it: the function's result, or the exception it raised."""
ItemOutcomes = Generator[ItemOutcome | None, None, None]
"""ItemOutcomes as they come, in any order, and None now and then in between."""

TICK = 0.25
WAITING = 8
"""Items that are read or written while others compute; one per worker if these are more."""
WAITING_BYTES = 256 << 20
"""What those may hold together; two are allowed whatever they hold."""


class Stopped(Exception):
    """The run was stopped while an item was in progress."""


class Turns:
    """Lets some items compute while others read and write.

    ``with turns:`` waits until it is an item's turn to compute.

    Parameters
    ----------
    count : int
        Items that compute at once.
    """

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)
        self._stopped = threading.Event()

    def __enter__(self) -> None:
        self.check()
        self._free.acquire()
        try:
            self.check()
        except Stopped:
            self._free.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._free.release()

    def check(self, *_: object) -> None:
        """Raise `Stopped` if the run was stopped; functions call it wherever they can end."""
        if self._stopped.is_set():
            raise Stopped

    def stop(self) -> None:
        """End what is in progress at its next `check`."""
        self._stopped.set()


Function = Callable[[Any, Any, Turns], Any]
"""Called with a job, an item, and the turns that it takes to compute."""


def waiting_items(workers: int, size: int) -> int:
    """Return how many items may be read or written while as many as there are workers compute.

    Parameters
    ----------
    workers : int
        Items that compute at once.
    size : int
        Bytes that an item holds while it waits.
    """
    return max(2, min(max(WAITING, workers), WAITING_BYTES // max(size, 1)))


class Runner(Protocol):
    """Runs a function on many items: some compute, others read and write meanwhile."""

    @property
    def workers(self) -> int:
        """How many items compute at once."""
        ...

    @property
    def torch_threads(self) -> int | None:
        """Threads torch may use for an item; None leaves that alone."""
        ...

    @property
    def dashboard(self) -> str | None:
        """Address of the cluster's dashboard."""
        ...

    def run(
        self, function: Function, job: Any, items: Iterable[Any], size: int = 0
    ) -> ItemOutcomes:
        """Call ``function(job, item, turns)`` for each item.

        Closing the generator stops what is in progress.

        Parameters
        ----------
        function : callable
        job : object
        items : iterable
            Taken one by one, when there is room for them.
        size : int
            Bytes that an item holds while it waits for its turn.
        """
        ...

    def stop(self) -> None:
        """End what is in progress soon; what came of it is still yielded."""
        ...


def outcomes(
    begin: Callable[[Any], Any], capacity: Callable[[], int], items: Iterable[Any]
) -> Generator[tuple[Any, Any] | None, None, None]:
    """Begin futures as there is room for them; yield (item, future) as they end, or None."""
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting, in_progress = iter(items), dict[int, tuple[Any, Any]]()
    while True:
        for item in itertools.islice(waiting, max(0, capacity() - len(in_progress))):
            future = begin(item)
            in_progress[id(future)] = item, future
            future.add_done_callback(lambda done: ended.put(id(done)))
        if not in_progress:
            return
        try:
            yield in_progress.pop(ended.get(timeout=TICK))
        except queue.Empty:
            yield None


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


class ThreadRunner:
    """Threads of this process: one for each tile that computes, and some that read and write.

    On the CPU every thread gives torch one thread of its own: several tiles side by side use
    the cores better than one tile spread over them, and every result is the same for any number.

    Parameters
    ----------
    workers : int, optional
        Tiles that compute at once; by default one per core on the CPU, two on a GPU (one is
        decoded while the next is encoded).
    device : str
        Where the model runs.
    resources : mapping, optional
        Of Dask workers: there are none here.

    Raises
    ------
    ParameterError
        If `workers` is out of range, or there are `resources`.
    """

    dashboard: str | None = None

    def __init__(
        self,
        workers: int | None = None,
        device: str = "cpu",
        resources: Mapping[str, float] | None = None,
    ) -> None:
        if resources:
            raise ParameterError("worker_resources are those of Dask workers; threads have none")
        TILING["workers"].check("workers", workers)
        THREADS.check(workers or 1, "too many workers", ParameterError)
        self.torch_threads = 1 if device == "cpu" else None
        self.workers = workers or (cores() if device == "cpu" else 2)
        self._turns = Turns(self.workers)

    def run(
        self, function: Function, job: Any, items: Iterable[Any], size: int = 0
    ) -> ItemOutcomes:
        """Run on threads; see `Runner`."""
        threads = self.workers + waiting_items(self.workers, size)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="tile")
        self._turns = turns = Turns(self.workers)

        def begin(item: Any) -> Any:
            return pool.submit(function, job, item, turns)

        try:
            for ended in outcomes(begin, lambda: threads + 1, items):
                if ended is None:
                    yield None
                    continue
                item, future = ended
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield item, error if error is not None else future.result()
        finally:
            turns.stop()
            pool.shutdown(wait=True, cancel_futures=True)

    def stop(self) -> None:
        """End what is in progress; see `Runner`."""
        self._turns.stop()
