"""Long work as generators: each yield is a place to report and to cancel."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import ParameterError

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a long computation.

    Parameters
    ----------
    done, total : int
        Units finished and units in all.
    partial : object, optional
        What is ready so far, where the computation has something to show.
    message : str
        What is being done, for a progress bar.
    """

    done: int
    total: int
    partial: Any = None
    message: str = ""

    @property
    def fraction(self) -> float:
        """Finished part, 0 to 1."""
        return self.done / self.total if self.total else 1.0


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
        Called with every `Progress`. If it raises, the generator is closed (which
        cancels the computation) and the exception goes on.

    Returns
    -------
    object
        The generator's return value.

    Raises
    ------
    ParameterError
        If it is no generator.
    """
    if not isinstance(generator, Generator):
        raise ParameterError(
            f"finish takes a generator of Progress, not {type(generator).__name__}: give it what "
            "generate_candidates(...) and its like return"
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
