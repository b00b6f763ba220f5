"""Parse option values such as `120,80`, `0,0,50,60` and `auto`."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ..errors import ParameterError, PromptError
from ..reading import number

if TYPE_CHECKING:
    from ..engine import Window


def numbers(text: str, count: int, option: str, shape: str) -> list[float]:
    """Parse exactly `count` finite numbers separated by commas; messages ask for `shape`."""
    found = [number(part) for part in text.split(",")]
    values = [value for value in found if value is not None]
    if not len(values) == len(found) == count:
        raise PromptError(f"{option} takes {shape}, not {text!r}")
    return values


def point(text: str, option: str = "--point") -> list[float]:
    """Parse `ROW,COL` into [row, col]."""
    return numbers(text, 2, option, "ROW,COL in pixels, such as 120,80")


def box(text: str, option: str = "--box") -> list[float]:
    """Parse `R0,C0,R1,C1` into [row_min, col_min, row_max, col_max]."""
    row_min, col_min, row_max, col_max = numbers(
        text, 4, option, "ROW_MIN,COL_MIN,ROW_MAX,COL_MAX in pixels, such as 10,20,60,90"
    )
    if row_max <= row_min or col_max <= col_min:
        raise PromptError(
            f"{option} {text}: the second corner must be below and right of the first"
        )
    return [row_min, col_min, row_max, col_max]


def indices(text: str | None, option: str) -> tuple[int, ...] | None:
    """Parse `I[,J...]` into a tuple of integers; None stays None."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[+-]?\d{1,9}", part, re.ASCII) for part in parts):
        raise ParameterError(f"{option} takes whole numbers separated by commas, not {text!r}")
    return tuple(map(int, parts))


def contrast_limits(text: str) -> str | tuple[float, float]:
    """Parse `auto`, `percentile`, or `LO,HI` into a pair."""
    if text in ("auto", "percentile"):
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ParameterError(
            f"--contrast-limits takes auto, percentile or LO,HI with LO < HI, not {text!r}"
        )
    return low, high


def plane(text: str | None, axes: str) -> dict[str, int]:
    """Parse `12`, or `T=3,Z=12`, into an index for each axis that is named.

    A number without a letter is for a stack with a single axis.
    """
    if text is None:
        return {}
    parts = [part.strip() for part in text.split(",")]
    if len(axes) == 1 and len(parts) == 1 and "=" not in text:
        parts = [f"{axes}={text}"]
    try:
        pairs = [part.split("=") for part in parts]
        found = {name.strip().upper(): int(number) for name, number in pairs}
    except ValueError:
        example = ",".join(f"{axis}=0" for axis in axes)
        raise ParameterError(f"--plane takes an index, or {example}, not {text!r}") from None
    if len(found) < len(pairs):
        raise ParameterError(f"--plane {text} names an axis twice")
    return found


def region(text: str | None, option: str = "--region") -> Window | None:
    """Parse `R0,C0,R1,C1` into the window of rows R0 to R1 - 1 and columns C0 to C1 - 1."""
    if text is None:
        return None
    from ..engine import Window

    row_min, col_min, row_max, col_max = box(text, option)
    if row_min < 0 or col_min < 0:
        raise ParameterError(f"{option} {text}: rows and columns are counted from 0")
    first = math.floor(row_min), math.floor(col_min)
    return Window(*first, math.ceil(row_max) - first[0], math.ceil(col_max) - first[1])


def scales(text: str | None, option: str = "--crop-scales") -> list[float] | None:
    """Parse `F[,F...]` into numbers; None stays None."""
    if text is None:
        return None
    found = [number(part) for part in text.split(",")]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        raise ParameterError(f"{option} takes numbers separated by commas, not {text!r}")
    return values


def words(text: str | None, option: str = "--against") -> list[str] | None:
    """Parse `WORDS[,WORDS...]`; None stays None."""
    if text is None:
        return None
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise ParameterError(f"{option} takes words separated by commas, not {text!r}")
    return found


def resources(text: str | None, option: str = "--worker-resources") -> dict[str, float] | None:
    """Parse `GPU=1[,MEMORY=2e9...]` into a mapping; None stays None."""
    if text is None:
        return None
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ParameterError(
                f"{option} takes NAME=NUMBER, such as GPU=1, not {text!r}"
            ) from None
    return found


def assignment(item: str, option: str) -> tuple[str, str]:
    """Read NAME=VALUE.

    Parameters
    ----------
    item : str
    option : str
        For the message.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    name, equals, value = item.partition("=")
    if not equals or not name.strip():
        raise ParameterError(f"{option} takes NAME=VALUE, not {item!r}")
    return name.strip(), value
