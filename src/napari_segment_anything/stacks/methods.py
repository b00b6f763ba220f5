"""Which of the ways to follow objects a model can do."""

from __future__ import annotations

from typing import Any

from ..automatic.heads import dense_head
from ..checkpoints import cannot
from ..engine import Model
from ..errors import ParameterError
from ..parameters import FOLLOWING

METHODS = ("memory", "dense", "decoder")
"""The best first."""


def why_not(model: Model, method: str) -> str:
    """Say why a model cannot follow objects by a method; "" if it can.

    Parameters
    ----------
    model : Model
    method : str
        One of `METHODS`.
    """
    if method == "memory" and "memory" not in model.abilities:
        return cannot(model.name, "memory")
    if method == "dense" and not dense_head(model):
        return f"{model.name} has no dense head"
    return ""


def resolve_method(model: Model, method: str) -> str:
    """Return the best that a model can do for "auto", else the method itself."""
    able = [name for name in METHODS if not why_not(model, name)]
    return able[0] if method == "auto" else method


def choose_method(model: Model, method: str, **values: Any) -> str:
    """Settle "auto"; refuse what a model cannot do, and values without effect.

    Parameters
    ----------
    model : Model
    method : str
        "auto", or one of `METHODS`.
    **values
        Of parameters of `FOLLOWING`.

    Raises
    ------
    ParameterError
        If the model cannot follow objects in this way, or a value has no effect then.
    """
    chosen = resolve_method(model, method)
    if reason := why_not(model, chosen):
        other = resolve_method(model, "auto")
        raise ParameterError(f"{reason}; follow objects with method='{other}'")
    for name, value in values.items():
        parameter = FOLLOWING[name]
        if value != parameter.default and not parameter.acts_in(chosen):
            only = " or ".join(f"'{mode}'" for mode in parameter.modes)
            raise ParameterError(f"{name} is for method={only} only")
    return chosen
