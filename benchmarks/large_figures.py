"""Accuracy of stitched labels, and the table and pictures of benchmarks/large.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from mosaic import CELL, Cells, layout, window
from numpy.typing import NDArray
from page import table
from PIL import Image

from napari_segment_anything.formats import overlay
from napari_segment_anything.formats.ome_zarr import open_labels
from napari_segment_anything.large import TileGrid
from napari_segment_anything.measures import (
    OverlapTable,
    average_precision,
    best_iou,
    bootstrap,
    overlap_table,
)

IMAGES = Path(__file__).parents[1] / "docs/images"
EDGE = 2
FOUND = 0.5
SHARE = 0.1
SHOWN = 12
CLOSE_UP = 192
NAME = "segment_anything"


@dataclass(frozen=True)
class Compared:
    """True, stitched and separately segmented labels of one cell."""

    index: int
    source: str
    validation: bool
    truth: NDArray[np.integer]
    boxes: NDArray[np.int64]
    stitched: OverlapTable
    separate: OverlapTable


class Lines:
    """Positions of the tiles of a square image along either axis."""

    def __init__(self, side: int, tile: int, overlap: int) -> None:
        self.grid = grid = TileGrid.over((side, side), (), tile, overlap)
        first_column = [grid.index(0, row, 0) for row in range(grid.counts[0])]
        self.borders = np.array([grid.core(i).row for i in first_column[1:]], np.int64)
        windows = [grid.window(i) for i in first_column]
        inside = np.array([[w.row, w.row + w.height - 1] for w in windows])
        inside[1:, 0] += EDGE
        inside[:-1, 1] -= EDGE
        self.windows = inside

    def crosses(self, first: NDArray, last: NDArray) -> NDArray[np.bool_]:
        """Whether objects from first to last row lie across a border of cores."""
        before = np.searchsorted(self.borders, first, side="right")
        crossed: NDArray[np.bool_] = before != np.searchsorted(self.borders, last, side="right")
        return crossed

    def fits(self, first: NDArray, last: NDArray) -> NDArray[np.bool_]:
        """Whether some tile sees all rows from first to last."""
        low, high = self.windows.T
        seen: NDArray[np.bool_] = (
            (first[:, None] >= low) & (last[:, None] <= high)
        ).any(axis=1)  # fmt: skip
        return seen


def compared(store: Path, cells: Cells, separate: Path) -> Iterator[Compared]:
    """Compare cell by cell; areas of found objects are those in the whole image."""
    truth = open_labels(store, "truth").array
    stitched = open_labels(store, NAME).array
    alone = zarr.open_group(separate, mode="r")["labels"]
    across = truth.shape[0] // CELL
    areas = np.zeros(1, np.int64)
    for index in range(across * across):
        counted = np.bincount(stitched[window(index, across)].ravel())
        areas = np.pad(areas, (0, max(0, len(counted) - len(areas))))
        areas[: len(counted)] += counted
    known, order = cells.known, layout(store)
    for index, cell in enumerate(order):
        place = window(index, across)
        true = truth[place]
        table = overlap_table(true, stitched[place])
        yield Compared(
            index,
            *known[cell],
            true,
            boxes_of(true, table.true_ids) + np.tile([place[0].start, place[1].start], 2),
            at_home(table, areas),
            overlap_table(true, alone[cell]),
        )


def at_home(table: OverlapTable, areas: NDArray[np.int64]) -> OverlapTable:
    """Use areas in the whole image, and drop objects that lie mostly in other cells."""
    whole = areas[table.found_ids]
    home = 2 * table.found_areas >= whole
    pairs = home[table.found_index]
    return OverlapTable(
        table.true_ids, table.found_ids[home], table.true_areas, whole[home],
        table.true_index[pairs], (np.cumsum(home) - 1)[table.found_index[pairs]],
        table.shared[pairs],
    )  # fmt: skip


def boxes_of(labels: NDArray[np.integer], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """First row and column, last row and column of objects, in the order of ids."""
    rows, cols = np.nonzero(labels)
    number = np.searchsorted(ids, labels[rows, cols])
    boxes = np.empty((len(ids), 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = CELL, -1
    for axis, values in enumerate((rows, cols)):
        np.minimum.at(boxes[:, axis], number, values)
        np.maximum.at(boxes[:, axis + 2], number, values)
    return boxes


def fate(table: OverlapTable) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Best IoU of every true object, and whether it is cut.

    An object is cut if no label reaches an IoU of .5, but several labels that lie mostly inside it,
    each at least a tenth of it, cover half of it together.
    """
    best = best_iou(table)
    inside = table.shared * 2 > table.found_areas[table.found_index]
    piece = inside & (table.shared >= SHARE * table.true_areas[table.true_index])
    owners = table.true_index[piece]
    count = np.bincount(owners, minlength=table.true_count)
    covered = np.bincount(owners, table.shared[piece], minlength=table.true_count)
    return best, (best < FOUND) & (count > 1) & (2 * covered >= table.true_areas)


def figures(store: Path, cells: Cells, separate: Path, picture: Path) -> dict[str, Any]:
    """AP, and found and cut objects at seams, stitched and separate."""
    run = open_labels(store, NAME).group["run"].attrs["run"]
    side = open_labels(store, NAME).shape[0]
    lines = Lines(side, run["tile"], run["overlap"])
    aps: dict[str, list[NDArray]] = {"stitched": [], "separate": []}
    groups: dict[str, list[tuple[NDArray, ...]]] = {
        name: [] for name in ("crossing", "crossing, large", "elsewhere")
    }
    faults: list[tuple[float, str, NDArray, int]] = []
    for cell in compared(store, cells, separate):
        if cell.validation:
            aps["stitched"].append(average_precision(cell.stitched))
            aps["separate"].append(average_precision(cell.separate))
        (best, cut), (alone, alone_cut) = fate(cell.stitched), fate(cell.separate)
        row0, col0, row1, col1 = cell.boxes.T
        crosses = lines.crosses(row0, row1) | lines.crosses(col0, col1)
        fits = lines.fits(row0, row1) & lines.fits(col0, col1)
        sets = {
            "crossing": crosses & fits,
            "crossing, large": crosses & ~fits,
            "elsewhere": ~crosses,
        }
        for name, chosen in sets.items():
            columns = best >= FOUND, cut, alone >= FOUND, alone_cut, best, alone
            groups[name].append(tuple(column[chosen] for column in columns))
        for i in np.flatnonzero(sets["crossing"] & (best < FOUND) & (alone >= FOUND)):
            kind = "cut" if cut[i] else "lost"
            faults.append((float(alone[i] - best[i]), kind, cell.boxes[i], cell.index))
    faults.sort(key=lambda fault: (fault[1] != "cut", -fault[0]))
    show_faults(store, separate, lines, faults[:SHOWN], picture)
    found, alone = (np.array(aps[name]) for name in ("stitched", "separate"))
    return {
        "cells": (side // CELL) ** 2,
        "validation": len(found),
        "objects": sum(len(part[0]) for parts in groups.values() for part in parts),
        "ap50": [ap[:, 0].mean() for ap in (found, alone)],
        "ap": [ap.mean() for ap in (found, alone)],
        "difference50": interval(found[:, 0] - alone[:, 0]),
        "difference": interval(found.mean(axis=1) - alone.mean(axis=1)),
        **{name: summary(parts) for name, parts in groups.items()},
        "faults": [(kind, box.tolist(), round(loss, 3)) for loss, kind, box, _ in faults],
    }


def interval(differences: NDArray[np.float64]) -> list[float]:
    """Mean of the differences of cells, and its 95 % interval."""
    found = bootstrap(differences)
    return [found.value, found.low, found.high]


def summary(parts: list[tuple[NDArray, ...]]) -> dict[str, Any]:
    """Counts of objects: found and cut, stitched and separate, and where the two differ."""
    found, cut, alone, alone_cut, best, best_alone = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    return {
        "objects": len(found),
        "one": [int(found.sum()), int(alone.sum())],
        "cut": [int(cut.sum()), int(alone_cut.sum())],
        "only_stitched": int((found & ~alone).sum()),
        "only_separate": int((alone & ~found).sum()),
        "cut_by_seam": int((cut & alone).sum()),
        "iou": [float(best.mean()), float(best_alone.mean())] if len(best) else [0.0, 0.0],
    }


# -- pictures ------------------------------------------------------------------------------------


def close_up(store: Path, box: NDArray, size: int = CLOSE_UP) -> tuple[Any, tuple[slice, slice]]:
    """The image around a box as RGB, and its position."""
    pixels = zarr.open_group(store, mode="r")["0"]
    side = pixels.shape[1]
    centre = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    starts = [int(np.clip(c - size // 2, 0, side - size)) for c in centre]
    place = slice(starts[0], starts[0] + size), slice(starts[1], starts[1] + size)
    return np.moveaxis(pixels[(slice(None), *place)], 0, -1), place


def panel(
    pixels: NDArray, labels: NDArray, place: tuple[slice, slice], lines: Lines, scale: int = 2
) -> NDArray:
    """Labels over the image, with the borders of cores, enlarged and framed."""
    size = tuple(scale * n for n in pixels.shape[1::-1])
    shown = np.array(Image.fromarray(overlay(pixels, labels)).resize(size))
    for axis, part in enumerate(place):
        for border in lines.borders[(lines.borders >= part.start) & (lines.borders < part.stop)]:
            spot: list[Any] = [slice(None), slice(None)]
            spot[axis] = scale * (int(border) - part.start)
            shown[tuple(spot)] = (255, 230, 0)
    return np.pad(shown, ((3, 3), (3, 3), (0, 0)), constant_values=255)


def meet(place: tuple[slice, slice], other: tuple[slice, slice]) -> tuple[Any, Any]:
    """The intersection of two places, as slices of each."""
    spans = [
        (max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(place, other, strict=True)
    ]
    here, there = (
        tuple(slice(a - p.start, b - p.start) for (a, b), p in zip(spans, places, strict=True))
        for places in (place, other)
    )
    return here, there


def show_faults(
    store: Path,
    separate: Path,
    lines: Lines,
    faults: list[tuple[float, str, NDArray, int]],
    path: Path,
) -> None:
    """Draw true, stitched and separate labels around the worst objects, a row for each."""
    if not faults:
        return
    truth, stitched = (open_labels(store, name).array for name in ("truth", NAME))
    alone = zarr.open_group(separate, mode="r")["labels"]
    across, order = truth.shape[0] // CELL, layout(store)
    rows = []
    for _, _, box, spot in faults:
        pixels, place = close_up(store, box)
        by_itself = np.zeros(pixels.shape[:2], np.int64)
        here, there = meet(place, window(spot, across))
        by_itself[here] = alone[order[spot]][there]
        none = np.zeros_like(by_itself)
        parts = (none, truth[place], stitched[place], by_itself)
        rows.append(np.hstack([panel(pixels, part, place, lines) for part in parts]))
    Image.fromarray(np.vstack(rows)).save(path)


def draw(results: Mapping[int, Mapping[str, Any]], out: Path) -> None:
    """The pictures of the docs: memory and time by size, and a corner where four tiles meet."""
    draw_growth(results, IMAGES / "large_growth.png")
    side = min(results)
    draw_corner(out / f"mosaic{side}.ome.zarr", Cells(Path(), out / "cells.zarr"))


def draw_growth(results: Mapping[int, Mapping[str, Any]], path: Path) -> None:
    """Plot memory during each run, and time against area."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for side, result in results.items():
        run = result["large"]
        at, taken = np.array(run["course"]).T
        left.plot(at / run["seconds"], taken, label=f"{side} px", lw=1)
    left.axhline(1536, color="0.6", ls="--", lw=1)
    left.set(xlabel="part of the run", ylabel="memory above the idle model, MiB", ylim=(0, None))
    left.legend(frameon=False)
    sides = np.array(list(results))
    area = sides.astype(float) ** 2 / 1e6
    for name, label in (("large", "stitched"), ("plain", "tiles alone")):
        seconds = [result.get(name, {}).get("processor", np.nan) for result in results.values()]
        right.loglog(area, seconds, "o-", label=label)
    right.set_xticks(area, [f"{side} px" for side in sides], minor=False)
    right.set_xticks([], minor=True)
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter("")
    right.set(xlabel="side, on a scale of area", ylabel="processor time, s")
    right.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_corner(store: Path, cells: Cells) -> None:
    """Draw labels of two tiles and the stitched ones where four tiles meet."""
    from napari_segment_anything.large.ledger import Ledger

    group = open_labels(store, NAME)
    run = group.group["run"].attrs["run"]
    lines = Lines(group.shape[0], run["tile"], run["overlap"])
    ledger = Ledger(group, lines.grid)
    truth = open_labels(store, "truth").array
    across, order = group.shape[0] // CELL, layout(store)
    known = cells.known
    size = CLOSE_UP

    def suits(row: int, col: int) -> float:
        """Number of objects there; 0 if the picture is not in the public domain."""
        place = slice(row - size // 2, row + size // 2), slice(col - size // 2, col + size // 2)
        corners = [(r, c) for r in (place[0].start, place[0].stop - 1)
                   for c in (place[1].start, place[1].stop - 1)]  # fmt: skip
        home = {(r // CELL) * across + c // CELL for r, c in corners}
        free = all(known[order[i]][0].startswith(("dsb2018/", "bbbc039/")) for i in home)
        return len(np.unique(truth[place])) if free else -1

    corners = [(int(r), int(c)) for r in lines.borders for c in lines.borders]
    row, col = max(corners, key=lambda at: suits(*at))
    pixels, place = close_up(store, np.array([row, col, row, col]), size)
    panels = [panel(pixels, np.zeros(pixels.shape[:2], np.int64), place, lines)]
    at = np.searchsorted(lines.borders, (row, col))
    for step in (0, 1):
        index = lines.grid.index(0, int(at[0]), int(at[1]) + step)
        here, there = meet(place, lines.grid.window(index).slices)
        tile = np.zeros(pixels.shape[:2], np.int64)
        tile[here] = ledger.get(index).labels[there]
        dim = (pixels * 0.3).astype(np.uint8)
        dim[here] = pixels[here]
        panels.append(panel(dim, tile, place, lines))
    panels.append(panel(pixels, group.array[place], place, lines))
    Image.fromarray(np.hstack(panels)).save(IMAGES / "large_seam.jpg", quality=88)


# -- the table -----------------------------------------------------------------------------------


def report_text(results: Mapping[int, Mapping[str, Any]], threads: int) -> str:
    """Markdown: accuracy and cost, a row for each side."""
    lines = [
        "",
        f"{os.cpu_count()} cores, {threads} tiles at a time. AP is the mean over cells held out "
        "of training: stitched / each by itself.",
        "",
    ]
    rows: list[tuple[object, ...]] = []
    for side, result in results.items():
        got = result["accuracy"]
        value, low, high = got["difference"]
        relative = 100 * (got["ap"][0] / got["ap"][1] - 1)
        held = f"{got['validation']} of {got['cells']}"
        differs = f"{value:+.4f} ({low:+.4f} to {high:+.4f}), {relative:+.1f} %"
        rows.append((side, held, pair(got["ap50"]), pair(got["ap"]), differs))
    columns: tuple[str, ...] = (
        "side, px", "held-out cells", "AP at .50", "mean AP", "mean AP differs by (95 %)",
    )  # fmt: skip
    lines += [
        table(columns, rows),
        "",
        "True objects of all cells that lie across the border of two tiles' cores:",
        "",
    ]
    rows = []
    for side, result in results.items():
        for name, title in (
            ("crossing", "seen whole by a tile"), ("crossing, large", "larger than that"),
            ("elsewhere", "across no border"),
        ):  # fmt: skip
            got = result["accuracy"][name]
            if got["objects"]:
                one, cut = (f"{got[key][0]} / {got[key][1]}" for key in ("one", "cut"))
                objects = f"{got['objects']} {title}"
                rows.append((side, objects, one, cut, got["cut_by_seam"], pair(got["iou"])))
    columns = (
        "side, px", "objects", "found as one", "cut in two or more",
        "cut, though found as one by itself", "mean IoU",
    )  # fmt: skip
    lines += [table(columns, rows), ""]
    first = next(iter(results.values()))["large"]
    base = first["processor"] / first["tiles"]
    rows = []
    for side, result in results.items():
        run, plain = result["large"], result.get("plain")
        beside = f"{run['processor'] / plain['processor']:.3f}" if plain else "–"
        relative = f"{run['processor'] / run['tiles'] / base:.2f}"
        rows.append((side, run["tiles"], f"{run['peak']:.0f}", relative, beside))
    columns = (
        "side, px", "tiles", "peak memory above the idle model, MiB",
        "processor time per tile, relative", "processor time beside tiles alone",
    )  # fmt: skip
    lines += [table(columns, rows)]
    if len(results) > 1:
        area = np.log([float(side) ** 2 for side in results])
        spent = np.log([result["large"]["processor"] for result in results.values()])
        power = np.polyfit(area, spent, 1)[0]
        lines += ["", f"Processor time grows as area to the power {power:.2f}."]
    return "\n".join(lines) + "\n"


def pair(values: list[float]) -> str:
    """Format the values of stitched and separate labels."""
    return f"{values[0]:.3f} / {values[1]:.3f}"
