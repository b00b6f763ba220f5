"""Fields for the parameters of everything mode, each with its default, range and tooltip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QSizePolicy,
    QToolButton,
    QWidget,
)
from superqt import QDoubleSlider

from ..automatic import PARAMETERS, Parameter, choose_mode
from ..automatic.heads import dense_head
from ..automatic.parameters import applicable
from ..engine import Model
from .parts import row, tight

TITLES = {
    "pred_iou_thresh": "Score above",
    "stability_score_thresh": "Stability from",
    "box_nms_thresh": "Overlap up to",
    "min_area": "Area from",
    "max_area": "Area up to",
    "min_mask_region_area": "Clean below",
    "crop_nms_thresh": "Crop overlap",
    "crop_choice": "Crop layers",
    "nms": "Overlap of",
    "points_per_side": "Points per side",
    "points_per_batch": "Batch",
    "stability_score_offset": "Stability offset",
    "crop_n_layers": "Layers of crops",
    "reduced_n_layers": "Reduced layers",
    "symmetries": "Symmetric views",
    "crop_overlap_ratio": "Crops share",
    "crop_n_points_downscale_factor": "Fewer points",
    "pred_iou_floor": "Score floor",
    "stability_score_floor": "Stability floor",
    "proposal_prompt": "Prompt by",
    "foreground_thresh": "Foreground",
    "peak_thresh": "Peak height",
    "peak_nms_thresh": "Peak overlap",
    "agreement_thresh": "Agreement",
    "merge_thresh": "Merge above",
    "center_distance_thresh": "Centre distance",
    "boundary_distance_thresh": "Boundary distance",
    "foreground_smoothing": "Smooth foreground",
    "distance_smoothing": "Smooth distances",
}
"""A few words for each parameter; the API's name is in the tooltip."""


class Number(QDoubleSpinBox):
    """A number that the mouse wheel does not change by accident."""

    def __init__(self, low: float, high: float, decimals: int, none: str = "") -> None:
        super().__init__()
        self.setDecimals(decimals)
        self.setRange(low, high)
        self.setSingleStep(1 if decimals == 0 else 0.1)
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setMinimumWidth(86)
        if none:
            self.setSpecialValueText(none)

    def wheelEvent(self, event: Any) -> None:
        """Scroll the panel instead, unless the field was clicked."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class Fraction(QWidget):
    """A slider from 0 to 1, with its value beside it."""

    valueChanged = Signal(float)

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self._slider = QDoubleSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(low, high)
        self._slider.setSingleStep(0.01)
        self._slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._slider.setMinimumWidth(50)
        self._slider.setFixedHeight(18)
        self._number = Number(low, high, 2)
        self._number.setSingleStep(0.01)
        self._number.setFixedWidth(58)
        layout = tight(QGridLayout(self), 4)
        layout.addWidget(self._slider, 0, 0)
        layout.addWidget(self._number, 0, 1)
        self._slider.valueChanged.connect(self._slid)
        self._number.valueChanged.connect(self._typed)

    def value(self) -> float:
        """Return the value."""
        return float(self._number.value())

    def setValue(self, value: float) -> None:
        """Show a value."""
        self._number.setValue(value)

    def _slid(self, value: float) -> None:
        self._number.setValue(value)

    def _typed(self, value: float) -> None:
        self._slider.blockSignals(True)
        self._slider.setValue(value)
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)


class Field(QWidget):
    """The editor of one parameter, and whether its value is the model's own.

    Parameters
    ----------
    name : str
        One of `PARAMETERS`.
    """

    changed = Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        parameter = PARAMETERS[name]
        self.name = name
        self._parameter = parameter
        self._explicit = False
        self._known = False
        self._silent = False
        self._own_value: Any = parameter.default
        self.editor = _editor(name, parameter)
        tip = f"<b>{name}</b><br>{parameter.help}"
        self.title = QLabel(TITLES[name])
        self.dropped = QLabel("")
        self.dropped.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.dropped.setToolTip("Candidates that this filter drops")
        self._back = QToolButton()
        self._back.setText("↺")
        self._back.setAutoRaise(True)
        self._back.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._back.setToolTip("Back to the model's own value")
        self._back.setFixedWidth(18)
        self._back.setStyleSheet("QToolButton { border: none; background: none; padding: 0; }")
        for item in (self._back, self.editor):
            keep = item.sizePolicy()
            keep.setRetainSizeWhenHidden(True)
            item.setSizePolicy(keep)
        for item in (self.title, self.editor):
            item.setToolTip(tip)
        layout = tight(QGridLayout(self), 2)
        layout.addWidget(row(self.editor, self._back, space=2))
        self._back.clicked.connect(lambda *_: self._reset())
        signal = (
            self.editor.currentIndexChanged
            if isinstance(self.editor, QComboBox)
            else self.editor.valueChanged
        )
        signal.connect(self._edited)
        self._mark()

    @property
    def value(self) -> Any:
        """The value, None for the model's own (and for a limit that is not there)."""
        return self._read() if self._explicit else None

    @property
    def explicit(self) -> bool:
        """Whether it was set by hand."""
        return self._explicit

    @property
    def shown(self) -> Any:
        """The value that acts, whoever set it."""
        return self._read() if self._explicit else self._own_value

    def set(self, value: Any) -> None:
        """Show a value that was set by hand; None is the model's own."""
        self._explicit = value is not None
        self._write(self._own_value if value is None else value)
        self._mark()

    def set_own(self, value: Any) -> None:
        """Say what the model's own value is; before that, none is shown."""
        self._own_value, self._known = value, True
        self._mark()
        if not self._explicit:
            self._write(value)

    def _reset(self) -> None:
        self.set(None)
        self.changed.emit()

    def _edited(self, *_: Any) -> None:
        if not self._silent:
            self._explicit = True
            self._mark()
            self.changed.emit()

    def _mark(self) -> None:
        self._back.setVisible(self._explicit)
        self.editor.setVisible(self._explicit or self._known)

    def _read(self) -> Any:
        if isinstance(self.editor, QComboBox):
            return self.editor.currentText()
        value = self.editor.value()
        if self.name == "max_area" and value == 0:
            return None
        return int(value) if self._parameter.kind is int else round(float(value), 4)

    def _write(self, value: Any) -> None:
        self._silent = True
        try:
            if isinstance(self.editor, QComboBox):
                self.editor.setCurrentText(str(value))
            else:
                self.editor.setValue(0 if value is None else value)
        finally:
            self._silent = False


def _editor(name: str, parameter: Parameter) -> Any:
    if parameter.kind is str:
        box = QComboBox()
        box.addItems(list(parameter.choices))
        box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        return box
    if parameter.kind is float and parameter.high <= 1:
        return Fraction(parameter.low, parameter.high)
    low = 0 if name == "max_area" else parameter.low
    none = "no limit" if name == "max_area" else ""
    return Number(low, parameter.high, 0 if parameter.kind is int else 2, none)


class Form(QWidget):
    """Fields below each other: title, editor, and how many candidates each drops.

    Parameters
    ----------
    names : iterable of str
        Of `PARAMETERS`.
    counts : bool
        Whether there is a column for dropped candidates.
    """

    changed = Signal(str)
    """Emits the name of the parameter that was changed by hand."""

    def __init__(self, names: Iterable[str], counts: bool = False) -> None:
        super().__init__()
        self.fields = {name: Field(name) for name in names}
        grid = tight(QGridLayout(self))
        grid.setHorizontalSpacing(8)
        grid.setColumnStretch(1, 1)
        for index, (name, item) in enumerate(self.fields.items()):
            grid.addWidget(item.title, index, 0)
            grid.addWidget(item, index, 1)
            if counts:
                item.dropped.setMinimumWidth(30)
                grid.addWidget(item.dropped, index, 2)
            item.changed.connect(lambda name=name: self.changed.emit(name))

    def values(self) -> dict[str, Any]:
        """Return what was set by hand, of the fields that act."""
        return {
            name: item.value
            for name, item in self.fields.items()
            if item.explicit and not item.isHidden()
        }

    def show_only(self, names: Iterable[str]) -> None:
        """Show the fields that act."""
        acting = set(names)
        for name, item in self.fields.items():
            for part in (item, item.title, item.dropped):
                part.setVisible(name in acting)

    def show_dropped(self, counts: Mapping[str, int]) -> None:
        """Show how many candidates each filter drops."""
        for name, item in self.fields.items():
            count = counts.get(name, 0)
            item.dropped.setText(f"−{count}" if count else "")


def acting(model: Model, mode: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the parameters that act in a mode, out of those that may be given."""
    wanted = set(applicable(choose_mode(model, mode), dense_head(model)))
    return {name: value for name, value in given.items() if name in wanted}
