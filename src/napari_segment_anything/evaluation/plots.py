"""Plots of an evaluation, with the optional dependency matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..formats.atomic import replacing
from ..measures import THRESHOLDS, Calibration
from .published import published_for
from .summary import Figure, Group

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_TITLES = {"floors": "Otsu + watershed"}


def draw_plots(
    folder: Path, figures: Sequence[Figure], calibration: Mapping[str, Calibration]
) -> list[tuple[str, str]]:
    """Draw a plot for each protocol that has figures.

    Parameters
    ----------
    folder : Path
        Folder for the PNG files.
    figures : sequence of Figure
        From `summarise`.
    calibration : mapping
        From `calibrations`.

    Returns
    -------
    list of (str, str)
        Title and file name of each plot.
    """
    held = {(f.group, f.method, f.measure): f for f in figures}
    groups = list(dict.fromkeys(f.group for f in figures))
    methods = list(dict.fromkeys(f.method for f in figures))
    drawn = []
    modes = [m for m in methods if m.startswith("everything:") or m == "floors"]
    if modes:
        drawn.append(("AP by IoU threshold", _ap(folder, held, groups, modes)))
        drawn.append(("AP at .50 by images", _bars(folder, held, groups, modes)))
    if "clicks" in methods:
        drawn.append(("Corrective clicks", _clicks(folder, held, groups)))
    if "single_point" in methods:
        drawn.append(("One point, compared with a magic wand", _points(folder, held, groups)))
    if calibration:
        drawn.append(("Predicted against true IoU", _calibration(folder, calibration)))
    return drawn


def new_figure(columns: int, width: float = 4.2, height: float = 3.4) -> tuple[Any, list[Any]]:
    """A figure with plots side by side, and their axes.

    Parameters
    ----------
    columns : int
        Number of plots.
    width, height : float
        Of each, in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
    return canvas, list(axes)


def save_figure(canvas: Any, folder: Path, name: str) -> str:
    """Write a figure as PNG, and return the file's name.

    Parameters
    ----------
    canvas : matplotlib figure
    folder : Path
    name : str
        Of the file.
    """
    with replacing(folder / name) as temporary:
        canvas.savefig(temporary, dpi=130, format="png")
    return name


def _values(held: Mapping[Any, Figure], group: Group, method: str, names: Sequence[str]) -> Any:
    """Value, low and high of each measure: (3, names), NaN if missing."""
    out = np.full((3, len(names)), np.nan)
    for i, name in enumerate(names):
        figure = held.get((group, method, name))
        if figure is not None:
            out[:, i] = figure.interval.value, figure.interval.low, figure.interval.high
    return out


def _ap(folder: Path, held: Mapping[Any, Figure], groups: list[Group], modes: list[str]) -> str:
    """AP by IoU threshold, with published curves where there are some."""
    other = {g: [p for p in items if p.ap] for g, items in published_for(groups).items()}
    shown = groups[:1] + [g for g, items in other.items() if items and g != groups[0]]
    names = [f"ap{round(100 * t)}" for t in THRESHOLDS]
    canvas, axes = new_figure(len(shown))
    for axis, group in zip(axes, shown, strict=True):
        for i, method in enumerate(modes):
            value, low, high = _values(held, group, method, names)
            colour = "#777777" if method == "floors" else COLOURS[i % len(COLOURS)]
            axis.plot(THRESHOLDS, value, "o-", color=colour, ms=3.5, label=_title(method))
            axis.fill_between(THRESHOLDS, low, high, color=colour, alpha=0.15, linewidth=0)
        for i, item in enumerate(other.get(group, [])):
            style = ("--", ":", "-.")[i % 3]
            axis.plot(
                THRESHOLDS[: len(item.ap)], item.ap, style, color="black", lw=1,
                label=f"{item.method}, published",
            )  # fmt: skip
        axis.set(title=group.title, xlabel="IoU threshold", ylabel="AP", ylim=(0, 1))
        axis.legend(fontsize=7, frameon=False)
    return save_figure(canvas, folder, "ap.png")


def _bars(folder: Path, held: Mapping[Any, Figure], groups: list[Group], modes: list[str]) -> str:
    canvas, (axis,) = new_figure(1, width=6.5, height=1.2 + 0.32 * len(groups) * len(modes))
    height = 0.8 / len(modes)
    for i, method in enumerate(modes):
        values = np.concatenate([_values(held, g, method, ["ap50"]) for g in groups], axis=1)
        places = np.arange(len(groups)) + (i - (len(modes) - 1) / 2) * height
        colour = "#BBBBBB" if method == "floors" else COLOURS[i % len(COLOURS)]
        errors = np.nan_to_num(np.abs(values[1:] - values[0]))
        axis.barh(places, values[0], 0.9 * height, color=colour, label=_title(method))
        axis.errorbar(values[0], places, xerr=errors, fmt="none", ecolor="black", elinewidth=0.8)
    axis.set_yticks(range(len(groups)), [g.title for g in groups], fontsize=8)
    axis.set_ylim(len(groups) - 0.4, -0.6)
    axis.set_axisbelow(True)
    axis.set(xlabel="AP at IoU .50", xlim=(0, 1))
    axis.legend(fontsize=7, frameon=False, loc="lower right")
    return save_figure(canvas, folder, "sets.png")


def _clicks(folder: Path, held: Mapping[Any, Figure], groups: list[Group]) -> str:
    names = sorted(
        {m for _, method, m in held if method == "clicks" and m.startswith("click")},
        key=lambda name: int(name[5:]),
    )
    canvas, (axis,) = new_figure(1, width=5.5, height=3.8)
    at = np.arange(1, len(names) + 1)
    for i, group in enumerate(groups):
        value, low, high = _values(held, group, "clicks", names)
        main = i == 0
        colour = "black" if main else COLOURS[i % len(COLOURS)]
        axis.plot(at, value, "o-", color=colour, lw=2 if main else 1, ms=4 if main else 2.5,
                  alpha=1 if main else 0.8, label=group.title)  # fmt: skip
        if main:
            axis.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.set(xlabel="clicks", ylabel="mean IoU", ylim=(None, 1))
    axis.set_xticks(at)
    axis.legend(fontsize=7, frameon=False, ncols=2)
    return save_figure(canvas, folder, "clicks.png")


def _points(folder: Path, held: Mapping[Any, Figure], groups: list[Group]) -> str:
    """By how much the model is better than a magic wand: a bar for each set, the largest first."""
    names = [f"centre_{name}_minus_wand" for name in ("chosen", "best")]
    sets = [group for group in groups if group.column == "set"] or groups[:1]
    values = {group: _values(held, group, "single_point", names) for group in sets}
    sets = sorted(sets, key=lambda group: values[group][0, 0], reverse=True)
    canvas, (axis,) = new_figure(1, width=6.5, height=1.2 + 0.3 * len(sets))
    places = np.arange(len(sets))
    chosen, best = (np.array([values[group][:, i] for group in sets]).T for i in (0, 1))
    error = np.nan_to_num(np.abs(chosen[1:] - chosen[0]))
    axis.barh(places, chosen[0], 0.7, color=COLOURS[0], label="mask of the highest predicted IoU")
    axis.errorbar(chosen[0], places, xerr=error, fmt="none", ecolor="black", elinewidth=0.8)
    axis.plot(best[0], places, "o", color=COLOURS[1], ms=5, label="best of the three masks")
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(places, [group.title for group in sets], fontsize=8)
    axis.set_ylim(len(sets) - 0.4, -0.6)
    axis.set_axisbelow(True)
    axis.set(xlabel="IoU minus that of a magic wand, one point")
    axis.legend(fontsize=7, frameon=False, loc="lower right")
    return save_figure(canvas, folder, "single_point.png")


def _calibration(folder: Path, calibration: Mapping[str, Calibration]) -> str:
    canvas, axes = new_figure(len(calibration), width=3.4)
    for axis, (name, c) in zip(axes, calibration.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", lw=0.8)
        axis.errorbar(
            c.predicted, c.true, yerr=c.spread, color=COLOURS[0], ecolor="#9FC5DE", fmt="o-", ms=4
        )
        share = c.counts / max(c.counts.max(), 1)
        axis.bar((c.edges[:-1] + c.edges[1:]) / 2, 0.18 * share, 0.09, color="#DDDDDD", zorder=0)
        axis.set(
            title=f"{name}\nr = {c.correlation:.2f}, error {c.expected_error:.3f}",
            xlabel="predicted IoU", ylabel="true IoU", xlim=(0, 1), ylim=(0, 1.02),
        )  # fmt: skip
        axis.title.set_fontsize(9)
    return save_figure(canvas, folder, "calibration.png")


def _title(method: str) -> str:
    return _TITLES.get(method, method.removeprefix("everything:"))
