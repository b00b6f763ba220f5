"""Review a project: its suggestions, those most worth a look first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QVBoxLayout

from ..bridge.project.reviewing import ReviewRound
from ..projects.review import ReviewItem
from ..wording import counted
from .project_rounds import RoundPanel
from .qt_helpers import RowTable, button, note, row, tight

_ABOUT = (
    "Suggestions of all images that are not complete, the most doubtful first. U takes the white "
    "outline, W rejects it; a click into it corrects it, and Enter commits that."
)
_HEADS = ("image", "doubt", "why")
_MOST = 500


class ReviewPanel(RoundPanel[ReviewRound]):
    """The queue of a review.

    Parameters
    ----------
    attempt : callable
        Calls a function, and shows its errors.
    """

    def __init__(self, attempt: Callable[..., Any]) -> None:
        super().__init__(attempt)
        self.start_button = button("Fill the queue", self.start, "Read the suggestions")
        self.table = RowTable(_HEADS, 220)
        self.table.fit(0, 1)
        self.table.chosen.connect(self._choose)
        self.counts = note()
        self._buttons = (
            button("✓ Take (U)", self.accept, "Take it as it is"),
            button("✗ Reject (W)", self.reject, "It is no object"),
            button("Later (Q)", self.later, "Go on without a decision"),
        )
        layout = tight(QVBoxLayout(self), 5)
        layout.addWidget(note(_ABOUT))
        layout.addWidget(row(self.start_button, self.counts))
        layout.itemAt(1).widget().layout().setStretch(1, 1)
        layout.addWidget(self.table)
        layout.addWidget(row(*self._buttons))
        self._show_item(None)

    def start(self) -> None:
        """Fill the queue, and show its first."""
        self.end()
        if self._series is not None:
            review = ReviewRound(self._series)
            review.filled.connect(self._show_queue)
            self._begin(review)

    def accept(self) -> None:
        """Take the suggestion."""
        if self.round is not None:
            self._attempt(self.round.accept)

    def reject(self) -> None:
        """Reject the suggestion."""
        if self.round is not None:
            self._attempt(self.round.reject)

    def later(self) -> None:
        """Go on without a decision."""
        if self.round is not None:
            self.round.later()

    def _choose(self, number: int) -> None:
        if self.round is not None and number < len(self.round.queue):
            self.round.show(self.round.queue[number])

    def _show_queue(self) -> None:
        queue = [] if self.round is None else self.round.queue
        self.table.fill(
            {
                number: (item.key, f"{item.worth:.2f}", ", ".join(item.reasons) or "–")
                for number, item in enumerate(queue[:_MOST])
            }
        )
        self.counts.setText(f"{counted(len(queue), 'suggestion')} to look at")

    def _show_item(self, item: ReviewItem | None) -> None:
        for each in self._buttons:
            each.setEnabled(item is not None)
        if self.round is None:
            self.counts.setText("")
            self.table.fill({})
        elif item is not None and item in self.round.queue:
            self.table.select(self.round.queue.index(item))
