"""Fields for parameters: magicgui widgets made from the tables in `parameters`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FloatSlider, FloatSpinBox, Label, SpinBox
from magicgui.widgets.bases import ValuedContainerWidget
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QToolButton, QWidget

from ..automatic import choose_mode
from ..automatic.heads import dense_head
from ..automatic.parameters import applicable
from ..engine import Model
from ..parameters import Parameter

LARGEST = 2**40
"""Upper limit of numbers that have none."""


class ParameterField(ValuedContainerWidget[Any]):
    """A field for one parameter; its value is None where it is left to the model or the data.

    The value used in that case is shown once it is known (see `set_own`).

    Parameters
    ----------
    name : str
        The parameter's name in the API.
    parameter : Parameter
        Type, range, title and meaning.
    by_model : bool
        Whether a model may carry a value of its own.
    counts : bool
        Whether to show how many candidates the filter drops.
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
        self._back.setToolTip("Reset")
        self._back.setFixedWidth(18)
        self._back.setStyleSheet("QToolButton { border: none; background: none; padding: 0; }")
        self._back.clicked.connect(lambda *_: self.set_value(None))
        line = self.native.layout()
        line.setSpacing(2)
        line.insertWidget(1, self._back)
        if counts:
            self.dropped.native.setAlignment(Qt.AlignmentFlag.AlignRight)
            self.dropped.native.setFixedWidth(32)
        # what appears with the model, or with the first change, must not move anything
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
        """The value in use, set by hand or not; None where that is not known."""
        return self._read() if self._explicit else self._own

    def get_value(self) -> Any:
        """Return the value set by hand, else None, or the default of a parameter that has one."""
        if self._explicit:
            return self._read()
        return None if self._open else self.parameter.default

    def set_value(self, value: Any) -> None:
        """Set the value; None resets it.

        Raises
        ------
        ParameterError
            If its type or range is wrong.
        """
        self.parameter.check(self.name, value)
        self.restore(value)
        self.changed.emit(self.value)

    def restore(self, value: Any) -> None:
        """Show a stored value, without emitting `changed`."""
        self._explicit = value is not None
        if value is not None:
            self._write(value)
        self._show()

    def set_own(self, value: Any) -> None:
        """Set the value that is used, and shown, where none was set by hand."""
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
    whole = parameter.kind is int
    least = (1 if whole else 0.01) if parameter.above else 0
    low, high = parameter.low + least, min(parameter.high, LARGEST)
    if parameter.choices:
        return ComboBox(choices=parameter.choices)
    if parameter.kind is bool:
        return CheckBox(text=" ")
    if parameter.kind is float and high <= 1 and (by_model or not parameter.optional):
        return slim(FloatSlider(min=low, max=high, step=0.01))
    step = parameter.step or (1 if whole else 0.1)
    if not parameter.optional:
        make = SpinBox if whole else FloatSpinBox
        return slim(make(min=low, max=high, step=step))
    # one step below the range stands for None, and is shown as a word
    absent = FloatSpinBox(min=low - step, max=high, step=step)
    absent.native.setDecimals(0 if whole else 2)
    short = parameter.otherwise if len(parameter.otherwise) <= 8 else "auto"
    absent.native.setSpecialValueText(short)
    absent.native.lineEdit().setToolTip(parameter.otherwise)
    return slim(absent)


def slim(widget: Any) -> Any:
    """Emit numbers only when they are complete, and make the readout of a slider narrow."""
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
    """Return the fields of a table's parameters, or of the named ones; arrays have none.

    Parameters
    ----------
    table : mapping of str to Parameter
    names : iterable of str, optional
        All by default.
    **options
        Those of `ParameterField`.
    """
    chosen = table if names is None else names
    return [ParameterField(n, table[n], **options) for n in chosen if table[n].kind is not object]


class QtField(ValuedContainerWidget[Any]):
    """Makes a Qt widget with a value a magicgui widget.

    Parameters
    ----------
    name, label : str
    widget : QWidget
        With a property `value`, and a signal `changed` for changes made by the user.
    beside : QWidget, optional
        Placed to its right.
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
    """Return a plain magicgui widget for a parameter that always has a value.

    Parameters
    ----------
    name : str
    parameter : Parameter
    **options
        Other choices, as (text, value), or another label.
    """
    made = {"label": parameter.title, "tooltip": f"<b>{name}</b><br>{parameter.help}"} | options
    if parameter.kind is bool:
        return CheckBox(name=name, text=made.pop("label"), value=parameter.default, **made)
    made.setdefault("choices", parameter.choices)
    return ComboBox(name=name, value=parameter.default, **made)


def acting(model: Model, mode: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the given parameters of everything mode that have an effect in a mode.

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
