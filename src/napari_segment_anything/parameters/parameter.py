"""One parameter: its type, range, default and description."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from ..errors import ParameterError


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a table.

    Parameters
    ----------
    default : object
        Value if neither the caller nor the model gives one; None if it depends on the data, as
        `otherwise` describes.
    kind : type
        int, float, bool, str, or object for arrays and other values without a simple editor.
    title : str
        Label in a form, a few words.
    help : str
        One line for help texts and tooltips, ending with a full stop.
    low, high : float
        Range of numbers, ends included.
    above : bool
        Whether `low` itself is excluded.
    unit : str
        Unit of a number, in the plural: "pixels", "planes". "" for numbers without one.
    step : float or None
        Step of a spin box; None for the usual one.
    choices : tuple of str
        Valid values of a str; () accepts any text.
    otherwise : str
        What is used if the value is None: "no limit", "the model's frame".
    modes : tuple of str
        Where it has an effect: values of `mode` for `EVERYTHING`, of `link` for `LINKING`, of
        `method` for `FOLLOWING`. () is everywhere.
    filter : bool
        Whether `CandidateTable.refilter` can change it without a new run.
    head : str
        Dense head of the model that it is for; "" for any or none.
    mode_defaults : mapping of str to object
        Other defaults in some modes.
    metavar : str
        Placeholder for the value on the command line, if the type is not enough: "FILE".
    """

    default: Any
    kind: type
    title: str
    help: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    unit: str = ""
    step: float | None = None
    choices: tuple[str, ...] = ()
    otherwise: str = ""
    modes: tuple[str, ...] = ()
    filter: bool = False
    head: str = ""
    mode_defaults: Mapping[str, Any] = field(default_factory=dict)
    metavar: str = ""

    @property
    def optional(self) -> bool:
        """Whether None is its default."""
        return self.default is None

    def acts_in(self, mode: str) -> bool:
        """Whether it has an effect in a mode."""
        return not self.modes or mode in self.modes

    def default_in(self, mode: str = "") -> Any:
        """The default in a mode, without what a model may carry."""
        return self.mode_defaults.get(mode, self.default)

    def check(self, name: str, value: Any) -> None:
        """Check a value's type and range.

        Parameters
        ----------
        name : str
            Name in messages: that of the API, or an option.
        value : object
            None, "not given", is always valid.

        Raises
        ------
        ParameterError
            If it is not valid; the message says what would be.
        """
        if value is None or self.kind is object:
            return
        if self.choices:
            if value not in self.choices:
                raise ParameterError(
                    f"{name} must be one of {', '.join(self.choices)}; got {value!r}."
                )
        elif self.kind in (int, float):
            self._check_number(name, value)

    def _check_number(self, name: str, value: Any) -> None:
        number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (self.kind is int and value != int(value)):
            what = "a whole number" if self.kind is int else "a number"
            raise ParameterError(f"{name} must be {what}; got {value!r}.")
        if self.low <= value <= self.high and not (self.above and value == self.low):
            return
        if self.above:
            least = f"must be above {self.low:g}"
            bounds = least if math.isinf(self.high) else f"{least} and at most {self.high:g}"
        elif math.isinf(self.high):
            bounds = f"must be at least {self.low:g}"
        else:
            bounds = f"must be between {self.low:g} and {self.high:g}"
        raise ParameterError(f"{name} {bounds}; got {value!r}.")


def check_values(table: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """Check values, by name, against a table.

    Parameters
    ----------
    table : mapping of str to Parameter
        One of this folder's tables, or several merged.
    values : mapping of str to object
        None means "not given".

    Raises
    ------
    ParameterError
        If a name is unknown, or a value has the wrong type or is out of range.
    """
    check_names(values, table)
    for name, value in values.items():
        table[name].check(name, value)


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `ParameterError` for an unknown name, with the most similar known one.

    Parameters
    ----------
    names : iterable of str
        Names to check.
    known : iterable of str
        Valid names.
    """
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
            raise ParameterError(f"Unknown parameter '{name}': {hint}")
