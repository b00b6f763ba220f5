"""Tiles on the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import queue
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from ..errors import ParameterError, ResourceError
from ..limits import CONNECT_SECONDS
from .runners import TICK, WAITING, Function, ItemOutcomes, Turns, outcomes, waiting_items

_SHARE = WAITING
"""Parts of the resources that a tile needs: as many tiles may be at a worker, and one computes."""


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
        self._begun: dict[Any, str | None] = {}
        self._resources = dict(resources) if resources else None
        self.dashboard: str | None = self._client.dashboard_link

    @property
    def workers(self) -> int:
        """Threads of all workers, as of now."""
        return max(1, sum(self._client.nthreads().values()))

    def run(
        self, function: Function, job: Any, items: Iterable[Any], size: int = 0
    ) -> ItemOutcomes:
        """Run on workers; see `Runner`.

        Each worker gets as many items as it has threads, and some that read and write meanwhile.
        """
        begun = self._begun = dict[Any, str | None]()
        room: dict[str, int] = {}
        resources = self._resources and {k: v / _SHARE for k, v in self._resources.items()}

        def capacity() -> int:
            room.clear()
            for address, threads in self._client.nthreads().items():
                room[address] = threads + waiting_items(threads, size)
            return max(4, sum(room.values()))

        def begin(item: Any) -> Any:
            # a scheduler does not count tasks that left their thread: a slow worker would get all
            there, place = Counter(begun.values()), None
            if room and not self._resources:
                place = min(room, key=lambda address: there[address] / room[address])
            future = self._client.submit(
                _at_worker, function, job, item, self._resources, pure=False, retries=0,
                resources=resources, workers=place, allow_other_workers=place is not None,
            )  # fmt: skip
            begun[future] = place
            return future

        try:
            for ended in outcomes(begin, capacity, items):
                if ended is None:
                    yield None
                    continue
                item, future = ended
                begun.pop(future)
                if future.status == "finished":
                    yield item, future.result()
                elif future.status == "error":
                    error = future.exception()
                    yield item, error if isinstance(error, Exception) else ResourceError(str(error))
                else:
                    yield item, ResourceError(f"the cluster dropped a tile ({future.status})")
        finally:
            self.stop()

    def stop(self) -> None:
        """Cancel what is in progress; see `Runner`."""
        if self._begun:
            self._client.cancel(list(self._begun))

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


def _at_worker(function: Function, job: Any, item: Any, needs: Mapping[str, float] | None) -> Any:
    """Run on a worker, beside its threads, as computing is limited here."""
    from distributed import get_worker, secede

    worker = get_worker()
    count = worker.state.nthreads
    for name, need in (needs or {}).items():
        count = min(count, int(worker.state.total_resources[name] / need))
    turns = _turns(worker.address, max(1, count))
    secede()
    return function(job, item, turns)


@lru_cache(maxsize=64)
def _turns(address: str, count: int) -> Turns:
    """Return the turns of a worker of this process."""
    return Turns(count)


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
