"""Building blocks of messages."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: "1 box", "2 boxes", "3 objects".

    Parameters
    ----------
    number : int
    noun : str
        The noun in the singular.
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('x') else 's'}"


def extent(shape: Iterable[int]) -> str:
    """Format a shape: "303 x 384"."""
    return " x ".join(map(str, shape))
