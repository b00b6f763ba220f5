"""Buttons that save what everything mode found, and the dialog that all exports share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from ..bridge.files import write_found, write_found_table
from ..bridge.runs.everything import DrawnObjects
from ..errors import SegmentAnythingError
from ..progress import Progress
from ..wording import counted
from .jobs import Jobs
from .qt_helpers import button, note, row, tight
from .status import StatusLine


class Exports(QWidget):
    """Buttons for a result of everything mode, and how many candidates it kept.

    Parameters
    ----------
    status : StatusLine
        Shows what was saved.
    drawn : callable
        Returns the result that is shown, or None.
    discard : callable
        Discards it.
    """

    def __init__(
        self,
        status: StatusLine,
        drawn: Callable[[], DrawnObjects | None],
        discard: Callable[[], object],
    ) -> None:
        super().__init__()
        self._status, self._drawn = status, drawn
        self._jobs = Jobs(self, "segment-anything-export")
        self._jobs.finished.connect(status.say)
        self._jobs.failed.connect(status.warn)
        self.summary = note("")
        self._buttons = (
            button("Save table …", self.save_table, "Area, shape, intensities and scores as CSV"),
            button("Save masks …", self.save_records, "SA-1B JSON"),
            button("Discard", discard, "Take the result back"),
        )
        layout = tight(QVBoxLayout(self))
        layout.addWidget(self.summary)
        layout.addWidget(row(*self._buttons, None))

    def refresh(self) -> None:
        """Show the current result."""
        drawn = self._drawn()
        for item in self._buttons:
            item.setEnabled(drawn is not None)
        if drawn is None:
            self.summary.setText("")
            return
        every = len(drawn.table.candidates)
        self.summary.setText(f"{drawn.objects} of {counted(every, 'candidate')} kept.")

    def save_table(self) -> None:
        """Measure the objects on another thread, and save a row for each."""
        drawn = self._drawn()
        path = "" if drawn is None else ask_path("objects.csv", "Table (*.csv)")
        if drawn is None or not path:
            return
        self._status.say("Measuring …")

        def job(cancelled: Callable[[], bool]) -> Generator[Progress, None, str]:
            yield Progress(0, 1, message="measuring")
            write_found_table(Path(path), drawn)
            return f"Saved {Path(path).name}."

        self._jobs.start(job)

    def save_records(self) -> None:
        """Save the masks in the form of SA-1B."""
        drawn = self._drawn()
        if drawn is not None:
            ask_and_save(
                "masks.json",
                "SA-1B JSON (*.json)",
                lambda path: write_found(Path(path), drawn),
                self._status.say,
                self._status.warn,
            )

    def close_down(self) -> None:
        """Wait for a table that is being saved."""
        self._jobs.close()


def ask_path(proposed: str, kinds: str, ending: str = "", **dialog: Any) -> str:
    """Ask where to save, and return the path; empty if nothing was chosen.

    Parameters
    ----------
    proposed : str
        File name to begin with.
    kinds : str
        Qt's filter of file names.
    ending : str
        Added to a name without its last part: "labels" with ".ome.zarr".
    **dialog
        Options of `QFileDialog.getSaveFileName`.
    """
    path, _ = QFileDialog.getSaveFileName(None, "Save", proposed, kinds, **dialog)
    return path if not path or path.endswith(Path(ending).suffix) else path + ending


def ask_and_save(
    proposed: str,
    kinds: str,
    write: Callable[[str], object],
    say: Callable[[str], object],
    warn: Callable[[str], object],
    **asking: Any,
) -> None:
    """Ask for a path, write there, and show the outcome.

    Parameters
    ----------
    proposed, kinds, **asking
        As for `ask_path`.
    write : callable
        Takes the path.
    say, warn : callable
        Tell the user.
    """
    path = ask_path(proposed, kinds, **asking)
    if not path:
        return
    try:
        write(path)
    except (OSError, SegmentAnythingError) as error:
        warn(str(error))
    else:
        say(f"Saved {Path(path).name}.")
