"""Buttons that save what everything mode found, and the dialog that all exports share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from ..bridge.files import write_csv, write_found
from ..bridge.runs.everything import DrawnObjects
from ..errors import SegmentAnythingError
from ..wording import counted
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
        self.summary = note("")
        self._buttons = (
            button("Save table …", self.save_table, "The features as CSV"),
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
        """Save a row for each object."""
        self._save("objects.csv", "Table (*.csv)", write_csv)

    def save_records(self) -> None:
        """Save the masks in the form of SA-1B."""
        self._save("masks.json", "SA-1B JSON (*.json)", write_found)

    def _save(self, name: str, kinds: str, write: Callable[[Path, DrawnObjects], None]) -> None:
        drawn = self._drawn()
        if drawn is not None:
            ask_and_save(
                name,
                kinds,
                lambda path: write(Path(path), drawn),
                self._status.say,
                self._status.warn,
            )


def ask_and_save(
    proposed: str,
    kinds: str,
    write: Callable[[str], object],
    say: Callable[[str], object],
    warn: Callable[[str], object],
    ending: str = "",
    **dialog: Any,
) -> None:
    """Ask for a path, write there, and show the outcome.

    Parameters
    ----------
    proposed : str
        File name to begin with.
    kinds : str
        Qt's filter of file names.
    write : callable
        Takes the path.
    say, warn : callable
        Tell the user.
    ending : str
        Added to a name without its last part: "labels" with ".ome.zarr".
    **dialog
        Options of `QFileDialog.getSaveFileName`.
    """
    path, _ = QFileDialog.getSaveFileName(None, "Save", proposed, kinds, **dialog)
    if not path:
        return
    if not path.endswith(Path(ending).suffix):
        path += ending
    try:
        write(path)
    except (OSError, SegmentAnythingError) as error:
        warn(str(error))
    else:
        say(f"Saved {Path(path).name}.")
