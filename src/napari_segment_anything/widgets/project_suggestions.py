"""The suggestions for an image: a slider for their score, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox, FloatSlider
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..bridge.project.project_session import ProjectSession
from ..bridge.project.series_jobs import SeriesJobs
from ..bridge.project.suggestion_board import SuggestionBoard
from ..progress import Progress
from ..projects.suggesting import SeriesReport
from ..wording import counted
from .forms import slim
from .qt_helpers import ChoiceButtons, button, heading, note, row, tight

_SOURCES = (
    ("everything", "All objects", "What the model is sure of"),
    ("similar", "Like the example", "What looks like the objects that were chosen"),
)


_AGAIN = "Suggest again with the model in use; of a large image, resume where it was stopped"
_STOP = "Stop; tiles of a large image that are done are kept"
_BUSY = "Looking for objects …"
_LARGE = "The image is large: ↻ looks for objects tile by tile, while you go on."


class SuggestionPanel(QWidget):
    """Slider and buttons for suggestions.

    Parameters
    ----------
    attempt : callable
        Calls a function, and shows its errors.
    find : callable
        Looks for all objects like the one under the mouse, or the last.
    find_all : callable
        Looks for them in all images.
    """

    told = Signal(str)
    """Emits what is to be said in the status line."""

    def __init__(
        self,
        attempt: Callable[..., Any],
        find: Callable[[], object],
        find_all: Callable[[], object],
    ) -> None:
        super().__init__()
        self._attempt = attempt
        self._board: SuggestionBoard | None = None
        self._jobs: SeriesJobs | None = None
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
        self.again_button = button("↻", self.compute, _AGAIN)
        self.again_button.setFixedWidth(28)
        self.all_button = button(
            "Suggest for all images", self.suggest_all,
            "Make suggestions for every image that is still to do, in the background",
        )  # fmt: skip
        self.like_button = button(
            "Like this in all", find_all, "Objects like it in every image that is still to do"
        )
        layout = tight(QVBoxLayout(self), 4)
        layout.addWidget(row(heading("Suggestions"), self.automatic.native))
        layout.addWidget(self.sources)
        layout.addWidget(row(note("score"), self.score.native))
        layout.itemAt(2).widget().layout().setStretch(1, 5)
        layout.addWidget(self.counts)
        layout.addWidget(row(self.take_button, self.find_button, self.again_button))
        layout.addWidget(row(self.all_button, self.like_button))
        self.refresh()

    def follow(self, series: ProjectSession | None) -> None:
        """Show the suggestions of another project; None for none."""
        board = self._board = None if series is None else series.board
        self._jobs = None if series is None else series.jobs
        if board is not None and self._jobs is not None:
            self._jobs.progressed.connect(self._on_progress)
            self._jobs.running_changed.connect(self._on_running)
            self._jobs.finished.connect(self._on_finished)
            board.automatic = bool(self.automatic.value)
            board.changed.connect(self.refresh)
            board.busy_changed.connect(self.refresh)
            board.progressed.connect(self._on_found)
        self.refresh()

    def refresh(self, *_: Any) -> None:
        """Show how many there are."""
        board = self._board
        shown = () if board is None else board.shown
        rest = 0 if board is None else board.open_count - len(shown)
        text = f"{counted(len(shown), 'outline')} shown, {rest} below the score"
        busy = board is not None and board.busy
        if busy:
            text = _BUSY
        elif board is None or board.suggestions is None:
            text = "No suggestions yet."
        elif board.is_large and not board.suggestions.settings:
            text = _LARGE
        self.counts.setText(text)
        self.again_button.setText("✕" if busy else "↻")
        self.again_button.setToolTip(_STOP if busy else _AGAIN)
        self.take_button.setEnabled(bool(shown))
        if board is not None:
            self.sources.value = board.source
            with self.score.changed.blocked():
                self.score.value = board.threshold

    def _on_found(self, step: Progress) -> None:
        done = f"{step.done} of {step.total}, " if step.total > 1 else ""
        self.counts.setText(f"{_BUSY} {done}{step.message}")

    def suggest_all(self) -> None:
        """Make suggestions for all images that are to do, or stop."""
        if self._jobs is not None and self._jobs.running:
            self._jobs.stop()
        elif self._jobs is not None:
            self._attempt(self._jobs.suggest)

    def _on_running(self, running: bool) -> None:
        self.like_button.setEnabled(not running)
        self.all_button.setText("Stop" if running else "Suggest for all images")

    def _on_progress(self, step: Progress) -> None:
        done, every = step.done // 100, max(1, step.total // 100)
        self.all_button.setText(f"Stop ({done} of {every})")

    def _on_finished(self, report: SeriesReport) -> None:
        parts = [f"Suggestions for {counted(len(report.made), 'image')}"]
        if report.busy:
            parts.append(f"{len(report.busy)} left out that somebody has open")
        if report.failed:
            key, why = next(iter(report.failed.items()))
            parts.append(f"{len(report.failed)} failed, the first: {key}: {why.rstrip('.')}")
        self.told.emit(f"{'; '.join(parts)}.")

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
        """Compute the suggestions again, or stop."""
        board = self._board
        if board is not None:
            self._attempt(board.cancel if board.busy else board.compute)

    def take_shown(self) -> None:
        """Take all suggestions that are shown."""
        if self._board is not None:
            self._attempt(self._board.take_shown)
