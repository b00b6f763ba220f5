"""Where tiles are worked on: threads of this process, or workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ..errors import ParameterError, ResourceError
from ..limits import CONNECT_SECONDS, THREADS
from ..parameters import TILING

ItemOutcome = tuple[Any, Any]
"""An item and what came of it: the function's result, or the exception it raised."""
ItemOutcomes = Generator[ItemOutcome | None, None, None]
"""ItemOutcomes as they come, in any order, and None now and then in between."""

TICK = 0.25


class Runner(Protocol):
    """Runs a function on many items, several at a time."""

    @property
    def workers(self) -> int:
        """How many items are worked on at once."""
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
        self, function: Callable[[Any, Any], Any], job: Any, items: Iterable[Any]
    ) -> ItemOutcomes:
        """Call ``function(job, item)`` for each item.

        Closing the generator stops: what is in progress is waited for or cancelled.
        """
        ...


def _outcomes(
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
    """Threads of this process, one tile each.

    On the CPU every thread gives torch one thread of its own: several tiles side by side use
    the cores better than one tile spread over them, and every result is the same for any number.

    Parameters
    ----------
    workers : int, optional
        Number of threads; by default one per core on the CPU, two on a GPU (one tile is
        decoded while the next is read).
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

    def run(
        self, function: Callable[[Any, Any], Any], job: Any, items: Iterable[Any]
    ) -> ItemOutcomes:
        """Run on threads; see `Runner`."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tile")

        def begin(item: Any) -> Any:
            return pool.submit(function, job, item)

        try:
            for ended in _outcomes(begin, lambda: self.workers + 1, items):
                if ended is None:
                    yield None
                    continue
                item, future = ended
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield item, error if error is not None else future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class DaskRunner:
    """Workers of a Dask cluster; the tiles of a lost worker are given to others.

    Parameters
    ----------
    scheduler : Client, cluster, or str
        A `distributed.Client`, a cluster (`LocalCluster`, dask-jobqueue, dask-kubernetes ...),
        or the address of a scheduler.
    workers : int, optional
        Of threads: a cluster has a number of its own.
    resources : mapping, optional
        What a tile needs of a worker, such as ``{"GPU": 1}``.

    Raises
    ------
    ParameterError
        If Dask is not installed, `scheduler` is none of these, or there are `workers`.
    ResourceError
        If no scheduler answers.
    """

    torch_threads = 1

    def __init__(
        self,
        scheduler: Any,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        if isinstance(scheduler, str) and ":" not in scheduler:
            raise ParameterError(
                "scheduler is 'threads' or the address of a Dask scheduler (tcp://host:8786), "
                f"not {scheduler!r}"
            )
        if workers is not None:
            raise ParameterError(
                "workers are threads; a Dask cluster has its own number of workers"
            )
        try:
            from distributed import Client
        except ImportError as error:
            raise ParameterError(
                'a Dask scheduler needs more packages: pip install "segment-anything-napari[dask]"'
            ) from error
        self._own = not isinstance(scheduler, Client)
        if not self._own:
            self._client = scheduler
        elif isinstance(scheduler, str) or hasattr(scheduler, "scheduler_address"):
            try:
                if isinstance(scheduler, str):
                    _greet(scheduler)
                self._client = Client(scheduler, set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                reason = f": {error}" if str(error) else f" within {CONNECT_SECONDS.value} s"
                raise ResourceError(f"no Dask scheduler answers at {scheduler}{reason}") from error
        else:
            raise ParameterError(
                "scheduler is 'threads', the address of a Dask scheduler, a Client, or a cluster, "
                f"not {scheduler!r}"
            )
        self._resources = dict(resources) if resources else None
        self.dashboard: str | None = self._client.dashboard_link

    @property
    def workers(self) -> int:
        """Threads of all workers, as of now."""
        return max(1, sum(self._client.nthreads().values()))

    def run(
        self, function: Callable[[Any, Any], Any], job: Any, items: Iterable[Any]
    ) -> ItemOutcomes:
        """Run on workers; see `Runner`."""
        begun: set[Any] = set()

        def begin(item: Any) -> Any:
            future = self._client.submit(
                function, job, item, pure=False, retries=0, resources=self._resources
            )
            begun.add(future)
            return future

        try:
            for ended in _outcomes(begin, lambda: 2 * self.workers + 2, items):
                if ended is None:
                    yield None
                    continue
                item, future = ended
                begun.discard(future)
                if future.status == "finished":
                    yield item, future.result()
                elif future.status == "error":
                    error = future.exception()
                    yield item, error if isinstance(error, Exception) else ResourceError(str(error))
                else:
                    yield item, ResourceError(f"the cluster dropped a tile ({future.status})")
        finally:
            if begun:
                self._client.cancel(list(begun))

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Generator[None, None, Any]:
        """Call a function on some worker; yields now and then, until there is one."""
        future = self._client.submit(
            function, *arguments, pure=False, retries=2, resources=self._resources
        )
        answered: queue.SimpleQueue[Any] = queue.SimpleQueue()
        future.add_done_callback(answered.put)
        while True:
            try:
                answered.get(timeout=TICK)
                break
            except queue.Empty:
                yield None
        return future.result()

    def __enter__(self) -> DaskRunner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:  # a client that was given stays open
            self._client.close()


def _greet(address: str) -> None:
    """Check that a scheduler answers; a client would wait for it without limit."""
    from distributed import Security
    from distributed.comm.core import connect

    async def greet() -> None:
        options = Security().get_connection_args("client")
        comm = await asyncio.wait_for(connect(address, **options), CONNECT_SECONDS.value)
        await comm.close()

    with ThreadPoolExecutor(1) as pool:  # this thread may have an event loop of its own
        pool.submit(asyncio.run, greet()).result()
