"""The time of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds since a session began; can be set while recorded events are repeated.

    Parameters
    ----------
    clock : callable
        Gives seconds; only differences matter.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._held: float | None = None

    def now(self) -> float:
        """Return the seconds, to the microsecond."""
        if self._held is not None:
            return self._held
        return round(max(0.0, self._clock() - self._began), 6)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Keep the time constant, so that one action has one time."""
        if self._held is not None:
            yield
            return
        self._held = self.now()
        try:
            yield
        finally:
            self._held = None

    def hold(self, seconds: float) -> None:
        """Stop at a time."""
        self._held = float(seconds)

    def go_on(self) -> None:
        """Continue from the time at which it was stopped."""
        if self._held is not None:
            self._began = self._clock() - self._held
            self._held = None
