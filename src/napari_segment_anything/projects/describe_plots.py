"""Plots of data sets side by side, with the optional dependency matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.plots import COLOURS, new_figure, save_figure
from .describe import DatasetDescription

_BINS = 20
_CELLS = 16


def draw_description(
    folder: Path, described: Sequence[DatasetDescription]
) -> list[tuple[str, str]]:
    """Draw the measures of data sets.

    Parameters
    ----------
    folder : Path
        Folder for the PNG files.
    described : sequence of DatasetDescription

    Returns
    -------
    list of (str, str)
        Title and file name of each plot.
    """
    canvas, axes = new_figure(3, width=3.6)
    _shares(axes[0], described, lambda each: each.masks, logarithmic=True)
    axes[0].set(xlabel="masks per image", ylabel="share of the images")
    _shares(axes[1], described, lambda each: each.size)
    axes[1].set(xlabel="relative size", ylabel="share of the masks")
    _shares(axes[2], described, lambda each: each.concavity)
    axes[2].set(xlabel="concavity", ylabel="share of the masks")
    axes[0].legend(fontsize=7, frameon=False)
    drawn = [("Masks per image, size and concavity", save_figure(canvas, folder, "measures.png"))]
    canvas, axes = new_figure(len(described), width=3.2, height=3.2)
    for axis, each in zip(axes, described, strict=True):
        _centres(axis, each)
    drawn.append(("Centres of the masks", save_figure(canvas, folder, "centres.png")))
    timed = [each for each in described if each.seconds]
    if timed:
        canvas, axes = new_figure(len(timed), width=3.6)
        for axis, each in zip(axes, timed, strict=True):
            _times(axis, each)
        drawn.append(("Time per mask", save_figure(canvas, folder, "seconds.png")))
    return drawn


def _shares(
    axis: Any,
    described: Sequence[DatasetDescription],
    values: Callable[[DatasetDescription], NDArray[Any]],
    logarithmic: bool = False,
) -> None:
    """Share of the values in each of some bins, a line for each data set."""
    held = [values(each) for each in described]
    top = max((float(each.max()) for each in held if len(each)), default=1.0)
    if logarithmic:
        edges = np.geomspace(1, max(top, 2) + 1, _BINS + 1)
        axis.set_xscale("log")
    else:
        edges = np.linspace(0, min(1.0, max(top, 0.01) * 1.001), _BINS + 1)
    for number, (each, found) in enumerate(zip(described, held, strict=True)):
        counts, _ = np.histogram(np.maximum(found, 1) if logarithmic else found, edges)
        shares = counts / max(len(found), 1)
        colour = COLOURS[number % len(COLOURS)]
        axis.stairs(shares, edges, color=colour, linewidth=1.4, label=each.name)


def _centres(axis: Any, each: DatasetDescription) -> None:
    counts, _, _ = np.histogram2d(each.row, each.col, _CELLS, range=((0, 1), (0, 1)))
    axis.imshow(counts / max(counts.max(), 1), extent=(0, 1, 1, 0), cmap="viridis", aspect="equal")
    axis.grid(False)
    axis.set(title=each.name, xlabel="share of the width", ylabel="share of the height")
    axis.title.set_fontsize(9)


def _times(axis: Any, each: DatasetDescription) -> None:
    """Median time per mask with each version, and the middle half."""
    names = list(each.seconds)
    low, middle, high = (
        np.array([np.quantile(values, q) for values in each.seconds.values()])
        for q in (0.25, 0.5, 0.75)
    )
    spread = np.stack([middle - low, high - middle])
    axis.errorbar(range(len(names)), middle, yerr=spread, fmt="o-", color=COLOURS[0], capsize=3)
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set(title=each.name, ylabel="seconds per mask", ylim=(0, None))
    axis.title.set_fontsize(9)
