"""What objects can be saved as, and buttons for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from ..bridge.runs.results import Drawn
from ..errors import SegmentAnythingError
from ..wording import counted
from .files import write_csv, write_found
from .parts import Status, button, note, row, tight

if TYPE_CHECKING:
    from ..bridge import ViewerSession


class Exports(QWidget):
    """What can be done with a result of everything mode.

    Parameters
    ----------
    status : Status
        Says what was saved.
    drawn : callable
        Returns the result that is shown, or None.
    discard : callable
        Takes it back.
    """

    def __init__(
        self, status: Status, drawn: Callable[[], Drawn | None], discard: Callable[[], object]
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
        """Show what there is."""
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

    def _save(self, name: str, kinds: str, write: Callable[[Path, Drawn], None]) -> None:
        drawn = self._drawn()
        if drawn is None:
            return
        path, _ = QFileDialog.getSaveFileName(self, "Save", name, kinds)
        if not path:
            return
        try:
            write(Path(path), drawn)
        except (OSError, SegmentAnythingError) as error:
            self._status.warn(error)
        else:
            self._status.say(f"Saved {Path(path).name}.")


def save_measures(parent: QWidget, session: ViewerSession, status: Status) -> None:
    """Ask where to, and save the measures of committed objects as CSV."""
    path, _ = QFileDialog.getSaveFileName(parent, "Save", "objects.csv", "Table (*.csv)")
    if not path:
        return
    try:
        session.measures.save(path)
    except SegmentAnythingError as error:
        status.warn(error)
    else:
        status.say(f"Saved {counted(len(session.objects), 'row')} to {Path(path).name}.")
