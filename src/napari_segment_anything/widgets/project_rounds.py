"""What the panels of audit and review share: a round through items of a project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from qtpy.QtWidgets import QWidget

from ..bridge.project.auditing import AuditRound
from ..bridge.project.project_session import ProjectSession
from ..bridge.project.reviewing import ReviewRound

R = TypeVar("R", AuditRound, ReviewRound)


class RoundPanel(QWidget, Generic[R]):
    """Goes through items of a project, one after the other.

    Parameters
    ----------
    attempt : callable
        Calls a function, and shows its errors.
    """

    def __init__(self, attempt: Callable[..., Any]) -> None:
        super().__init__()
        self._attempt = attempt
        self._series: ProjectSession | None = None
        self.round: R | None = None
        """The round that goes on."""

    def follow(self, series: ProjectSession | None) -> None:
        """Show another project; None for none."""
        self.end()
        self._series = series

    def end(self) -> None:
        """End the round; what was decided is kept."""
        if self.round is not None:
            ended, self.round = self.round, None
            ended.close()
            self._show_item(None)

    def _begin(self, begun: R) -> None:
        self.round = begun
        begun.asked.connect(self._show_item)
        begun.begin()

    def _show_item(self, item: Any) -> None:
        raise NotImplementedError
