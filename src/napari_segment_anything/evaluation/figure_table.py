"""Figures by group, method and measure, and how they are written in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..measures import Interval
from .summary import Figure, Group


class FigureTable:
    """Figures by group, method and measure."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self.held = {(f.group, f.method, f.measure): f for f in figures}
        self.groups = list(dict.fromkeys(f.group for f in figures))
        self.methods = list(dict.fromkeys(f.method for f in figures))

    def get(self, group: Group, method: str, measure: str) -> Figure | None:
        """A figure; None if there is none."""
        return self.held.get((group, method, measure))

    def cell(self, group: Group, method: str, measure: str, brief: bool = False) -> str:
        """A figure as `number` writes it; "" if there is none."""
        figure = self.get(group, method, measure)
        return "" if figure is None else number(figure.interval, brief)

    def size(self, group: Group, method: str, measure: str) -> list[str]:
        """Numbers of images and objects of a figure."""
        figure = self.get(group, method, measure)
        return ["", ""] if figure is None else [str(figure.images), str(figure.objects)]


def number(interval: Interval, brief: bool = False) -> str:
    """Format a value with its interval, as ".912 [.890, .931]"; NaN gives "".

    Parameters
    ----------
    interval : Interval
    brief : bool
        Leave out the interval.
    """
    if np.isnan(interval.value):
        return ""
    if brief or np.isnan(interval.low):
        return short(interval.value)
    return f"{short(interval.value)} [{short(interval.low)}, {short(interval.high)}]"


def short(value: float) -> str:
    """Format a value, below 1 without the leading zero."""
    text = f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def table_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one at the end.

    Parameters
    ----------
    columns : sequence of str
        Titles.
    rows : iterable of sequence of str
    """
    lines = ["| " + " | ".join(columns) + " |"]
    lines.append("|" + "|".join("---" for _ in columns) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return [*lines, ""]
