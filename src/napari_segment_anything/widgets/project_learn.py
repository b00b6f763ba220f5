"""Learn from a project: progress, curves, versions before and after, and which one is used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from ..bridge.project.teaching import Curves, Material, Teaching
from ..checkpoints import cannot, known_abilities
from ..projects import ModelVersion
from ..projects.learning import sample_pictures
from ..projects.learning_status import LearningStatus
from ..wording import counted
from .curves import CurvePlot
from .qt_helpers import RowTable, allow, button, heading, note, row, tight

_POLL = 1000
_LEARN_TIP = "Fine-tune the model on what is annotated, in the background"
_HEADS = ("model", "AP .50", "mean AP", "click", "objects")
_PICTURE = 150
_STEPS_SEEN = 5
_CURVES = {
    "train": {"point_first": "IoU of a click", "box_first": "of a box"},
    "validation": {"ap50": "AP .50"},
}
"""What is plotted, and its title."""


class LearnPanel(QWidget):
    """Starts learning, shows how far it is, and chooses between the versions of the model.

    Parameters
    ----------
    attempt : callable
        Calls a function, and shows its errors.
    """

    chosen = Signal(str)
    """Emits the version, or the model from elsewhere, that the project is to use."""
    learned = Signal(str)
    """Emits the version that was made."""

    def __init__(self, attempt: Callable[..., Any]) -> None:
        super().__init__()
        self._attempt = attempt
        self._teaching: Teaching | None = None
        self._versions: list[ModelVersion] = []
        self._first = "default"
        self._was_active = False
        self._pace = (0, 0, 0.0)
        """Steps in all, and how many were done when, as first seen of this run."""
        self.material = note()
        self.learn_button = button("Learn from this project", self.learn, _LEARN_TIP)
        self.resume_button = button("Go on", self.resume, "Go on with what was stopped")
        self.stop_button = button("Stop", self.stop, "Stop; it can go on later")
        self.state = note()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(4)
        self.plot = CurvePlot()
        self.plot.setToolTip("IoU on images that are learned from, AP .50 on those held out")
        self.table = RowTable(_HEADS, 112)
        self.table.chosen.connect(self._show_version)
        self.use_button = button("Use this version", self.use, "Suggest and segment with it")
        self.figures = note()
        self.picture = QLabel()
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.picture.setToolTip("Outlines on a held-out image: before, and after learning")
        layout = tight(QVBoxLayout(self), 5)
        for item in (
            self.material,
            row(self.learn_button, self.resume_button, self.stop_button),
            self._bar,
            self.state,
            self.plot,
            row(heading("Versions"), self.use_button),
            self.table,
            self.figures,
            self.picture,
        ):
            layout.addWidget(item)
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL)
        self._timer.timeout.connect(self.poll)

    def follow(self, teaching: Teaching | None, model: str = "default") -> None:
        """Show another project's learning; None for none.

        Parameters
        ----------
        teaching : Teaching or None
        model : str
            The model that a project without versions begins with.
        """
        self._teaching, self._first = teaching, model
        self._was_active = False
        self._timer.stop()
        if teaching is not None:
            self._timer.start()
            self.refresh()

    # -- what the user does ----------------------------------------------------------------------

    def learn(self) -> None:
        """Learn from the present annotation."""
        if self._teaching is not None:
            self._attempt(self._teaching.start, True)
            self.poll()

    def resume(self) -> None:
        """Go on with learning that was stopped."""
        if self._teaching is not None:
            self._attempt(self._teaching.start)
            self.poll()

    def stop(self) -> None:
        """Stop learning."""
        if self._teaching is not None:
            self._teaching.cancel()
            self.state.setText("Stopping …")

    def use(self) -> None:
        """Use the selected version."""
        number = self.table.selected
        if number is not None:
            self.chosen.emit(self._versions[number - 1].name if number else self._first)

    # -- what there is ---------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show what there is to learn from, and the versions."""
        teaching = self._teaching
        if teaching is None:
            return
        found = self._attempt(Material.of, teaching.project)
        if found is not None:
            self.material.setText(
                f"{counted(found.objects, 'object')} on {counted(found.images, 'image')}, "
                f"{found.complete} of them complete. What nobody has looked at is left out."
            )
        self._attempt(self._show_versions, teaching)
        self.poll()

    def _show_versions(self, teaching: Teaching) -> None:
        project, before = teaching.project, len(self._versions)
        self._versions = list(project.versions)
        rows: dict[int, list[str]] = {}
        for number, version in reversed(list(enumerate(self._versions, start=1))):
            learned, figures = version.learned(), teaching.figures(version)
            after = [figures.get(name, (None, None))[1] for name in ("ap50", "ap", "point")]
            objects = sum(
                len(image["objects"]) for image in learned["images"] if image["part"] == "train"
            )
            rows[number] = [
                self._marked(version.name),
                *("–" if value is None else f"{value:.3f}" for value in after),
                str(objects),
            ]
        rows[0] = [self._marked(self._first), "", "", "", ""]
        selected = self.table.selected
        if selected is None or len(self._versions) > before:
            selected = len(self._versions)
        self.table.fill(rows)
        self.table.select(selected)
        self._show_version(selected)

    def _marked(self, name: str) -> str:
        used = self._teaching is not None and self._teaching.project.model == name
        return f"● {name}" if used else name

    def _show_version(self, number: int) -> None:
        """Show the figures and pictures of a version."""
        teaching = self._teaching
        name = self._versions[number - 1].name if number else self._first
        used = teaching is not None and teaching.project.model == name
        self.use_button.setEnabled(not used)
        self.use_button.setText("In use" if used else f"Use {name}"[:24])
        if teaching is None or not number:
            self.figures.setText("The model that the project began with." if not number else "")
            self.picture.clear()
            self.picture.setFixedHeight(0)
            return
        version = self._versions[number - 1]
        if not self._was_active:
            self._show_curves(lambda: teaching.curves(version))
        words = {"ap50": "AP .50", "ap": "mean AP", "point": "IoU of a click", "box": "of a box"}
        lines = [
            f"{words[key]}: {_number(before)} → <b>{_number(after)}</b>"
            for key, (before, after) in teaching.figures(version).items()
        ]
        seconds = float(version.learned().get("seconds", 0))
        text = " · ".join(lines) or str(version.learned().get("note", ""))
        self.figures.setText(f"{text}. Learned in {_duration(seconds)}.")
        picture = next(sample_pictures(version), None)
        if picture is None:
            self.picture.clear()
            self.picture.setFixedHeight(0)
            return
        pixels = QPixmap(str(picture))
        self.picture.setFixedHeight(_PICTURE)
        self.picture.setPixmap(
            pixels.scaled(
                max(200, self.width()), _PICTURE, Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )  # fmt: skip

    # -- progress --------------------------------------------------------------------------------

    def poll(self) -> None:
        """Show how far learning is."""
        teaching = self._teaching
        if teaching is None:
            return
        status: LearningStatus | None = self._attempt(lambda: teaching.status)
        active = status is not None and status.active
        allow(self.learn_button, "Learning now" if active else self._refusal(), _LEARN_TIP)
        self.stop_button.setEnabled(active)
        self.resume_button.setVisible(not active and teaching.can_resume)
        self._bar.setVisible(active)
        if status is None:
            self.state.setText("")
        else:
            self._show_status(status)
            if active:
                self._show_curves(teaching.curves, status.total)
        if self._was_active and status is not None and not active:
            self.refresh_after(status)
        self._was_active = active

    def _refusal(self) -> str:
        """Why the project's model cannot be trained; "" if it can, or that is not known yet."""
        project = None if self._teaching is None else self._teaching.project
        able = None if project is None else known_abilities(project.model_path())
        if project is None or able is None or "train" in able:
            return ""
        return f"{cannot(project.model, 'train')}."

    def refresh_after(self, status: LearningStatus) -> None:
        """Show a version that was just made."""
        if status.state == "done" and self._teaching is not None:
            self._teaching.project.reload()
            self._show_versions(self._teaching)
            self.learned.emit(status.version)

    def _show_status(self, status: LearningStatus) -> None:
        self._bar.setRange(0, max(status.total, 1) if status.done else 0)
        self._bar.setValue(status.done)
        words = {
            "interrupted": "The process that was learning has ended; it can go on.",
            "stopped": "Stopped; it can go on.",
            "failed": f"⚠ {status.message}",
            "done": f"Done: {status.version}.",
        }
        if not status.active:
            self.state.setText(words[status.state])
            return
        said = status.message or "preparing"
        said = said if len(said) < 60 else "learning"  # else it lists losses
        parts = [said[:1].upper() + said[1:]]
        if status.total > 1 and status.done:
            parts.append(f"{status.done} of {status.total}")
        if status.predicted_seconds:
            left = self._seconds_left(status)
            memory = status.predicted_memory / 2**30
            parts.append(f"about {_duration(left)} left, {memory:.1f} GB")
        self.state.setText(" · ".join(part for part in parts if part))

    def _seconds_left(self, status: LearningStatus) -> float:
        """Seconds left at the pace of the steps that were seen, at first as predicted."""
        now = time.time()
        total, done, since = self._pace
        if total != status.total or done > status.done:
            total, done, since = self._pace = (status.total, status.done, now)
        if status.done - done >= _STEPS_SEEN:
            return (status.total - status.done) * (now - since) / (status.done - done)
        return max(0.0, status.predicted_seconds - max(0.0, now - status.started))

    def _show_curves(self, read: Callable[[], Curves], total: int = 0) -> None:
        curves = self._attempt(read)
        if not curves:
            return
        shown = {}
        for kind, names in _CURVES.items():
            for name, title in names.items():
                rows = [each for each in curves.get(kind, []) if name in each]
                shown[title] = [(each["step"], each[name]) for each in rows]
        self.plot.show_curves(shown, float(total))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
