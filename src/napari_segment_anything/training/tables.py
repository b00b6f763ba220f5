"""Tables of a configuration file against the dataclasses that they fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import ParameterError


def checked(
    kind: type, table: Any, *, skip: tuple[str, ...] = (), more: set[str] | None = None
) -> dict[str, Any]:
    """Values of a table, of the types that the fields of a dataclass have.

    Parameters
    ----------
    kind : type
        The dataclass.
    table : mapping
        As TOML gives it; lists become tuples.
    skip : tuple of str
        Keys whose values are not looked at.
    more : set of str
        Further keys to name as known ones.

    Raises
    ------
    ParameterError
        For the first key that is unknown or has a value of the wrong kind.
    """
    if not isinstance(table, Mapping):
        raise ParameterError(f"expected a table of values, not {table!r}")
    hints = get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        known = ", ".join(sorted(set(hints) | (more or set())))
        raise ParameterError(f"unknown keys {', '.join(unknown)}; known: {known}")
    values = {}
    for key, value in table.items():
        value = tuple(value) if isinstance(value, list) else value
        if key not in skip and not _fits(value, hints[key]):
            raise ParameterError(f"{key} = {value!r} is of the wrong kind: {_kind(hints[key])}")
        values[key] = value
    return values


def _fits(value: Any, hint: Any) -> bool:
    parts = get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        if parts[-1] is Ellipsis:
            return all(_fits(v, parts[0]) for v in value)
        pairs = zip(value, parts, strict=False)
        return len(value) == len(parts) and all(_fits(v, p) for v, p in pairs)
    if parts:
        return any(_fits(value, part) for part in parts)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _kind(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", type(None): "nothing"}
    if get_origin(hint) is tuple:
        return f"a list, each {_kind(get_args(hint)[0])}"
    return names.get(hint) or " or ".join(_kind(part) for part in get_args(hint))
