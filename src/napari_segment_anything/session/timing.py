"""The time a session has taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds since a session began; can be set, to go through recorded events again.

    Parameters
    ----------
    clock : callable
        Seconds since any moment.
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
        """Let no time pass."""
        if self._held is not None:
            yield
            return
        self._held = self.now()
        try:
            yield
        finally:
            self._held = None

    def hold(self, seconds: float) -> None:
        """Stand still at a time."""
        self._held = float(seconds)

    def go_on(self) -> None:
        """Run on from where it stands."""
        if self._held is not None:
            self._began = self._clock() - self._held
            self._held = None
