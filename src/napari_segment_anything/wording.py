"""Building blocks of messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: "1 object", "2 objects".

    Parameters
    ----------
    number : int
    noun : str
        The noun in the singular.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
