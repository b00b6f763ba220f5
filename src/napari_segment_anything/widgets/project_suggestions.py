"""The suggestions for an image: a slider for their score, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox, FloatSlider
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..bridge.project.suggestion_board import SuggestionBoard
from ..wording import counted
from .forms import slim
from .qt_helpers import ChoiceButtons, button, heading, note, row, tight

_SOURCES = (
    ("everything", "All objects", "What the model is sure of"),
    ("similar", "Like the example", "What looks like the objects that were chosen"),
)


class SuggestionPanel(QWidget):
    """Slider and buttons for suggestions.

    Parameters
    ----------
    attempt : callable
        Calls a function, and shows its errors.
    find : callable
        Looks for all objects like the one under the mouse, or the last.
    """

    def __init__(self, attempt: Callable[..., Any], find: Callable[[], object]) -> None:
        super().__init__()
        self._attempt = attempt
        self._board: SuggestionBoard | None = None
        self.automatic = CheckBox(text="suggest", value=True)
        self.automatic.tooltip = "Suggest objects when an image is opened"
        self.automatic.changed.connect(self._set_automatic)
        self.sources = ChoiceButtons(_SOURCES)
        self.sources.changed.connect(self._choose)
        self.score = slim(FloatSlider(min=0.0, max=1.0, step=0.01, value=0.8, tracking=True))
        self.score.tooltip = "Show suggestions with at least this score"
        self.score.changed.connect(self._set_score)
        self.counts = note()
        self.take_button = button(
            "Take all shown", self.take_shown, "Make objects of all outlines (Shift-U)"
        )
        self.find_button = button(
            "Find all like this", find,
            "Objects like the one under the mouse, or the one made last (G)",
        )  # fmt: skip
        self.again_button = button("↻", self.compute, "Suggest again with the model in use")
        self.again_button.setFixedWidth(28)
        layout = tight(QVBoxLayout(self), 4)
        layout.addWidget(row(heading("Suggestions"), self.automatic.native))
        layout.addWidget(self.sources)
        layout.addWidget(row(note("score"), self.score.native))
        layout.itemAt(2).widget().layout().setStretch(1, 5)
        layout.addWidget(self.counts)
        layout.addWidget(row(self.take_button, self.find_button, self.again_button))
        self.refresh()

    def follow(self, board: SuggestionBoard | None) -> None:
        """Show the suggestions of another project; None for none."""
        self._board = board
        if board is not None:
            board.automatic = bool(self.automatic.value)
            board.changed.connect(self.refresh)
            board.busy_changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: Any) -> None:
        """Show how many there are."""
        board = self._board
        shown = () if board is None else board.shown
        rest = 0 if board is None else board.open_count - len(shown)
        text = f"{counted(len(shown), 'outline')} shown, {rest} below the score"
        if board is not None and board.busy:
            text = "Looking for objects …"
        elif board is None or board.suggestions is None:
            text = "No suggestions yet."
        self.counts.setText(text)
        self.take_button.setEnabled(bool(shown))
        if board is not None:
            self.sources.value = board.source
            with self.score.changed.blocked():
                self.score.value = board.threshold

    def _set_score(self, value: float) -> None:
        if self._board is not None:
            self._board.threshold = round(float(value), 2)

    def _set_automatic(self, on: bool) -> None:
        if self._board is not None:
            self._board.automatic = on
            if on and self._board.suggestions is None:
                self._board.compute()

    def _choose(self, source: str) -> None:
        if self._board is not None:
            self._board.choose_source(source)

    def compute(self) -> None:
        """Compute the suggestions again."""
        if self._board is not None:
            self._attempt(self._board.compute)

    def take_shown(self) -> None:
        """Take all suggestions that are shown."""
        if self._board is not None:
            self._attempt(self._board.take_shown)
