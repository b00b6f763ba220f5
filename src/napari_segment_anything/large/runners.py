"""Where tiles are worked on: threads of this process, or workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import os
import queue
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np

from ..errors import ParameterError, ResourceError
from ..limits import CONNECT_SECONDS, THREADS
from .tiles import Job

Item = TypeVar("Item")
Outcome = tuple[Any, Any]
"""An item and what came of it: the function's result, or the exception it raised."""

TICK = 0.25
_HELD_ARRAY = 16 << 20


class Runner(Protocol):
    """Runs a function of a job on many items; in what order is its own affair."""

    @property
    def workers(self) -> int:
        """How many items are worked on at once."""
        ...

    @property
    def dashboard(self) -> str | None:
        """Address of the cluster's dashboard."""
        ...

    def run(
        self, function: Callable[[Job, Any], Any], job: Job, items: Iterable[Any]
    ) -> Generator[Outcome | None, None, None]:
        """Yield (item, result or exception) as they come, and None now and then in between.

        Closing the generator stops: what is under way is waited for or cancelled.
        """
        ...

    def close(self) -> None:
        """Let go of what was opened for the run."""
        ...


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
    """

    dashboard: str | None = None

    def __init__(self, workers: int | None = None, device: str = "cpu") -> None:
        if workers is not None and workers < 1:
            raise ParameterError(f"workers is at least 1, not {workers}")
        self.torch_threads = 1 if device == "cpu" else None
        self.workers = workers or (cores() if device == "cpu" else 2)

    def run(
        self, function: Callable[[Job, Any], Any], job: Job, items: Iterable[Any]
    ) -> Generator[Outcome | None, None, None]:
        """Run on threads; see `Runner`."""
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        waiting = iter(items)
        under_way: dict[Any, Any] = {}
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tile")
        try:
            while True:
                while len(under_way) <= self.workers:
                    item = next(waiting, None)
                    if item is None:
                        break
                    future = pool.submit(function, job, item)
                    under_way[future] = item
                    future.add_done_callback(done.put)
                if not under_way:
                    return
                try:
                    future = done.get(timeout=TICK)
                except queue.Empty:
                    yield None
                    continue
                item = under_way.pop(future)
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield item, error if error is not None else future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Nothing is open."""


class DaskRunner:
    """Workers of a Dask cluster; a worker that is lost costs the tiles it was working on.

    Parameters
    ----------
    scheduler : Client, cluster, or str
        A `distributed.Client`, a cluster (`LocalCluster`, dask-jobqueue, dask-kubernetes ...),
        or the address of a scheduler.
    resources : mapping, optional
        What a tile needs of a worker, such as ``{"GPU": 1}``.

    Raises
    ------
    ParameterError
        If Dask is not installed, or `scheduler` is none of these.
    ResourceError
        If no scheduler answers.
    """

    torch_threads = 1

    def __init__(self, scheduler: Any, resources: Mapping[str, float] | None = None) -> None:
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
        self, function: Callable[[Job, Any], Any], job: Job, items: Iterable[Any]
    ) -> Generator[Outcome | None, None, None]:
        """Run on workers; see `Runner`."""
        _check_portable(job)
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        waiting = iter(items)
        under_way: dict[str, tuple[Any, Any]] = {}
        try:
            while True:
                while len(under_way) < 2 * self.workers + 2:
                    item = next(waiting, None)
                    if item is None:
                        break
                    future = self._client.submit(
                        function, job, item, pure=False, retries=0, resources=self._resources
                    )
                    under_way[future.key] = item, future
                    future.add_done_callback(lambda f: done.put(f.key))
                if not under_way:
                    return
                try:
                    key = done.get(timeout=TICK)
                except queue.Empty:
                    yield None
                    continue
                item, future = under_way.pop(key)
                if future.status == "finished":
                    yield item, future.result()
                elif future.status == "error":
                    error = future.exception()
                    yield item, error if isinstance(error, Exception) else ResourceError(str(error))
                else:
                    yield item, ResourceError(f"the cluster gave a tile up ({future.status})")
        finally:
            left = [future for _, future in under_way.values()]
            if left:
                self._client.cancel(left)

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

    def close(self) -> None:
        """Close the client, if it was opened here."""
        if self._own:
            self._client.close()


def _greet(address: str) -> None:
    """See that a scheduler answers; a client would wait for a silent one for ever."""
    from distributed import Security
    from distributed.comm.core import connect

    async def greet() -> None:
        options = Security().get_connection_args("client")
        comm = await asyncio.wait_for(connect(address, **options), CONNECT_SECONDS.value)
        await comm.close()

    with ThreadPoolExecutor(1) as pool:  # this thread may have an event loop of its own
        pool.submit(asyncio.run, greet()).result()


def make_runner(
    scheduler: Any,
    workers: int | None,
    device: str,
    resources: Mapping[str, float] | None = None,
) -> ThreadRunner | DaskRunner:
    """Return the runner for a scheduler as users name it.

    Raises
    ------
    ParameterError
        If there is none, or an argument is for the other kind.
    """
    if isinstance(scheduler, str) and scheduler == "threads":
        if resources:
            raise ParameterError("worker_resources are those of Dask workers; threads have none")
        THREADS.check(workers or 1, "too many workers", ParameterError)
        return ThreadRunner(workers, device)
    if isinstance(scheduler, str) and "://" not in scheduler and ":" not in scheduler:
        raise ParameterError(
            f"scheduler is 'threads' or the address of a Dask scheduler (tcp://host:8786), "
            f"not {scheduler!r}"
        )
    if workers is not None:
        raise ParameterError("workers are threads; a Dask cluster has its own number of workers")
    return DaskRunner(scheduler, resources)


def _check_portable(job: Job) -> None:
    source = job.image.source
    if isinstance(source, str):
        return
    size = sum(a.nbytes for a in source if isinstance(a, np.ndarray))
    if size > _HELD_ARRAY:
        raise ParameterError(
            f"an array in this process's memory ({size >> 20} MiB) would travel with every tile: "
            "save it as Zarr where all workers reach it, and give its path"
        )
