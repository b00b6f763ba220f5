"""Audit a project: draw masks and fields, answer them one by one, and read the figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QProgressBar, QVBoxLayout, QWidget

from ..bridge.project.auditing import AuditItem, AuditRound
from ..bridge.project.project_session import ProjectSession
from ..errors import SegmentAnythingError
from ..parameters import AUDIT
from ..projects.audit import Audit, audit_names
from ..projects.audit_domain import AuditFigure
from ..projects.audit_figures import AuditFigures
from ..projects.audit_report import class_title, classes_note
from ..wording import counted
from .forms import fields
from .jobs import Jobs, in_one_step
from .project_rounds import RoundPanel
from .qt_helpers import RowTable, button, heading, note, row, tight

_ABOUT = (
    "Masks are drawn at random among those that nobody has corrected, and fields among the places "
    "that nobody has declared complete. Your answers change no labels."
)
_MASK = "What is this object really? Correct its outline; U records it. W: it is no object."
_FIELD = "Prompt every object in the frame that has no grey outline; U records them."
_CLASS = " Class: {}; 1 … 9 give another, 0 none."
_TITLES = {
    "iou_above_75": "IoU > .75",
    "iou_above_90": "IoU > .90",
    "precision": "are objects",
    "recall": "found",
    "area": "area",
    "density": "density",
    "coverage": "covered",
}
"""Short titles of figures; others keep their own."""
_HEADS = ("figure", "estimate", "95 %")


class AuditPanel(RoundPanel[AuditRound]):
    """Draws an audit, goes through it, and shows what it says.

    Parameters
    ----------
    attempt : callable
        Calls a function, and shows its errors.
    """

    asked = Signal(object)
    """Emits the `AuditItem` that is shown, or None at the end."""

    def __init__(self, attempt: Callable[..., Any]) -> None:
        super().__init__(attempt)
        self._shown = ""
        """Name of the audit whose figures are shown."""
        self._computing = Jobs(self, name="segment-anything-figures")
        self._computing.finished.connect(self._on_figures)
        self._computing.failed.connect(self._on_no_figures)
        self._writing = Jobs(self, name="segment-anything-audit-files")
        self._writing.finished.connect(lambda result: self._written(result))
        self._writing.failed.connect(self._on_not_written)
        self._written: Callable[[Any], object] = lambda result: None
        self.fields = {field.name: field for field in fields(AUDIT, ("masks", "fields"))}
        self.drawing = QWidget()
        form = QFormLayout(self.drawing)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        for field in self.fields.values():
            form.addRow(field.label, field.native)
        self.names = ComboBox(choices=())
        self.names.tooltip = "Audits of the project, the latest first"
        self.names.changed.connect(self._show_figures)
        self.draw_button = button("Draw an audit", self.draw, "Draw masks and fields at random")
        self._writing.ended.connect(lambda: self.draw_button.setEnabled(True))
        self.go_button = button("Answer", self.answer, "Go through what is not answered yet")
        self.report_button = button("Write report", self.write, "report.json and methods.md")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(4)
        self.task = note()
        self.yes_button = button("✓ As shown (U)", self.yes, "Record what is shown, and go on")
        self.no_button = button("✗ No object (W)", self.no, "Record that there is none, and go on")
        self.lacking = note()
        self.table = RowTable(_HEADS, 178)
        self.table.setToolTip("What the automatic masks say → what is estimated")
        self.table.fit(1, 2)
        layout = tight(QVBoxLayout(self), 5)
        self.about = note(_ABOUT)
        layout.addWidget(self.about)
        form.addRow(row(self.draw_button, None))
        layout.addWidget(self.drawing)
        layout.addWidget(row(self.names.native, self.go_button, self.report_button))
        layout.addWidget(self._bar)
        layout.addWidget(self.task)
        layout.addWidget(row(self.yes_button, self.no_button))
        layout.addWidget(heading("Figures"))
        layout.addWidget(self.table)
        layout.addWidget(self.lacking)
        self._show_item(None)

    def follow(self, series: ProjectSession | None) -> None:
        """Show another project's audits; None for none."""
        super().follow(series)
        self.refresh()

    def refresh(self) -> None:
        """Show the audits there are."""
        series = self._series
        names = [] if series is None else audit_names(series.project)[::-1]
        if list(self.names.choices) != names:
            self.names.choices = names
        self._show_figures()

    # -- what the user does ----------------------------------------------------------------------

    def draw(self) -> None:
        """Draw masks and fields on another thread, then ask about the first."""
        series = self._series
        if series is None:
            return
        series.leave()
        wanted = {name: field.value for name, field in self.fields.items()}

        def draw() -> Audit:
            series.flush()  # so that its labels are those on the disk
            return Audit.draw(series.project, **wanted)

        self._write("Drawing …", draw, self._on_drawn)

    def _on_drawn(self, drawn: Audit) -> None:
        self.task.setText("")
        self.refresh()
        self.names.value = drawn.name
        self.answer()

    def answer(self) -> None:
        """Go through what is not answered yet, or stop."""
        if self.round is not None:
            self.end()
            return
        audit = self._audit()
        if audit is not None and self._series is not None:
            self._begin(AuditRound(self._series, audit))

    def yes(self) -> None:
        """Record what is shown, and go on."""
        if self.round is not None:
            self.round.done()

    def no(self) -> None:
        """Record that there is no object, and go on."""
        if self.round is not None:
            self.round.reject()

    def write(self) -> None:
        """Write the report and the text for a methods section, on another thread."""
        audit = self._audit()
        if audit is not None:
            self._write(
                "Writing …",
                audit.write_report,
                lambda paths: self.task.setText(f"Written: {', '.join(map(str, paths))}"),
            )

    def _write(self, words: str, work: Callable[[], Any], written: Callable[[Any], object]) -> None:
        self.task.setText(words)
        self.draw_button.setEnabled(False)
        self._written = written
        self._writing.start(in_one_step(work))

    def _on_not_written(self, error: Exception) -> None:
        self.task.setText("")
        self._attempt(_raise, error)

    def end(self) -> None:
        """End the round; what was decided is kept."""
        self._writing.cancel()  # an audit that is being drawn is not begun
        super().end()

    def close_down(self) -> None:
        """Wait for what is being computed and written."""
        self._series = None
        self._computing.close()
        self._writing.close()

    # -- what there is ---------------------------------------------------------------------------

    def _audit(self) -> Audit | None:
        series, name = self._series, self.names.value
        if series is None or not name:
            return None
        if self.round is not None and self.round.audit.name == name:
            return self.round.audit
        found: Audit | None = self._attempt(lambda: Audit.open(series.project, str(name)))
        return found

    def _show_item(self, item: AuditItem | None) -> None:
        there = item is not None
        self.asked.emit(item)
        for each in (self.yes_button, self.no_button):
            each.setEnabled(there)
        self._bar.setVisible(there)
        for each in (self.about, self.drawing):
            each.setVisible(not there)
        self.go_button.setText("Stop" if self.round is not None and there else "Answer")
        if item is None:
            ended = self.round is not None
            self.round = None
            self.task.setText("All answered." if ended else "")
            self._show_figures()
            return
        if self.round is not None:
            masks, others = self.round.left
            sample = self.round.audit.sample
            every = len(sample.masks) + len(sample.fields)
            self._bar.setRange(0, every)
            self._bar.setValue(every - masks - others)
            what = _MASK if item.kind == "mask" else _FIELD
            if sample.classes and item.kind == "mask":
                what += _CLASS.format(item.class_name or "none")
            self.task.setText(
                f"{counted(masks, 'mask')} and {counted(others, 'field')} left. {what}"
            )
            self._show_figures()
            of_mask = item.kind == "mask"
            self.yes_button.setText("✓ As shown (U)" if of_mask else "✓ All drawn (U)")
            self.no_button.setText("✗ No object (W)" if of_mask else "None missing (W)")

    def _show_figures(self, *_: Any) -> None:
        """Compute the figures on another thread; those before stay until then."""
        series, name = self._series, str(self.names.value or "")
        there = series is not None and bool(name)
        self.go_button.setEnabled(there)
        self.report_button.setEnabled(there)
        if not there or name != self._shown:
            self._fill([], "")
        self._shown = name
        if series is None or not name:
            self._computing.cancel()
            return
        project = series.project
        known = self.round.audit if self.round is not None else None
        if known is None or known.name != name:
            known = None
        self._computing.start(in_one_step(lambda: (known or Audit.open(project, name)).figures()))

    def _on_figures(self, found: AuditFigures) -> None:
        rows = [_row(figure) for figure in found.figures]
        for each in found.classes:
            rows.append((f"— {class_title(each)}", each.lacking, ""))
            rows += [_row(figure) for figure in each.figures]
        self._fill(rows, classes_note(found) if found.classes else "")

    def _on_no_figures(self, error: Exception) -> None:
        if not isinstance(error, SegmentAnythingError):
            raise error
        self._fill([], str(error))  # too few answers so far

    def _fill(self, rows: list[tuple[str, str, str]], lacking: str) -> None:
        self.lacking.setText(lacking)
        self.table.fill(dict(enumerate(rows)))
        self.table.setVisible(bool(rows))


def _raise(error: Exception) -> None:
    raise error


def _row(figure: AuditFigure) -> tuple[str, str, str]:
    interval = figure.interval
    before = "" if figure.automatic is None else f"{_short(figure.automatic)} → "
    return (
        f"{_TITLES.get(figure.name, figure.title)} {figure.unit}".strip(),
        f"{before}{_short(interval.value)}",
        f"{_short(interval.low)} – {_short(interval.high)}",
    )


def _short(value: float | None) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
