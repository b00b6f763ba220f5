"""Training curves: CSV files and their plot."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..formats.atomic import replacing

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
_ASIDE = {"seconds", "cpu_seconds", "norm"}


def append_row(path: Path, step: int, row: Mapping[str, float]) -> None:
    """Append a row to a CSV file of curves, with a header if the file is new.

    Parameters
    ----------
    path : Path
    step : int
    row : mapping of str to float
        Measures by name, the same at every call.
    """
    fresh = not path.exists() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        if fresh:
            writer.writerow(["step", *row])
        writer.writerow([step, *(f"{value:.5g}" for value in row.values())])


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows that a killed run wrote after its last checkpoint.

    Parameters
    ----------
    path : Path
    step : int
        Step of the checkpoint.
    """
    if not path.exists():
        return
    lines = path.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines[1:] if line.split(",")[0].isdigit()]
    kept = [line for line in kept if int(line.split(",")[0]) <= step and line.endswith("\n")]
    if len(kept) + 1 < len(lines):
        with replacing(path) as temporary:
            temporary.write_text("".join([*lines[:1], *kept]), "utf-8")


def read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of a CSV file of curves; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return [
            {name: float(value) for name, value in row.items() if name and value}
            for row in csv.DictReader(handle)
        ]


def draw_curves(folder: Path, stages: Sequence[str]) -> Path | None:
    """Draw the curves of a run's stages to ``curves.png``; needs matplotlib.

    Parameters
    ----------
    folder : Path
        The run's folder with ``<stage>-train.csv`` and ``<stage>-validation.csv``.
    stages : sequence of str
        Names in order; the steps of later stages are shifted behind those of earlier ones.

    Returns
    -------
    Path or None
        The PNG file; None without matplotlib or without curves.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return None
    train = _joined(folder, stages, "train")
    validation = _joined(folder, stages, "validation")
    kinds = [("Training", train), ("Held-out images", validation)]
    kinds = [(title, rows) for title, rows in kinds if rows]
    if not kinds:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(kinds), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, rows) in enumerate(kinds, start=1):
        axes = figure.add_subplot(1, len(kinds), number)
        _draw(axes, title, rows)
    path = folder / "curves.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return path


def _joined(folder: Path, stages: Sequence[str], kind: str) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    start = 0.0
    for stage in stages:
        own = read_rows(folder / f"{stage}-{kind}.csv")
        rows += [{**row, "step": row["step"] + start} for row in own]
        ends = [r["step"] for r in read_rows(folder / f"{stage}-train.csv")]
        start += max(ends, default=0.0)
    return rows


def _draw(axes: Any, title: str, rows: list[dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [n for n in names if n != "step" and n not in _ASIDE and "/" not in n]
    for number, name in enumerate(names):
        points = [(row["step"], row[name]) for row in rows if name in row]
        style = ("-", "--", ":")[number // len(_COLOURS) % 3]
        colour = _COLOURS[number % len(_COLOURS)]
        marker = "." if len(points) < 12 else ""
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, style, color=colour, marker=marker, label=name, linewidth=1.2)
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, ncols=2)
