"""The report of data sets side by side: Markdown, CSV, and plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..evaluation.figure_table import table_rows
from ..evaluation.report import require_plots
from ..formats import write_table
from ..formats.atomic import replacing
from .describe import DatasetDescription

_QUANTILES = (0.25, 0.5, 0.75)
_MEASURES: dict[str, tuple[str, Callable[[DatasetDescription], NDArray[Any]]]] = {
    "masks": ("masks per image", lambda d: d.masks),
    "size": ("relative size of a mask", lambda d: d.size),
    "concavity": ("concavity", lambda d: d.concavity),
    "row": ("centre, share of the height", lambda d: d.row),
    "col": ("centre, share of the width", lambda d: d.col),
}


def write_description(
    folder: str | Path, described: Sequence[DatasetDescription], *, plots: bool = True
) -> Path:
    """Write ``report.md``, ``figures.csv``, ``images.csv``, ``masks.csv`` and plots.

    Parameters
    ----------
    folder : path
        Created if missing.
    described : sequence of DatasetDescription
        One or several, with different names.
    plots : bool
        Draw PNG plots, which needs matplotlib.

    Returns
    -------
    Path
        The Markdown file.

    Raises
    ------
    ParameterError
        If two have the same name, or plots are asked for without matplotlib.
    FormatError
        If a file cannot be written.
    """
    names = [each.name for each in described]
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"data sets need different names to be compared, not {names}")
    if plots:
        require_plots()
    folder = Path(folder)
    write_table(folder / "figures.csv", _figures(described))
    write_table(
        folder / "images.csv",
        {
            "dataset": [each.name for each in described for _ in each.images],
            "image": [name for each in described for name in each.images],
            "masks": np.concatenate([each.masks for each in described]),
        },
    )
    columns = {name: get for name, (_, get) in _MEASURES.items() if name != "masks"}
    write_table(
        folder / "masks.csv",
        {
            "dataset": [each.name for each in described for _ in each.image],
            "image": [each.images[place] for each in described for place in each.image],
            **{name: np.concatenate([get(d) for d in described]) for name, get in columns.items()},
        },
    )
    pictures: list[tuple[str, str]] = []
    if plots:
        from .describe_plots import draw_description

        pictures = draw_description(folder, described)
    path = folder / "report.md"
    with replacing(path) as temporary:
        temporary.write_text(description_text(described, pictures), "utf-8")
    return path


def description_text(
    described: Sequence[DatasetDescription], pictures: Sequence[tuple[str, str]] = ()
) -> str:
    """The report as Markdown.

    Parameters
    ----------
    described : sequence of DatasetDescription
    pictures : sequence of (title, file)
        Relative to the report.
    """
    names = [each.name for each in described]
    lines = [f"# {names[0]}" if len(names) == 1 else f"# {' beside '.join(names)}", ""]
    rows = [
        ["images", *(f"{len(each.images):,}" for each in described)],
        ["masks", *(f"{len(each.size):,}" for each in described)],
    ]
    for name, (title, get) in _MEASURES.items():
        if name not in ("row", "col"):
            rows.append([title, *(_middle(get(each)) for each in described)])
    rows.append(["masks in the central ninth", *(_central(each) for each in described)])
    lines += table_rows(["", *names], rows)
    lines += [
        "Medians, and in brackets the middle half. Relative size: square root of the mask's area "
        "divided by the image's. Concavity: 1 - area / area of the convex hull.",
        "",
    ]
    for each in described:
        if each.seconds:
            lines += [f"## Time per mask: {each.name}", ""]
            lines += table_rows(
                ["model", "masks", "seconds"],
                [
                    [version, f"{len(values):,}", _middle(values)]
                    for version, values in each.seconds.items()
                ],
            )
        if each.classes:
            lines += [f"## Classes: {each.name}", ""]
            lines += table_rows(
                ["class", "masks"], [[name, f"{count:,}"] for name, count in each.classes.items()]
            )
    for title, file in pictures:
        lines += [f"![{title}]({file})", ""]
    return "\n".join(lines)


def _figures(described: Sequence[DatasetDescription]) -> dict[str, list[Any]]:
    """A row for each data set and measure: number, mean and quartiles."""
    rows: list[list[Any]] = []
    for each in described:
        values = {name: get(each) for name, (_, get) in _MEASURES.items()}
        values |= {f"seconds, {version}": held for version, held in each.seconds.items()}
        for name, held in values.items():
            known = held.astype(np.float64) if len(held) else np.array([np.nan])
            quartiles = np.quantile(known, _QUANTILES).tolist()
            rows.append([each.name, name, len(held), float(known.mean()), *quartiles])
    titles = ("dataset", "measure", "count", "mean", "quartile_1", "median", "quartile_3")
    return {title: [row[i] for row in rows] for i, title in enumerate(titles)}


def _middle(values: NDArray[Any]) -> str:
    if not len(values):
        return ""
    low, middle, high = (f"{value:.3g}" for value in np.quantile(values, _QUANTILES))
    return f"{middle} ({low} to {high})"


def _central(each: DatasetDescription) -> str:
    """Share of masks whose centre lies in the middle third of height and width; 1/9 if even."""
    if not len(each.row):
        return ""
    inside = (np.abs(each.row - 0.5) < 1 / 6) & (np.abs(each.col - 0.5) < 1 / 6)
    return f"{100 * inside.mean():.0f} %"
