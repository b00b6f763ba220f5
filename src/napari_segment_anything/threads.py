"""Threads of our own, which the interpreter does not end in the middle of a step."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

_PATIENCE = 10.0
_stops: WeakKeyDictionary[threading.Thread, Callable[[], object]] = WeakKeyDictionary()


def start_thread(
    work: Callable[[], object], name: str, stop: Callable[[], object]
) -> threading.Thread:
    """Start a daemon thread that is asked to stop, and waited for, when the interpreter ends.

    Before Python 3.14 the process aborts if a thread is within torch at that moment. One that does
    not stop within ten seconds, as it waits for a network, is left.

    Parameters
    ----------
    work : callable
        What the thread does.
    name : str
        Of the thread.
    stop : callable
        Asks it to return soon.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    _stops[thread] = stop
    thread.start()
    return thread


@atexit.register
def _stop_all() -> None:
    running = [(thread, stop) for thread, stop in _stops.items() if thread.is_alive()]
    for _, stop in running:
        stop()
    deadline = time.monotonic() + _PATIENCE
    for thread, _ in running:
        thread.join(max(deadline - time.monotonic(), 0.0))
