"""Buttons to go through a project's images, and a line about the one that is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit, QProgressBar, QVBoxLayout, QWidget

from ..projects import Project, ProjectImage
from .qt_helpers import button, note, row, tight


class ProjectBar(QWidget):
    """Next, previous, skip, flag and complete, with counts.

    Parameters
    ----------
    actions : mapping of str to callable
        What "previous", "next", "skip", "complete" and "flag" do; "flag" takes the note.
    """

    def __init__(self, actions: dict[str, Callable[..., object]]) -> None:
        super().__init__()
        self._flag = actions["flag"]
        self.counts = note()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(4)
        self.here = note()
        self.buttons = {
            "previous": button("◂", actions["previous"], "The image before (Shift-N)"),
            "next": button("Next ▸", actions["next"], "The next image that is to be done (N)"),
            "skip": button("Skip", actions["skip"], "Leave this image out (Shift-S)"),
            "flag": button("Flag …", self.ask_note, "Leave it to somebody, with a note (Shift-F)"),
            "complete": button(
                "✓ Complete", actions["complete"],
                "Every object of the image is labelled; go to the next (Shift-Enter)",
            ),
        }  # fmt: skip
        self.buttons["previous"].setFixedWidth(34)
        self.note = QLineEdit()
        self.note.setPlaceholderText("What is the matter with it? Enter flags the image")
        self.note.returnPressed.connect(self._flag_it)
        self.note.setVisible(False)
        layout = tight(QVBoxLayout(self), 4)
        for item in (self.counts, self._bar, row(*self.buttons.values()), self.note, self.here):
            layout.addWidget(item)

    def show_counts(self, project: Project) -> None:
        """Show how many images are done."""
        counts = project.counts()
        done, every = counts["complete"], len(project.images)
        rest = [f"{counts[state]} {state}" for state in ("flagged", "skipped") if counts[state]]
        text = ", ".join([f"{done} of {every} complete", *rest])
        self.counts.setText(f"<b>{project.name}</b>: {text}")
        self._bar.setRange(0, max(1, every - counts["skipped"]))
        self._bar.setValue(done)

    def show_image(self, image: ProjectImage | None, objects: int = 0, seconds: float = 0) -> None:
        """Show which image is open.

        Parameters
        ----------
        image : ProjectImage or None
        objects : int
        seconds : float
            Spent on it.
        """
        for item in self.buttons.values():
            item.setEnabled(image is not None)
        self.buttons["next"].setEnabled(True)
        if image is None:
            self.here.setText("No image is open: press Next, or click on one in the list.")
            self.note.setVisible(False)
            return
        key = image.key if len(image.key) <= 32 else f"…{image.key[-31:]}"
        clock = f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
        self.here.setText(f"{key} · {objects} object{'s' * (objects != 1)} · {clock}")

    def ask_note(self) -> None:
        """Ask for the note of a flag, or stop asking."""
        shown = not self.note.isVisible()
        self.note.setVisible(shown)
        if shown:
            self.note.setFocus(Qt.FocusReason.OtherFocusReason)

    def _flag_it(self) -> None:
        text = self.note.text().strip()
        self.note.clear()
        self.note.setVisible(False)
        self._flag(text)

    def keyPressEvent(self, event: Any) -> None:
        """Escape closes the note."""
        if event.key() == Qt.Key.Key_Escape and self.note.isVisible():
            self.note.setVisible(False)
        else:
            super().keyPressEvent(event)
