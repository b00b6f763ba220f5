"""Methods and values of a session's parts under the names that they have in the console."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def method(
    part: str, of_part: Callable[Concatenate[Any, P], R]
) -> Callable[Concatenate[Any, P], R]:
    """Return a part's method as one of the whole.

    Parameters
    ----------
    part : str
        Attribute of the whole.
    of_part : callable
        The method, as the part's class has it.
    """

    @wraps(of_part)
    def call(whole: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return of_part(getattr(whole, part), *args, **kwargs)

    return call


def value(part: str, of_part: Callable[[Any], R]) -> R:
    """Return a part's property as one of the whole, which can be set if the part's can.

    Parameters
    ----------
    part : str
        Attribute of the whole.
    of_part : property
        As the part's class has it.
    """
    inner: Any = of_part

    def get(whole: Any) -> Any:
        return inner.fget(getattr(whole, part))

    def put(whole: Any, to: Any) -> None:
        inner.fset(getattr(whole, part), to)

    found: Any = property(get, put if inner.fset else None, doc=inner.__doc__)
    return found
