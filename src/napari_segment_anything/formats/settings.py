"""Settings of a run that is on record: whether it is the same run that is asked for now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import ParameterError


def check_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], path: str) -> None:
    """Refuse to go on with a run that was begun in another way.

    Raises
    ------
    ParameterError
        Which names what differs.
    """
    plain = json.loads(json.dumps(dict(wanted)))
    differ = [
        f"{name} was {_short(stored.get(name))}, is {_short(value)}"
        for name, value in plain.items()
        if stored.get(name) != value
    ]
    if differ:
        raise ParameterError(
            f"{path} holds a run with other settings ({'; '.join(differ)}): run it with those to "
            "go on, give another label name, or overwrite=True to begin anew"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
