"""Building blocks of messages."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: "1 object", "2 objects".

    Parameters
    ----------
    number : int
    noun : str
        The noun in the singular.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def extent(shape: Iterable[int]) -> str:
    """Format a shape: "303 x 384"."""
    return " x ".join(map(str, shape))
