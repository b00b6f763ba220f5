"""Cost of hostile input: the table of docs/reliability.md.

Each command runs in its own process, forked after the imports. Memory is the peak above the memory
at the start.

    python -m benchmarks.hostile > table.md
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import page
from tests.hostile.corpus import CASES, Case


def listing(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.name != ".lock"}


def measured(case: Case) -> tuple[int, int, int, float, float]:
    """Exit code, lines, files left, seconds of CPU, and megabytes of one command."""
    from napari_segment_anything.cli.main import run

    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "work" / "deep"
        folder.mkdir(parents=True)
        command = case.make(folder)
        before = listing(Path(top))
        told = Path(top).with_suffix(".told")
        child = os.fork()
        if child == 0:
            with told.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.chdir(folder)
            os.environ["NAPARI_SEGMENT_ANYTHING_CACHE"] = f"{top}.cache"
            begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            code = run(command)
            used = resource.getrusage(resource.RUSAGE_SELF)
            sys.stdout.flush()
            seconds = used.ru_utime + used.ru_stime
            told.with_suffix(".used").write_text(f"{seconds} {(used.ru_maxrss - begun) / 1024}")
            os._exit(code)
        _, status = os.waitpid(child, 0)
        used = told.with_suffix(".used")
        seconds, megabytes = map(float, used.read_text().split())
        lines = sum(line.startswith(b"napari-sam:") for line in told.read_bytes().splitlines())
        told.unlink()
        used.unlink()
        left = len(listing(Path(top)) - before)
        return os.waitstatus_to_exitcode(status), lines, left, seconds, megabytes


def rows() -> Iterator[str]:
    columns = ("verb", "inputs", "exit code", "lines", "files left", "most CPU seconds", "most MB")
    yield page.table(columns, ())
    groups: dict[str, list[Case]] = {}
    for case in CASES:
        kind = case.name.partition(":")[0] if ":" in case.name else "images and options"
        kind = "prompts" if case.name.startswith("prompts") else kind
        groups.setdefault(f"`{case.kind}`, {kind}", []).append(case)
    worst: list[tuple[float, float, str]] = []
    for title, cases in groups.items():
        found = [measured(case) for case in cases]
        codes, lines, left = (", ".join(map(str, sorted({f[i] for f in found}))) for i in range(3))
        seconds, megabytes = max(f[3] for f in found), max(f[4] for f in found)
        worst_of = f"{seconds:.1f}", f"{megabytes:.0f}"
        yield page.row((title, len(cases), codes, lines, left, *worst_of))
        worst += [(f[3], f[4], f"{c.kind}: {c.name}") for f, c in zip(found, cases, strict=True)]
    yield ""
    slow, large = max(worst), max(worst, key=lambda item: item[1])
    yield f"Slowest: {slow[2]}, {slow[0]:.1f} s. Largest: {large[2]}, {large[1]:.0f} MB."


if __name__ == "__main__":
    import napari_segment_anything.engine
    import napari_segment_anything.large
    import napari_segment_anything.session
    import napari_segment_anything.stacks
    import napari_segment_anything.training  # noqa: F401

    for row in rows():
        print(row, flush=True)
