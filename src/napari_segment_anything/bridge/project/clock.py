"""Time spent on something, without pauses."""

from __future__ import annotations

import time
from collections.abc import Callable


class ActiveClock:
    """Counts seconds of activity. Longer gaps between two activities are pauses, and left out.

    Parameters
    ----------
    pause : float
        Seconds from which on a gap is a pause.
    clock : callable
        Gives seconds; only differences matter.
    """

    def __init__(self, pause: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.pause = pause
        self._clock = clock
        self._last = clock()
        self._total = 0.0

    def __call__(self) -> float:
        """Note an activity; return the seconds up to it."""
        now = self._clock()
        self._total, self._last = self._until(now), now
        return self._total

    def peek(self) -> float:
        """Return the seconds up to now, which is no activity."""
        return self._until(self._clock())

    def _until(self, now: float) -> float:
        gap = now - self._last
        return self._total + (gap if 0 <= gap <= self.pause else 0.0)
