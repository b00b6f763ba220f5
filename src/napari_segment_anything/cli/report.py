"""Progress and results on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..progress import Progress

if TYPE_CHECKING:
    from ..engine import Model
    from .options import Reporting


class Show(Protocol):
    """Shows the progress of one stage after another."""

    def __call__(self, step: Progress) -> object:
        """Show one step."""


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Show]:
    """Show a progress bar on standard error, with the name of the stage.

    Parameters
    ----------
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be called with each `Progress`.
    """
    if quiet:
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    task = bar.add_task("", visible=False)

    def show(step: Progress) -> None:
        bar.update(
            task, visible=True, description=step.message, completed=step.done, total=step.total
        )

    with bar:
        yield show


def within(show: Show, number: int, count: int) -> Show:
    """Show the progress of one of several images, with its number.

    Parameters
    ----------
    show : callable
        Takes each `Progress`.
    number, count : int
        Of images; the first is 0.
    """
    if count == 1:
        return show
    return lambda step: show(replace(step, message=f"{number + 1} of {count}: {step.message}"))


def tell(
    report: Reporting, facts: Mapping[str, object], content: Callable[[], Mapping[str, Any]]
) -> None:
    """Print a result as JSON or as a summary, or not at all.

    Parameters
    ----------
    report : Reporting
        Which of these to print.
    facts : mapping of str to object
        Lines of the summary.
    content : callable
        Returns the JSON document; called only if it is wanted.
    """
    if report.as_json:
        print_json(content())
    elif not report.quiet:
        print_facts("", facts)


def model_facts(model: Model) -> dict[str, str]:
    """Lines of a summary about the model and its device."""
    return {
        "model": f"{model.name} ({model.architecture}, {model.fingerprint[:12]})",
        "device": f"{model.device}, {model.precision}",
    }


def print_facts(title: str, facts: Mapping[str, object]) -> None:
    """Print names and values in two columns; long values such as paths stay on one line."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    if title:
        console.print(Text(title, style="italic"))
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        console.print(Text.assemble((name.ljust(width), "bold"), "  ", str(value)))


def print_rows(
    title: str, columns: list[str], rows: list[list[str]], wraps: int | None = None
) -> None:
    """Print a table with a header.

    Parameters
    ----------
    title : str
    columns : list of str
    rows : list of list of str
    wraps : int, optional
        The column that gives way where there is too little room; by default all but the first do.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        whole = number == 0 if wraps is None else number != wraps
        table.add_column(column, no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False, markup=False)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, indent=2, default=str, allow_nan=False)
    sys.stdout.write("\n")


def size(count: float) -> str:
    """Format a number of bytes: 375 MB."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:.1f} {unit}" if unit in ("GB", "TB") else f"{count:.0f} {unit}"
