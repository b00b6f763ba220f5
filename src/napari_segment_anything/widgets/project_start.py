"""Open a project, or make one: what the widget shows while there is none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QLineEdit, QVBoxLayout, QWidget

from ..errors import ParameterError
from ..projects import Project
from .qt_helpers import button, heading, note, row, tight

_ABOUT = (
    "A project is a folder that holds labels, objects and states for a series of images. The "
    "images stay where they are."
)
_IMAGES = (
    "A folder, a file, a pattern such as raw/*.tif, a table with a column path, or an OME-Zarr "
    "image or plate"
)


class ProjectStart(QWidget):
    """Asks for a project.

    Parameters
    ----------
    attempt : callable
        Calls a function, shows its errors, and returns what it returns, or None.
    model : callable
        Returns the model that is in use.
    """

    found = Signal(object)
    """Emits a Project that was opened or made."""

    def __init__(self, attempt: Callable[..., Any], model: Callable[[], str]) -> None:
        super().__init__()
        self._attempt, self._model = attempt, model
        self.images = _line("Images", _IMAGES)
        self.folder = _line("Folder of the project", "Created if it is not there")
        self.classes = _line("cell, debris", "Optional: names of classes, with commas between them")
        self.again = button("", self._open_again, "Open the last project again")
        self.open_button = button("Open a project …", self._ask_project)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setHorizontalSpacing(8)
        images = row(
            self.images,
            button("Folder …", partial(self._ask_folder, self.images, "The folder of the images")),
            button("File …", self._ask_file),
        )
        folder = row(
            self.folder, button("Choose …", partial(self._ask_folder, self.folder, "A new folder"))
        )
        form.addRow("Images", images)
        form.addRow("Project", folder)
        form.addRow("Classes", self.classes)
        layout = tight(QVBoxLayout(self), 6)
        layout.addWidget(note(_ABOUT))
        layout.addWidget(row(self.open_button, self.again, None))
        layout.addWidget(heading("New project"))
        layout.addLayout(form)
        layout.addWidget(row(button("Create", self.create), None))
        layout.addStretch(1)
        self._recent: Path | None = None
        self.offer(None)

    def offer(self, recent: str | None) -> None:
        """Offer to open a project again."""
        self._recent = Path(recent) if recent else None
        there = self._recent is not None and (self._recent / "project.toml").exists()
        self.again.setVisible(there)
        if there and self._recent is not None:
            self.again.setText(f"Open {self._recent.name[:24]}")
            self.again.setToolTip(str(self._recent))

    def open(self, folder: str | Path) -> None:
        """Open a project."""
        project = self._attempt(Project.open, folder)
        if project is not None:
            self.found.emit(project)

    def create(self) -> None:
        """Make a project of what was filled in."""
        project = self._attempt(self._made)
        if project is not None:
            self.found.emit(project)

    def _made(self) -> Project:
        images = self.images.text().strip()
        if not images:
            raise ParameterError("choose the images first: a folder, a file, a pattern or a table")
        names = [name.strip() for name in self.classes.text().split(",") if name.strip()]
        folder = self.folder.text().strip() or f"{images.rstrip('/')} project"
        return Project.create(folder, images, classes=names, model=self._model())

    def _open_again(self) -> None:
        if self._recent is not None:
            self.open(self._recent)

    def _ask_project(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder with a project.toml")
        if folder:
            self.open(folder)

    def _ask_folder(self, field: QLineEdit, title: str) -> None:
        folder = QFileDialog.getExistingDirectory(self, title)
        if folder:
            field.setText(folder)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "An image, a stack, or a table of images")
        if path:
            self.images.setText(path)


def _line(hint: str, tip: str) -> QLineEdit:
    field = QLineEdit()
    field.setPlaceholderText(hint)
    field.setToolTip(tip)
    return field
