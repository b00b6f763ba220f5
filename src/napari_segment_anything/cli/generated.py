"""Generate the options of a verb from tables of parameters and groups of options."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from ..parameters import Parameter
from . import values

if TYPE_CHECKING:
    from numpy.typing import NDArray

Panels = Callable[[Parameter], str]


def generated(*tables: tuple[Mapping[str, Parameter], str | Panels]) -> Callable[..., Any]:
    """Give a verb an option for every parameter of some tables, and for every field of its groups.

    Values that were given for parameters of the tables are checked and passed to the verb as
    ``parameters``, by name. A parameter of the verb whose type is a dataclass is a group: its
    fields become options.

    Parameters
    ----------
    *tables : (table, panel)
        A table of `parameters`, and the panel of the help text for its options: a title, or a
        function that returns the title for a parameter. A name that is in several has one
        option, in the panel of the first.

    Returns
    -------
    callable
        The decorator.
    """
    known: dict[str, Parameter] = {}
    options: dict[str, Any] = {}
    for table, panel in tables:
        for name, parameter in table.items():
            if name not in known:
                known[name] = parameter
                title = panel if isinstance(panel, str) else panel(parameter)
                others = [
                    other[name] for other, _ in tables if other is not table and name in other
                ]
                options[name] = option_of(parameter, title, *others)

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(verb, eval_str=True).parameters.values()
        groups: dict[str, Any] = {p.name: p.annotation for p in own if is_dataclass(p.annotation)}
        shown: list[inspect.Parameter] = []
        for parameter in own:
            if parameter.name in groups:
                shown += _fields(groups[parameter.name])
            elif parameter.name == "parameters":
                shown += [_keyword(name, kind, None) for name, kind in options.items()]
            else:
                shown.append(parameter)

        @functools.wraps(verb)
        def with_options(**given: Any) -> None:
            for name, group in groups.items():
                given[name] = group(
                    **{field.name: given.pop(field.name) for field in fields(group)}
                )
            if known:
                chosen = {name: given.pop(name) for name in known}
                given["parameters"] = {
                    name: _value(name, known[name], value)
                    for name, value in chosen.items()
                    if value is not None
                }
            verb(**given)

        del with_options.__wrapped__
        shown = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in shown]
        with_options.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        with_options.__annotations__ = {p.name: p.annotation for p in shown}
        return with_options

    return decorate


def option_of(parameter: Parameter, panel: str, *others: Parameter) -> Any:
    """Typer's annotation of the option for a parameter; its default is None.

    Parameters
    ----------
    parameter : Parameter
        From a table.
    panel : str
        Title of the panel in the help text.
    *others : Parameter
        Parameters of the same name that the option also stands for.
    """
    kind: Any = parameter.kind
    metavar = parameter.metavar or None
    if kind is object:
        kind = Path if metavar == "FILE" else str
    elif parameter.choices:
        kind = Literal[parameter.choices]
    elif metavar is None and parameter.unit.isalpha():
        metavar = parameter.unit.upper()
    meant = [parameter, *others]
    meant = [each for each in meant if not _said_by_another(each, meant)]
    texts = [f"{each.help} [default: {default_text(each)}]" for each in meant]
    if metavar == "FILE":
        texts.insert(0, "JSON file.")
    option = typer.Option(
        help=re.sub(r"(?<=[a-z])_(?=[a-z])", "-", " ".join(texts)),
        metavar=metavar,
        rich_help_panel=panel,
        show_default=False,  # None, which stands for it
    )
    return Annotated[kind | None, option]


def _said_by_another(parameter: Parameter, others: list[Parameter]) -> bool:
    start = parameter.help.removesuffix(".")
    return any(each.help != parameter.help and each.help.startswith(start) for each in others)


def default_text(parameter: Parameter) -> str:
    """The default of a parameter, as shown in help texts."""

    def plain(value: Any) -> str:
        if isinstance(value, tuple):
            return ",".join(map(plain, value))
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    if parameter.default is None:
        return parameter.otherwise
    others = [f"{mode}: {plain(value)}" for mode, value in parameter.mode_defaults.items()]
    return "; ".join([plain(parameter.default), *others])


def option_name(name: str) -> str:
    """Name of a parameter on the command line."""
    return "--" + name.replace("_", "-")


def _fields(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_keyword(field.name, hints[field.name], field.default) for field in fields(group)]


def _keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _value(name: str, parameter: Parameter, value: Any) -> Any:
    option = option_name(name)
    if name in _READ:
        return _READ[name](value, option)
    parameter.check(option, value)
    return value


def _read_grids(path: Path, option: str) -> list[NDArray[Any]]:
    import numpy as np

    from ..errors import ParameterError
    from ..reading import read_json

    kind = list[list[tuple[float, float]]]
    try:
        grids = read_json(path, kind, what="list of point grids", error=ParameterError)
    except ParameterError as error:
        raise ParameterError(f"{error}. It holds a list of grids, each a list of [x, y]") from None
    return [np.asarray(grid, dtype=float).reshape(-1, 2) for grid in grids]


_READ: dict[str, Callable[[Any, str], Any]] = {
    "point_grids": _read_grids,
    "crop_scales": values.scales,
    "against": values.words,
    "region": values.region,
    "worker_resources": values.resources,
}
