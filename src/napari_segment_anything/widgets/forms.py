"""Editors of parameters, as magicgui widgets: made from the tables that all faces share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FloatSlider, FloatSpinBox, Label, SpinBox
from magicgui.widgets.bases import ValuedContainerWidget
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QToolButton, QWidget

from ..automatic import choose_mode
from ..automatic.heads import dense_head
from ..automatic.parameters import applicable
from ..engine import Model
from ..parameters import Parameter

if TYPE_CHECKING:
    pass

LARGEST = 2**40
"""Upper end of numbers that have none."""


class ParameterField(ValuedContainerWidget[Any]):
    """The editor of one parameter; its value is None where it is left to the model or the data.

    What acts then is shown as soon as it is known (`set_own`), else what the table says.

    Parameters
    ----------
    name : str
        The API's name.
    parameter : Parameter
        Type, range, title and meaning.
    by_model : bool
        Whether a model may carry a value of its own.
    counts : bool
        Whether there is room for the number of candidates that a filter drops.
    """

    def __init__(
        self, name: str, parameter: Parameter, *, by_model: bool = False, counts: bool = False
    ) -> None:
        self.parameter = parameter
        self._open = by_model or parameter.optional
        self._explicit, self._silent = False, False
        self._known = not by_model
        self._own: Any = parameter.default
        self.editor = _editor(parameter, by_model)
        self.dropped = Label(visible=counts, tooltip="Candidates that this filter drops")
        unit = f" In {parameter.unit}." if parameter.unit else ""
        tip = f"<b>{name}</b><br>{parameter.help}{unit}"
        super().__init__(
            name=name,
            label=parameter.title,
            tooltip=tip,
            widgets=[self.editor, self.dropped],
            layout="horizontal",
            labels=False,
        )
        self.margins = (0, 0, 0, 0)
        self.editor.tooltip = tip
        self._back = QToolButton()
        self._back.setText("↺")
        self._back.setAutoRaise(True)
        self._back.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._back.setToolTip("Back to the value it has by itself")
        self._back.setFixedWidth(18)
        self._back.setStyleSheet("QToolButton { border: none; background: none; padding: 0; }")
        self._back.clicked.connect(lambda *_: self.set_value(None))
        line = self.native.layout()
        line.setSpacing(2)
        line.insertWidget(1, self._back)
        if counts:
            self.dropped.native.setAlignment(Qt.AlignmentFlag.AlignRight)
            self.dropped.native.setFixedWidth(32)
        # what comes with the model, or with the first change, must not move the rest
        for item in (self._back, self.editor.native) if by_model else ():
            policy = item.sizePolicy()
            policy.setRetainSizeWhenHidden(True)
            item.setSizePolicy(policy)
        self.editor.changed.connect(self._edited)
        self._show()

    @property
    def explicit(self) -> bool:
        """Whether the value was set by hand."""
        return self._explicit

    @property
    def acting(self) -> Any:
        """The value that acts, whoever set it; None where that is not known."""
        return self._read() if self._explicit else self._own

    def get_value(self) -> Any:
        """Return the value that was set by hand, else None or the parameter's fixed default."""
        if self._explicit:
            return self._read()
        return None if self._open else self.parameter.default

    def set_value(self, value: Any) -> None:
        """Set the value; None leaves it to the model, the data or the default.

        Raises
        ------
        ParameterError
            If its type or range is wrong.
        """
        self.parameter.check(self.name, value)
        self.restore(value)
        self.changed.emit(self.value)

    def restore(self, value: Any) -> None:
        """Show a value that was kept, without a signal."""
        self._explicit = value is not None
        if value is not None:
            self._write(value)
        self._show()

    def set_own(self, value: Any) -> None:
        """Say what acts where nothing was set by hand."""
        self._own, self._known = value, True
        self._show()

    def show_dropped(self, count: int) -> None:
        """Show how many candidates this filter drops."""
        self.dropped.value = f"−{count}" if count else ""

    def _edited(self, *_: Any) -> None:
        if not self._silent:
            self._explicit = not self._is_absent()
            self._show()
            self.changed.emit(self.value)

    def _show(self) -> None:
        if not self._explicit:
            self._write(self._own)
        self._back.setVisible(self._explicit)
        self.editor.native.setVisible(self._explicit or self._known)

    def _is_absent(self) -> bool:
        special = getattr(self.editor.native, "specialValueText", str)()
        return bool(special) and self.editor.value == self.editor.min

    def _read(self) -> Any:
        value = self.editor.value
        if self._is_absent():
            return None
        if self.parameter.kind is int:
            return int(value)
        return round(float(value), 4) if self.parameter.kind is float else value

    def _write(self, value: Any) -> None:
        self._silent = True
        try:
            if value is not None:
                self.editor.value = value
            elif isinstance(self.editor, FloatSpinBox):
                self.editor.value = self.editor.min
        finally:
            self._silent = False


def _editor(parameter: Parameter, by_model: bool) -> Any:
    """Return the magicgui widget for a parameter's type and range."""
    low, high = parameter.low, min(parameter.high, LARGEST)
    if parameter.choices:
        return ComboBox(choices=parameter.choices)
    if parameter.kind is bool:
        return CheckBox(text=" ")
    if parameter.kind is float and high <= 1 and (by_model or not parameter.optional):
        return slim(FloatSlider(min=low, max=high, step=0.01))
    whole = parameter.kind is int
    step = parameter.step or (1 if whole else 0.1)
    if not parameter.optional:
        make = SpinBox if whole else FloatSpinBox
        return slim(make(min=low, max=high, step=step))
    # one step below the range stands for "not given", with words of its own
    absent = FloatSpinBox(min=low - step, max=high, step=step)
    absent.native.setDecimals(0 if whole else 2)
    short = parameter.otherwise if len(parameter.otherwise) <= 8 else "auto"
    absent.native.setSpecialValueText(short)
    absent.native.lineEdit().setToolTip(parameter.otherwise)
    return slim(absent)


def slim(widget: Any) -> Any:
    """Have a number followed when it is complete, and let it be as narrow as its digits."""
    native = widget.native
    for box in (native, *native.findChildren(QAbstractSpinBox)):
        if isinstance(box, QAbstractSpinBox):
            box.setKeyboardTracking(False)
            box.setAlignment(Qt.AlignmentFlag.AlignRight)
            if box is not native:  # beside a slider
                box.setStyleSheet(f"{box.styleSheet()} min-width: 34px; max-width: 34px;")
    return widget


def fields(
    table: Mapping[str, Parameter], names: Iterable[str] | None = None, **options: Any
) -> list[ParameterField]:
    """Return the editors of a table's parameters, or of some of them; arrays have none."""
    chosen = table if names is None else names
    return [ParameterField(n, table[n], **options) for n in chosen if table[n].kind is not object]


class QtField(ValuedContainerWidget[Any]):
    """A Qt widget with a value, as a magicgui widget.

    Parameters
    ----------
    name, label : str
    widget : QWidget
        Has a property `value`, and a signal `changed` for what the user does.
    beside : QWidget, optional
        Stands to its right.
    """

    def __init__(
        self, name: str, label: str, widget: Any, beside: QWidget | None = None, tooltip: str = ""
    ) -> None:
        self.qt = widget
        super().__init__(name=name, label=label, tooltip=tooltip, layout="horizontal", labels=False)
        self.margins = (0, 0, 0, 0)
        self.native.layout().setSpacing(4)
        self.native.layout().addWidget(widget, 1)
        if beside is not None:
            self.native.layout().addWidget(beside)
        widget.changed.connect(lambda *_: self.changed.emit(self.value))

    def get_value(self) -> Any:
        """Return what the Qt widget shows."""
        return self.qt.value

    def set_value(self, value: Any) -> None:
        """Choose a value, as the user does."""
        if value != self.qt.value:
            self.qt.value = value
            self.changed.emit(self.qt.value)


def plain(name: str, parameter: Parameter, **options: Any) -> Any:
    """Return the editor of a parameter that always has a value.

    Parameters
    ----------
    name : str
    parameter : Parameter
    **options
        Choices in words of their own, or another label.
    """
    made = {"label": parameter.title, "tooltip": f"<b>{name}</b><br>{parameter.help}"} | options
    if parameter.kind is bool:
        return CheckBox(name=name, text=made.pop("label"), value=parameter.default, **made)
    made.setdefault("choices", parameter.choices)
    return ComboBox(name=name, value=parameter.default, **made)


def acting(model: Model, mode: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the parameters of everything mode that act in a mode, out of those that may be given.

    Parameters
    ----------
    model : Model
    mode : str
        One of `MODES`, or "auto".
    given : mapping of str to object
        Parameters by the API's names.
    """
    wanted = set(applicable(choose_mode(model, mode), dense_head(model)))
    return {name: value for name, value in given.items() if name in wanted}
