"""Actions that wait for the model or for a mask, done in the order of the requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["prompt", "edit", "other"]


@dataclass(frozen=True, slots=True)
class _Step:
    act: Callable[[], object]
    ready: Callable[[], bool]
    kind: Kind


class ActionQueue:
    """A queue of actions, each with a condition.

    An action runs when all before it have run and its condition holds, which may be at once. Call
    `go` whenever a condition may have become true.
    """

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self._going = False

    @property
    def users(self) -> int:
        """Number of prompts and edits that wait."""
        return sum(step.kind != "other" for step in self._steps)

    def ask(
        self,
        act: Callable[[], object],
        ready: Callable[[], bool] = lambda: True,
        kind: Kind = "edit",
    ) -> None:
        """Run an action after all earlier ones.

        Parameters
        ----------
        act : callable
        ready : callable
            Whether it can run now.
        kind : {"prompt", "edit", "other"}
            Prompts and edits come from the user, and can be dropped.
        """
        self._steps.append(_Step(act, ready, kind))
        self.go()

    def go(self) -> None:
        """Run the actions that can run now."""
        if self._going:
            return
        self._going = True
        try:
            while self._steps and self._steps[0].ready():
                self._steps.popleft().act()
        finally:
            self._going = False

    def drop_prompts(self) -> bool:
        """Drop the latest waiting prompts; return whether there were any."""
        count = len(self._steps)
        while self._steps and self._steps[-1].kind == "prompt":
            self._steps.pop()
        return len(self._steps) < count

    def drop(self, *kinds: Kind) -> int:
        """Drop all actions of some kinds; return their number."""
        kept = [step for step in self._steps if step.kind not in kinds]
        dropped = len(self._steps) - len(kept)
        self._steps = deque(kept)
        return dropped
