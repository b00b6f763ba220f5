"""Classes of objects: names, colours, keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ..errors import ParameterError

COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#009988",
    "#bbbbbb",
)  # fmt: skip
"""Colours of classes without one, distinguishable with any colour vision."""
_NAME = Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """A class that objects can have.

    Parameters
    ----------
    name : str
    colour : str
        "#rrggbb".
    key : str
        The digit that gives an object this class; "" without one.
    """

    name: _NAME
    colour: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if self.colour and not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise ParameterError(f"the colour of {self.name} is #rrggbb, not {self.colour!r}")
        if self.key and not re.fullmatch(r"[0-9]", self.key):
            raise ParameterError(f"the key of {self.name} is a digit, not {self.key!r}")


def as_classes(classes: Iterable[ObjectClass | str]) -> tuple[ObjectClass, ...]:
    """Return classes, each with a colour, and the first nine with a key.

    Parameters
    ----------
    classes : iterable of ObjectClass or str
        A str is a name.

    Raises
    ------
    ParameterError
        If two have the same name or key.
    """
    if isinstance(classes, str):
        raise ParameterError(f"classes are a list of names: [{classes!r}]")
    given = [ObjectClass(item) if isinstance(item, str) else item for item in classes]
    names = [item.name for item in given]
    keys = [item.key for item in given if item.key]
    for values, what in ((names, "name"), (keys, "key")):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ParameterError(f"two classes have the {what} {twice[0]!r}")
    if "" in names:
        raise ParameterError("a class needs a name")
    free = [key for key in "123456789" if key not in keys]
    return tuple(
        ObjectClass(
            item.name,
            item.colour or COLOURS[number % len(COLOURS)],
            item.key or (free.pop(0) if free else ""),
        )
        for number, item in enumerate(given)
    )
