"""Small Qt helpers: layouts, buttons, tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QBoxLayout,
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

SPACE = 4
"""Pixels between two rows, and around groups."""
_NUMBER = Qt.ItemDataRole.UserRole


def tight(layout: Any, space: int = SPACE) -> Any:
    """Return a layout without margins.

    Parameters
    ----------
    layout : QLayout
    space : int
        Pixels between its items.
    """
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(space)
    return layout


def row(*items: QWidget | None, space: int = SPACE) -> QWidget:
    """Return a widget with others side by side; None is a stretch."""
    return _line(QHBoxLayout(), items, space)


def column(*items: QWidget | None, space: int = SPACE) -> QWidget:
    """Return a widget with others below each other; None is a stretch."""
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


def button(text: str, clicked: Callable[[], object], tip: str = "") -> QPushButton:
    """Return a push button.

    Parameters
    ----------
    text : str
    clicked : callable
    tip : str
    """
    item = QPushButton(text)
    item.setToolTip(tip)
    item.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    item.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    item.clicked.connect(lambda *_: clicked())
    return item


def allow(item: QWidget, reason: str, tip: str = "") -> None:
    """Enable a widget, or grey it out with the reason in its tooltip.

    Parameters
    ----------
    item : QWidget
    reason : str
        Why it cannot be used; "" if it can.
    tip : str
        Its tooltip where it can be used.
    """
    item.setEnabled(not reason)
    item.setToolTip(reason or tip)


def note(text: str = "") -> QLabel:
    """Return a label for a sentence, which is wrapped."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


class SteadyText(QWidget):
    """A wrapped text that can change without a new layout, with room for two lines or more.

    Qt lays out every widget around a label with another text, up to the window, which is then
    painted twice more: after each click. There is no layout in this widget, so that ends here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._label = note()
        self._label.setParent(self)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._fit()

    def text(self) -> str:
        """Return the text."""
        return str(self._label.text())

    def show_text(self, text: str) -> None:
        """Show another text."""
        self._label.setText(text)
        self._fit()

    def resizeEvent(self, event: Any) -> None:
        """Reserve the height that the text needs at this width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        lines = 2 * self._label.minimumSizeHint().height()  # of one
        height = max(lines, self._label.heightForWidth(self.width()))
        self.setFixedHeight(height)
        self._label.setGeometry(0, 0, self.width(), height)


def heading(text: str) -> QLabel:
    """Return the title of a group."""
    return note(f"<b>{text}</b>")


class ChoiceButtons(QWidget):
    """Buttons of which one is checked.

    Parameters
    ----------
    choices : sequence of (value, text, tooltip)
    """

    changed = Signal(str)
    """Emits the value that the user chose."""
    kind: ClassVar[type[QPushButton]] = QPushButton

    def __init__(self, choices: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        layout = tight(QHBoxLayout(self), 2)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QPushButton] = {}
        for value, text, tip in choices:
            item = self.kind(text)
            item.setCheckable(True)
            item.setToolTip(tip)
            item.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            item.setStyleSheet("QPushButton { padding: 3px 1px; }")
            self._group.addButton(item)
            self._buttons[value] = item
            layout.addWidget(item, 1)
            item.clicked.connect(lambda *_, value=value: self.changed.emit(value))

    def showEvent(self, event: Any) -> None:
        """Give all buttons the same height, whatever their state."""
        super().showEvent(event)
        for item in self._buttons.values():
            item.setFixedHeight(item.fontMetrics().height() + 10)

    @property
    def value(self) -> str:
        """Value of the checked button; "" if there is none."""
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


class _ScoreButton(QPushButton):
    """A button whose text changes without a new layout.

    Qt lays out every widget around a button with another text, up to the window, which is then
    painted twice more: after each click.
    """

    def __init__(self, text: str) -> None:
        super().__init__("0:  0.00")
        self._shown = text

    def setText(self, text: str) -> None:
        """Show another text, about as wide as a score."""
        if text != self._shown:
            self._shown = text
            self.setAccessibleName(text)
            self.update()

    def text(self) -> str:
        """Return the text that is shown."""
        return self._shown

    def paintEvent(self, event: Any) -> None:
        """Draw the button with that text."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text = self._shown
        QStylePainter(self).drawControl(QStyle.ControlElement.CE_PushButton, option)


class CandidateButtons(ChoiceButtons):
    """Buttons for the candidate masks of the same prompts, with their predicted IoU."""

    MOST = 4
    kind = _ScoreButton

    def __init__(self) -> None:
        tip = "Another mask for the same prompts, with its predicted IoU (Shift-C: the next)"
        super().__init__([(str(i), "–", tip) for i in range(self.MOST)])
        self.show_scores()

    def show_scores(self, scores: Sequence[float] = (), chosen: int = -1) -> None:
        """Show a button for each score.

        Parameters
        ----------
        scores : sequence of float
            Predicted IoU of each candidate mask.
        chosen : int
            Index of the chosen one, -1 for none.
        """
        for index in range(self.MOST):
            item = self.button(str(index))
            item.setVisible(index < max(len(scores), 3))
            item.setEnabled(index < len(scores))
            item.setText(f"{index + 1}:  {scores[index]:.2f}" if index < len(scores) else "–")
        self.value = str(chosen)


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


class RowTable(QTableWidget):
    """A table with a number for each row, of which one can be selected.

    Parameters
    ----------
    heads : sequence of str
        Titles of the columns.
    height : int
        In pixels.
    """

    chosen = Signal(int)
    """Emits the number of the row that the user chose."""

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
        self.itemSelectionChanged.connect(self._on_selected)

    @property
    def selected(self) -> int | None:
        """Number of the row that is selected."""
        found = self.selectedItems()
        return int(found[0].data(_NUMBER)) if found else None

    def fit(self, *columns: int) -> None:
        """Make columns as wide as their texts; the others share what is left."""
        for column in columns:
            self.horizontalHeader().setSectionResizeMode(
                column, QHeaderView.ResizeMode.ResizeToContents
            )

    def fill(self, rows: Mapping[int, Sequence[str]]) -> None:
        """Show rows of text by their numbers; nothing is selected then."""
        self.blockSignals(True)
        self.clearSelection()
        self.setRowCount(len(rows))
        for place, (number, texts) in enumerate(rows.items()):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setData(_NUMBER, number)
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                item.setToolTip(text)
                self.setItem(place, column, item)
        self.blockSignals(False)

    def select(self, number: int | None) -> bool:
        """Select a row without a signal; return whether there is one of that number."""
        for place in range(self.rowCount()):
            if self.item(place, 0).data(_NUMBER) == number:
                self.blockSignals(True)
                self.selectRow(place)
                self.blockSignals(False)
                return True
        return False

    def _on_selected(self) -> None:
        number = self.selected
        if number is not None:
            self.chosen.emit(number)
