"""Small pieces that the widgets are put together from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QBoxLayout,
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..progress import Progress

SPACE = 4
"""Pixels between two rows, and around groups."""


def tight(layout: Any, space: int = SPACE) -> Any:
    """Return a layout without margins."""
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(space)
    return layout


def row(*items: QWidget | None, space: int = SPACE) -> QWidget:
    """Return widgets side by side; None is a stretch."""
    return _line(QHBoxLayout(), items, space)


def column(*items: QWidget | None, space: int = SPACE) -> QWidget:
    """Return widgets below each other; None is a stretch."""
    return _line(QVBoxLayout(), items, space)


def _line(layout: QBoxLayout, items: Iterable[QWidget | None], space: int) -> QWidget:
    holder = QWidget()
    tight(layout, space)
    for item in items:
        if item is None:
            layout.addStretch(1)
        else:
            layout.addWidget(item)
    holder.setLayout(layout)
    return holder


def form() -> tuple[QWidget, QFormLayout]:
    """Return a widget whose rows have a label and a field, aligned."""
    holder = QWidget()
    layout = tight(QFormLayout(holder))
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    layout.setHorizontalSpacing(8)
    return holder, layout


def align(forms: Sequence[QFormLayout], titles: Sequence[QLabel] = ()) -> None:
    """Give the labels of several forms, and further ones, the same width."""
    labels = list(titles)
    for layout in forms:
        for index in range(layout.rowCount()):
            item = layout.itemAt(index, QFormLayout.ItemRole.LabelRole)
            if item is not None:  # a row without a title
                labels.append(item.widget())
    width = max(label.sizeHint().width() for label in labels)
    for label in labels:
        label.setMinimumWidth(width)


def wide(widget: Any) -> Any:
    """Return a widget that takes the width there is."""
    widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return widget


def button(text: str, clicked: Callable[[], object], tip: str = "") -> QPushButton:
    """Return a push button that is no wider than it needs to be."""
    item = QPushButton(text)
    item.setToolTip(tip)
    item.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    item.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    item.clicked.connect(lambda *_: clicked())
    return item


def note(text: str = "") -> QLabel:
    """Return a label for a sentence: wrapped, and as high as it needs to be."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def check(text: str, tip: str) -> QCheckBox:
    """Return a check box."""
    item = QCheckBox(text)
    item.setToolTip(tip)
    item.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return item


def heading(text: str) -> QLabel:
    """Return the title of a group."""
    return note(f"<b>{text}</b>")


class Segmented(QWidget):
    """Buttons of which one is pressed.

    Parameters
    ----------
    choices : sequence of (value, text, tooltip)
    """

    changed = Signal(str)
    """Emits the value that the user chose."""

    def __init__(self, choices: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        layout = tight(QHBoxLayout(self), 2)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QPushButton] = {}
        for value, text, tip in choices:
            item = QPushButton(text)
            item.setCheckable(True)
            item.setToolTip(tip)
            item.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            item.setStyleSheet("QPushButton { padding: 3px 1px; }")
            self._group.addButton(item)
            self._buttons[value] = item
            layout.addWidget(item, 1)
            item.clicked.connect(lambda *_, value=value: self.changed.emit(value))

    @property
    def value(self) -> str:
        """What is pressed; "" for nothing."""
        return next((value for value, item in self._buttons.items() if item.isChecked()), "")

    @value.setter
    def value(self, value: str) -> None:
        if value in self._buttons:
            self._buttons[value].setChecked(True)
            return
        self._group.setExclusive(False)
        for item in self._buttons.values():
            item.setChecked(False)
        self._group.setExclusive(True)

    def button(self, value: str) -> QPushButton:
        """Return one of the buttons."""
        return self._buttons[value]


class Candidates(Segmented):
    """The masks there are for the same prompts, by their predicted IoU."""

    MOST = 4

    def __init__(self) -> None:
        tip = "Another mask for the same prompts, with its predicted IoU (Shift-C: the next)"
        super().__init__([(str(i), "–", tip) for i in range(self.MOST)])
        self.show_scores()

    def show_scores(self, scores: Sequence[float] = (), chosen: int = -1) -> None:
        """Show a button for each score; without one there is nothing to choose."""
        for index in range(self.MOST):
            item = self.button(str(index))
            item.setVisible(index < max(len(scores), 3))
            item.setEnabled(index < len(scores))
            item.setText(f"{index + 1}:  {scores[index]:.2f}" if index < len(scores) else "–")
        self.value = str(chosen)


class Fold(QWidget):
    """A title that shows and hides what is below it."""

    toggled = Signal(bool)

    def __init__(self, title: str, content: QWidget, opened: bool = False) -> None:
        super().__init__()
        self._head = QToolButton()
        self._head.setText(title)
        self._head.setCheckable(True)
        self._head.setChecked(opened)
        self._head.setAutoRaise(True)
        self._head.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._head.setIconSize(QSize(8, 8))
        self._head.setStyleSheet("QToolButton { border: none; background: none; padding: 2px 0; }")
        self.content = content
        layout = tight(QVBoxLayout(self), 2)
        layout.addWidget(self._head)
        layout.addWidget(content)
        self._head.toggled.connect(self._show)
        self._show(opened)

    def minimumSizeHint(self) -> QSize:
        """Return the width of what it shows, opened or not: opening it widens nothing."""
        size = super().minimumSizeHint()
        return size.expandedTo(QSize(self.content.minimumSizeHint().width(), 0))

    def _show(self, opened: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow
        self._head.setArrowType(arrow)
        self.content.setVisible(opened)
        self.toggled.emit(opened)

    @property
    def opened(self) -> bool:
        """Whether the content is shown."""
        return bool(self._head.isChecked())

    @opened.setter
    def opened(self, opened: bool) -> None:
        self._head.setChecked(opened)


class Status(QWidget):
    """Says what is going on, in two lines or more, with a thin bar and a way to stop it."""

    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.doing = ""
        self._text = note()
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
        """What it says."""
        return str(self._text.text())

    def say(self, text: str) -> None:
        """Say something until something else happens."""
        self._text.setText(text)

    def warn(self, error: BaseException | str) -> None:
        """Say what went wrong."""
        self._text.setText(f"⚠ {error}")

    def rest(self, text: str = "") -> None:
        """Nothing is going on."""
        self.doing = ""
        self._text.setText(text)
        for item in (self._bar, self._stop):
            item.setVisible(False)
        self._space.setVisible(True)

    def busy(self, text: str, stoppable: bool = False, doing: str = "work") -> None:
        """Something has begun, and nobody knows how long it takes.

        Parameters
        ----------
        text : str
        stoppable : bool
            Whether to show the button Stop; not where the button that began it stops it.
        doing : str
            What it is, for who has to tell one thing from another.
        """
        self.doing = doing
        self._text.setText(text)
        self._bar.setRange(0, 0)
        self._bar.setVisible(True)
        self._space.setVisible(False)
        self._stop.setVisible(stoppable)

    def resizeEvent(self, event: Any) -> None:
        """Keep room for two lines, so that most of what it says changes no height."""
        super().resizeEvent(event)
        self._text.setMinimumHeight(2 * self._text.fontMetrics().lineSpacing())

    def show_progress(self, step: Progress, stoppable: bool | None = None) -> None:
        """Something goes on; whether to show the button Stop may have changed."""
        if stoppable is not None:
            self._stop.setVisible(stoppable)
        message = step.message or "working"
        if step.done and step.total > 1:
            self._bar.setRange(0, 1000)
            self._bar.setValue(round(1000 * min(step.fraction, 1.0)))
            self._text.setText(f"{message[0].upper()}{message[1:]}: {_amount(step)}")
        else:
            self._bar.setRange(0, 0)
            self._text.setText(f"{message[0].upper()}{message[1:]} …")


def _amount(step: Progress) -> str:
    if step.total > 5_000_000:  # bytes of a download
        return f"{step.done / 1e6:.0f} of {step.total / 1e6:.0f} MB"
    return f"{step.done} of {step.total}"


class KeyList(QWidget):
    """A list of keys and what they do, in two columns."""

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        grid = tight(QGridLayout(self), 2)
        grid.setHorizontalSpacing(10)
        grid.setContentsMargins(4, 0, 0, 4)
        for index, (key, meaning) in enumerate(keys):
            name, words = QLabel(f"<b>{key}</b>"), QLabel(meaning)
            words.setWordWrap(True)
            top = Qt.AlignmentFlag.AlignTop
            grid.addWidget(name, index, 0, top)
            grid.addWidget(words, index, 1, top)
        grid.setColumnStretch(1, 1)


class Table(QTableWidget):
    """A table to choose a row from.

    Parameters
    ----------
    heads : sequence of str
        Titles of the columns.
    height : int
        In pixels.
    """

    def __init__(self, heads: Sequence[str], height: int) -> None:
        super().__init__(0, len(heads))
        self.setHorizontalHeaderLabels(list(heads))
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setMinimumSectionSize(18)
        self.verticalHeader().setDefaultSectionSize(22)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setFixedHeight(height)
        self.setMinimumWidth(100)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)


class Pace:
    """Tells how long something will still take, from how fast it was so far."""

    def __init__(self) -> None:
        self._what = ""
        self._since, self._first = 0.0, 0

    def left(self, done: int, total: int, what: str) -> float | None:
        """Return seconds left, or None where it is too early to tell.

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
