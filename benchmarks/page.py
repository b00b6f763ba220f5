"""What benchmarks share: tables, their place in the documentation, time and memory, ratios."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure that is comparable between runs: one measurement divided by another of the same run.

    Parameters
    ----------
    value : float
    spread : float
        How far repeated measurements lie from `value`.
    unit : str
        What the figure is divided by, such as "of the fp32 matrix rate".
    lower : bool
        Whether less is better, as for times. For rates more is better.
    """

    value: float
    spread: float
    unit: str
    lower: bool = False

    @classmethod
    def of(cls, values: Sequence[float], unit: str, lower: bool = False) -> Ratio:
        """Median of several measurements, and half of the range of their middle half.

        Parameters
        ----------
        values : sequence of float
            The ratio, measured several times, with both sides in turn.
        unit, lower
            As for `Ratio`.
        """
        if len(values) < 2:
            return cls(float(values[0]), 0.0, unit, lower)
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, (high - low) / 2, unit, lower)


class Unavailable(Exception):
    """A benchmark cannot run here; the message says what is missing."""


def table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table.

    Parameters
    ----------
    columns : sequence
        Headings.
    rows : iterable of sequence
        Cells of each row.
    """
    return "\n".join([row(columns), "|" + "---|" * len(columns), *map(row, rows)])


def row(cells: Iterable[object]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def write_between(page: Path, markers: tuple[str, str], text: str) -> None:
    """Replace the text between two markers of a page.

    Parameters
    ----------
    page : Path
        Markdown file.
    markers : (str, str)
        Both occur in it.
    text : str
        What to put between them.
    """
    held = page.read_text("utf-8")
    start, end = (held.index(marker) for marker in markers)
    before, after = held[: start + len(markers[0])], held[end:]
    page.write_text(f"{before}\n\n{text.strip()}\n\n{after}", "utf-8")


def durations(
    work: Callable[[], object],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[], object] = lambda: None,
) -> list[float]:
    """Seconds that a piece of work takes, call after call.

    Parameters
    ----------
    work : callable
        What is timed.
    repeats : int
        Number of calls.
    clock : callable
        `time.process_time` for processor time.
    wait : callable
        Called before each reading, to wait for a device.
    """
    seconds = []
    for _ in range(repeats):
        wait()
        began = clock()
        work()
        wait()
        seconds.append(clock() - began)
    return seconds


def in_turn(sides: Sequence[Callable[[], T]], repeats: int) -> list[list[T]]:
    """Measure several sides in turn (A B A B ...), so that other load meets all of them.

    Parameters
    ----------
    sides : sequence of callable
        Each returns its measurement, such as seconds.
    repeats : int
        Rounds.

    Returns
    -------
    list of list
        Measurements of each side.
    """
    rounds = [[side() for side in sides] for _ in range(repeats)]
    return [list(each) for each in zip(*rounds, strict=True)]


def matrix_rate(dtype: str = "float32", side: int = 2048, seconds: float = 0.5) -> float:
    """Floating point operations per second of this machine's matrix product, by torch.

    Parameters
    ----------
    dtype : str
        Name of a dtype of torch.
    side : int
        Of the square matrices.
    seconds : float
        Least time to measure; the best product counts.
    """
    import torch

    a, b = (torch.randn(side, side).to(getattr(torch, dtype)) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        best = min(best, *durations(lambda: a @ b, 2))
    return 2 * side**3 / best


def resident(field: str = "VmRSS") -> float:
    """Memory of this process in MiB, from a field of /proc/self/status (Linux)."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not report the memory of a process")


def processor() -> str:
    """Name of the processor, and its instructions for matrix products."""
    told = Path("/proc/cpuinfo")
    text = told.read_text("utf-8") if told.exists() else ""
    model = re.search(r"model name\s+: (.*)", text)
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {f}" in text]
    cores = text.count("processor\t") or os.cpu_count()
    return f"{model[1] if model else platform.processor()}, {cores} cores ({', '.join(flags)})"
