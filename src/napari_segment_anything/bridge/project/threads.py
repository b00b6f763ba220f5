"""One thread for what must be done in order, away from the viewer's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any


class OrderedThread:
    """Runs functions one after the other, on a thread of its own or at once.

    Parameters
    ----------
    name : str
        Of the thread.
    dispatch : callable, optional
        Takes a function and schedules it on the viewer's thread, in order. Without it, everything
        runs at once, on the thread that asks for it.
    """

    def __init__(
        self, name: str, dispatch: Callable[[Callable[[], None]], object] | None = None
    ) -> None:
        self._dispatch = dispatch
        self._pool = None if dispatch is None else ThreadPoolExecutor(1, thread_name_prefix=name)

    def run(
        self,
        function: Callable[[], Any],
        done: Callable[[Any], object] = lambda result: None,
        failed: Callable[[Exception], object] = lambda error: None,
    ) -> Future[Any]:
        """Run a function after all earlier ones.

        Parameters
        ----------
        function : callable
        done, failed : callable
            Called on the viewer's thread with its result, or its exception.

        Returns
        -------
        Future
            Of the result; `result` raises the function's exception, which `failed` was told too.
        """
        future: Future[Any] = Future()

        def work() -> None:
            try:
                result = function()
            except Exception as error:
                future.set_exception(error)
                self._tell(failed, error)
            else:
                future.set_result(result)
                self._tell(done, result)

        if self._pool is not None:
            with suppress(RuntimeError):  # the interpreter ends: windows may close even later
                self._pool.submit(work)
                return future
        work()
        return future

    def _tell(self, listener: Callable[[Any], object], value: Any) -> None:
        if self._dispatch is None:
            listener(value)
        else:
            self._dispatch(lambda: (listener(value), None)[1])

    def close(self) -> None:
        """Finish everything that was asked for, and end the thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
