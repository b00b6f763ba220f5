"""The table and the plot of an ablation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..evaluation.figure_table import number, table_rows
from ..evaluation.plots import COLOURS, new_figure, save_figure
from ..formats.atomic import replacing
from ..measures import Interval
from .plan import BASELINE
from .run import MEASURES, AblationResult, VariantFigures


def write_ablation(result: AblationResult, *, plots: bool = True) -> Path:
    """Write ``ablation.md`` and ``ablation.csv``, and ``ablation.png``.

    Parameters
    ----------
    result : AblationResult
    plots : bool
        Draw the plot, which needs matplotlib.

    Returns
    -------
    Path
        The Markdown file.
    """
    shown = [name for name in MEASURES if any(name in v.figures for v in result.variants)]
    _write_csv(result.folder / "ablation.csv", result.variants, shown)
    lines = [
        "# Ablation",
        "",
        "Each row is the configuration with one thing changed, trained and measured anew. In "
        "brackets: 95 % confidence intervals over image files; with several seeds the mean, and "
        "the lowest and the highest of them.",
        "",
    ]
    rows = []
    for variants in by_value(result.variants):
        first = variants[0]
        steps = f"{np.mean([v.steps for v in variants]):.0f}"
        cells = [number(pooled(variants, name)) for name in shown]
        rows.append([first.ablation, first.value, *cells, str(first.images), steps])
    titles = [MEASURES[name][2] for name in shown]
    lines += table_rows(["ablation", "value", *titles, "images", "steps"], rows)
    if plots and shown:
        lines += [f"![{titles[0]}]({_draw(result, shown[0])})", ""]
    path = result.folder / "ablation.md"
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines), "utf-8")
    return path


def by_value(variants: Sequence[VariantFigures]) -> list[list[VariantFigures]]:
    """Group the variants that differ only by their seed."""
    groups: dict[tuple[str, str], list[VariantFigures]] = {}
    for variant in variants:
        groups.setdefault((variant.ablation, variant.value), []).append(variant)
    return list(groups.values())


def pooled(variants: Sequence[VariantFigures], measure: str) -> Interval:
    """A figure of one run with its interval; of several the mean, the lowest and the highest."""
    held = [found for variant in variants if (found := variant.interval(measure)) is not None]
    if not held:
        return Interval(np.nan, np.nan, np.nan, 0)
    if len(held) == 1:
        return held[0]
    values = [each.value for each in held]
    return Interval(float(np.mean(values)), min(values), max(values), held[0].count)


def _write_csv(path: Path, variants: Sequence[VariantFigures], measures: Sequence[str]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = [f"{name}{end}" for name in measures for end in ("", "_low", "_high")]
        writer.writerow(["ablation", "value", "seed", *columns, "images", "steps", "seconds"])
        for v in variants:
            cells = [each for name in measures for each in v.figures.get(name, [None] * 3)]
            plain = ["" if each is None else each for each in cells]
            writer.writerow([v.ablation, v.value, v.seed, *plain, v.images, v.steps, v.seconds])


def _draw(result: AblationResult, measure: str) -> str:
    """A plot for each ablation: the measure over the values, the baseline as a line."""
    groups = by_value(result.variants)
    base = pooled(groups[0], measure)
    names = list(dict.fromkeys(g[0].ablation for g in groups if g[0].ablation != BASELINE))
    canvas, axes = new_figure(max(len(names), 1), width=3.6)
    for axis, name, colour in zip(axes, names or [BASELINE], COLOURS * len(axes), strict=False):
        mine = [group for group in groups if group[0].ablation == name]
        found = [pooled(group, measure) for group in mine]
        values = np.array([each.value for each in found])
        error = np.nan_to_num(np.abs([[each.low, each.high] for each in found] - values[:, None]))
        places = np.arange(len(mine))
        axis.errorbar(places, values, yerr=error.T, fmt="o-", color=colour, capsize=3, lw=1.2)
        axis.axhline(base.value, color="grey", lw=0.8, ls="--")
        axis.set_xticks(places, [group[0].value for group in mine], fontsize=8, rotation=15)
        axis.set(title=name, ylabel=MEASURES[measure][2])
    return save_figure(canvas, result.folder, "ablation.png")
