"""The status line: what is going on, and how long it will take."""

from __future__ import annotations

import time

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QProgressBar, QPushButton, QSizePolicy, QWidget

from ..progress import Progress
from .qt_helpers import SteadyText, tight


class StatusLine(QWidget):
    """Shows what is going on, with a thin progress bar and a button to stop it."""

    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.doing = ""
        self._text = SteadyText()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(4)
        self._stop = QPushButton("Stop")
        self._stop.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._stop.setToolTip("Stop after the batch that is being computed")
        self._stop.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._stop.clicked.connect(lambda *_: self.cancelled.emit())
        self._space = QWidget()
        self._space.setFixedHeight(4)
        layout = tight(QGridLayout(self), 2)
        layout.addWidget(self._text, 0, 0)
        layout.addWidget(self._stop, 0, 1)
        layout.addWidget(self._bar, 1, 0, 1, 2)
        layout.addWidget(self._space, 1, 0, 1, 2)
        layout.setColumnStretch(0, 1)
        self.rest()

    @property
    def text(self) -> str:
        """The text shown."""
        return str(self._text.text())

    def say(self, text: str) -> None:
        """Show a text."""
        self._text.show_text(text)

    def warn(self, error: BaseException | str) -> None:
        """Show an error."""
        self._text.show_text(f"⚠ {error}")

    def rest(self, text: str = "") -> None:
        """Show that nothing is going on."""
        self.doing = ""
        self._text.show_text(text)
        for item in (self._bar, self._stop):
            item.setVisible(False)
        self._space.setVisible(True)

    def busy(self, text: str, stoppable: bool = False, doing: str = "work") -> None:
        """Show that something has begun whose duration is not known.

        Parameters
        ----------
        text : str
        stoppable : bool
            Whether to show the button Stop; not where another button stops it.
        doing : str
            What it is, so that others can tell.
        """
        self.doing = doing
        self._text.show_text(text)
        self._bar.setRange(0, 0)
        self._bar.setVisible(True)
        self._space.setVisible(False)
        self._stop.setVisible(stoppable)

    def show_progress(self, step: Progress, stoppable: bool | None = None) -> None:
        """Show a step; `stoppable` shows or hides the button Stop.

        Parameters
        ----------
        step : Progress
        stoppable : bool, optional
            None leaves the button as it is.
        """
        if stoppable is not None:
            self._stop.setVisible(stoppable)
        message = step.message or "working"
        if step.done and step.total > 1:
            self._bar.setRange(0, 1000)
            self._bar.setValue(round(1000 * min(step.fraction, 1.0)))
            self._text.show_text(f"{message[0].upper()}{message[1:]}: {_amount(step)}")
        else:
            self._bar.setRange(0, 0)
            self._text.show_text(f"{message[0].upper()}{message[1:]} …")


def _amount(step: Progress) -> str:
    if step.total > 5_000_000:  # bytes of a download
        return f"{step.done / 1e6:.0f} of {step.total / 1e6:.0f} MB"
    return f"{step.done} of {step.total}"


class Pace:
    """Estimates the remaining time from the speed so far."""

    def __init__(self) -> None:
        self._what = ""
        self._since, self._first = 0.0, 0

    def left(self, done: int, total: int, what: str) -> float | None:
        """Return the seconds left, or None while it is too early to tell.

        Parameters
        ----------
        done, total : int
            Steps of `what`, a phase of its own.
        """
        now = time.monotonic()
        if what != self._what:
            self._what, self._since, self._first = what, now, done
        steps, passed = done - self._first, now - self._since
        if steps < 2 or passed < 10 or done >= total:
            return None
        return passed / steps * (total - done)
