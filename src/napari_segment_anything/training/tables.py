"""Tables of a configuration file against the dataclasses that they fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from ..errors import ParameterError
from ..reading import convert


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
        if key in skip:
            values[key] = value
            continue
        try:
            values[key] = convert(value, hints[key], "", ParameterError)
        except ParameterError as error:
            raise ParameterError(f"{key} = {value!r} is of the wrong kind: {error}") from None
    return values
