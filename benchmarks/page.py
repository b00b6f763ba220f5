"""What benchmarks share: tables, their place in the documentation, time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


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


def resident(field: str = "VmRSS") -> float:
    """Memory of this process in MiB, from a field of /proc/self/status (Linux)."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not report the memory of a process")
