"""Long computations as generators: they report progress, and can be cancelled, at each yield."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import ParameterError
from .threads import start_thread

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a long computation.

    Parameters
    ----------
    done, total : int
        Finished units, and total units.
    partial : object, optional
        Intermediate result, if there is one to show.
    message : str
        Description of the step, for a progress bar.
    """

    done: int
    total: int
    partial: Any = None
    message: str = ""

    @property
    def fraction(self) -> float:
        """Finished fraction, 0 to 1."""
        return self.done / self.total if self.total else 1.0


class _Unwanted(Exception):
    """Raised in a function whose generator was closed."""


def following(
    work: Callable[[Callable[[Progress], object]], R], first: Progress, pause: float = 0.1
) -> Generator[Progress, None, R]:
    """Run a function that reports its progress by a callback, as a generator.

    The function runs on a separate thread. Closing the generator stops it at its next report,
    without waiting for it.

    Parameters
    ----------
    work : callable
        Takes the callback, which is called with a `Progress`.
    first : Progress
        Yielded until the first report.
    pause : float
        Seconds between two steps.

    Yields
    ------
    Progress
        The latest report.

    Returns
    -------
    object
        The return value of the function. Exceptions are raised here.
    """
    closed, ended = threading.Event(), threading.Event()
    step = first
    result: list[R] = []
    errors: list[BaseException] = []

    def report(progress: Progress) -> None:
        nonlocal step
        if closed.is_set():
            raise _Unwanted
        step = progress

    def run() -> None:
        try:
            result.append(work(report))
        except _Unwanted:  # not kept, as it would keep a connection open
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    start_thread(run, "segment-anything-followed", closed.set)
    try:
        yield step
        while not ended.wait(pause):
            yield step
    finally:
        closed.set()
    if errors:
        raise errors[0]
    return result[0]


def mapped(generator: Generator[S, None, R], change: Callable[[S], T]) -> Generator[T, None, R]:
    """Go through a generator, and make something else, such as a `Progress`, of each of its steps.

    Parameters
    ----------
    generator : generator
        The computation; it is closed with this one.
    change : callable
        Takes what it yields, and returns what to yield instead.

    Returns
    -------
    object
        The generator's return value.
    """
    try:
        while True:
            try:
                step = next(generator)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            yield change(step)
    finally:
        generator.close()


def in_series(
    number: int, count: int, name: str, partials: bool = True
) -> Callable[[Progress], Progress]:
    """Make the progress of one item of a series that of the series, in hundredths of items.

    Parameters
    ----------
    number, count : int
        Which item it is, from 0, and of how many.
    name : str
        Begins the message.
    partials : bool
        Whether intermediate results of the item are passed on.

    Returns
    -------
    callable
        For `mapped`. The last hundredth of an item is left to what follows it.
    """

    def shown(step: Progress) -> Progress:
        at = 100 * number + min(int(100 * step.fraction), 99)
        partial = step.partial if partials else None
        return Progress(at, 100 * count, partial, f"{name}: {step.message}")

    return shown


def finish(
    generator: Generator[Progress, None, R],
    on_progress: Callable[[Progress], object] | None = None,
) -> R:
    """Run a progress generator to its end and return its result.

    Parameters
    ----------
    generator : generator of Progress
        The computation.
    on_progress : callable, optional
        Called with every `Progress`. If it raises, the generator is closed, which cancels the
        computation, and the exception is propagated.

    Returns
    -------
    object
        The generator's return value.

    Raises
    ------
    ParameterError
        If it is not a generator.
    """
    if not isinstance(generator, Generator):
        raise ParameterError(
            "finish takes a generator of Progress, such as generate_candidates(...) returns, not "
            f"{type(generator).__name__}"
        )
    try:
        while True:
            try:
                step = next(generator)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if on_progress is not None:
                on_progress(step)
    finally:
        generator.close()
