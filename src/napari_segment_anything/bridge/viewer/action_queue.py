"""Actions that wait, for the model or for a mask; done in the order they were asked for."""

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
    """A queue of actions, each with the condition that it waits for.

    An action runs when those before it have run and its condition holds: at once where nothing
    waits. `go` is called whenever a condition may have become true.
    """

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self._going = False

    @property
    def users(self) -> int:
        """How many prompts and edits wait."""
        return sum(step.kind != "other" for step in self._steps)

    def ask(
        self,
        act: Callable[[], object],
        ready: Callable[[], bool] = lambda: True,
        kind: Kind = "edit",
    ) -> None:
        """Do something after all that was asked for before.

        Parameters
        ----------
        act : callable
        ready : callable
            Whether it can be done now.
        kind : {"prompt", "edit", "other"}
            Prompts and edits are the user's, and can be dropped.
        """
        self._steps.append(_Step(act, ready, kind))
        self.go()

    def go(self) -> None:
        """Do what can be done."""
        if self._going:
            return
        self._going = True
        try:
            while self._steps and self._steps[0].ready():
                self._steps.popleft().act()
        finally:
            self._going = False

    def drop_prompts(self) -> bool:
        """Drop the prompts that were asked for last; return whether there were any."""
        count = len(self._steps)
        while self._steps and self._steps[-1].kind == "prompt":
            self._steps.pop()
        return len(self._steps) < count

    def drop(self, *kinds: Kind) -> int:
        """Drop what is of some kinds; return how many that were."""
        kept = [step for step in self._steps if step.kind not in kinds]
        dropped = len(self._steps) - len(kept)
        self._steps = deque(kept)
        return dropped
