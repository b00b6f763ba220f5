"""The report of an evaluation: Markdown, CSV, plots and a gallery."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.classes import FREQUENCIES
from ..errors import ParameterError
from ..formats.atomic import replacing
from .csv_files import write_figures, write_images, write_objects
from .figure_table import FigureTable, short, table_rows
from .further_sections import (
    comparison_section,
    edge_section,
    instance_section,
    single_point_section,
)
from .group_comparison import GroupDifference, compare_groups
from .published import published_for
from .run import Evaluation
from .summary import (
    CLICKS_SHOWN,
    Figure,
    calibrations,
    summarise,
)

MODE_TITLES = {"floors": "Otsu + watershed (floor)"}


def require_plots() -> None:
    """Raise `ParameterError` unless matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ParameterError(
            "plots need matplotlib: pip install 'segment-anything-napari[evaluate]', "
            "or leave the plots out"
        )


def write_report(
    evaluation: Evaluation,
    *,
    plots: bool = True,
    gallery: int = 6,
    command: str = "",
    images: Any = None,
    resamples: int = 2000,
    compare: Sequence[str] = (),
) -> Path:
    """Write ``report.md``, ``figures.csv``, ``images.csv``, ``objects.csv`` and the pictures.

    Parameters
    ----------
    evaluation : Evaluation
        From `evaluate`.
    plots : bool
        Draw PNG plots, which needs matplotlib.
    gallery : int
        Number of best and of worst images of everything mode to show; 0 for none.
    command : str
        Command line to show in the report.
    images : iterable of Entry, optional
        The images, for the gallery.
    resamples : int
        Resamples of the bootstrap.
    compare : sequence of str
        Columns of metadata, or "set", whose groups are compared with each other.

    Returns
    -------
    Path
        The Markdown file.

    Raises
    ------
    ParameterError
        If there are no records, plots are asked for without matplotlib, or a column of `compare`
        has fewer than two values.
    """
    if not evaluation.records:
        reasons = "; ".join(f"{name}: {why}" for name, why in evaluation.failures.items())
        raise ParameterError(f"no image could be evaluated{': ' if reasons else ''}{reasons}")
    if plots:
        require_plots()
    folder = evaluation.folder
    differences = compare_groups(evaluation.records, compare)
    figures = summarise(evaluation.records, resamples=resamples)
    write_figures(folder / "figures.csv", figures)
    write_images(folder / "images.csv", evaluation.records)
    write_objects(folder / "objects.csv", evaluation.records)
    pictures: list[tuple[str, str]] = []
    if plots:
        from .plots import draw_plots

        pictures += draw_plots(folder, figures, calibrations(evaluation.records))
    shown: list[tuple[str, str]] = []
    if gallery and images is not None:
        from .gallery import draw_gallery

        shown = draw_gallery(evaluation, list(images), gallery)
    path = folder / "report.md"
    text = markdown(evaluation, figures, command, pictures, shown, differences)
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")
    return path


def markdown(
    evaluation: Evaluation,
    figures: Sequence[Figure],
    command: str = "",
    pictures: Iterable[tuple[str, str]] = (),
    gallery: Iterable[tuple[str, str]] = (),
    differences: Sequence[GroupDifference] = (),
) -> str:
    """The report as Markdown.

    Parameters
    ----------
    evaluation : Evaluation
        The answers.
    figures : sequence of Figure
        From `summarise`.
    command : str
        Command line to show.
    pictures, gallery : iterable of (title, file)
        Relative to the report.
    differences : sequence of GroupDifference
        From `compare_groups`.
    """
    header = evaluation.header
    images = {record["image"] for record in evaluation.records}
    settings = header["settings"]
    lines = [
        f"# Evaluation of {header['model']}",
        "",
        f"{len(images)} images. Model `{header['model']}` ({header['architecture']}), "
        f"fingerprint `{header['fingerprint'][:16]}`, {header['precision']}, "
        f"segment-anything-napari {header['package']}.",
        "",
    ]
    if command:
        lines += ["```console", f"$ {command}", "```", ""]
    per_image = settings["objects_per_image"]
    lines += [
        "In brackets: 95 % confidence intervals, from resampling image files (with all "
        "their objects and planes); a single file has none. "
        + (f"At most {per_image} objects of an image are prompted, " if per_image else
           "All objects are prompted, ")
        + f"those of at least {settings['min_area']} pixels.",
        "",
    ]  # fmt: skip
    table = FigureTable(figures)
    lines += _everything(table) + _prompts(table) + _clicks(table)
    lines += _proposals(table, evaluation)
    lines += single_point_section(table) + edge_section(table) + instance_section(table)
    lines += comparison_section(differences) + _calibration(evaluation)
    for title, file in pictures:
        lines += [f"![{title}]({file})", ""]
    if gallery:
        lines += ["## Best and worst images", ""]
        lines += [
            "Cyan: found (IoU at least .5). Orange: found, but no such object. "
            "Magenta: missed. Left the image, right the result.",
            "",
        ]
        for title, file in gallery:
            lines += [title, "", f"![{title.partition(':')[0]}]({file})", ""]
    if evaluation.failures:
        lines += ["## Images that could not be read", ""]
        lines += [f"- {name}: {why}" for name, why in evaluation.failures.items()] + [""]
    return "\n".join(lines)


def mode_title(method: str) -> str:
    """Title of a method of everything mode."""
    return MODE_TITLES.get(method, method.removeprefix("everything:"))


def _everything(table: FigureTable) -> list[str]:
    methods = [m for m in table.methods if m.startswith("everything:") or m == "floors"]
    if not methods:
        return []
    measures = ["ap50", "ap75", "ap", "pq", "f1_50"]
    rows = []
    other = published_for(table.groups)
    for group in table.groups:
        for method in methods:
            if table.get(group, method, "ap50") is None:
                continue
            cells = [table.cell(group, method, name, brief=name == "f1_50") for name in measures]
            size = table.size(group, method, "ap50")
            rows.append([group.title, mode_title(method), *cells, *size])
        for item in other.get(group, []):
            ap50 = short(item.ap[0]) if item.ap else ""
            ap75 = short(item.ap[5]) if len(item.ap) > 5 else ""
            mean = "" if item.mean is None else short(item.mean)
            rows.append(
                [group.title, f"*{item.method}* ({item.source})", ap50, ap75, mean] + [""] * 4
            )
    lines = ["## Everything mode", ""]
    lines += [
        "AP = TP / (TP + FP + FN) of each image, then the mean over images; AP: the mean over IoU "
        ".50, .55, ... .95. An image without objects in which nothing is found counts 1.",
        "",
    ]
    if any(other.values()):
        lines += [
            "*In italics:* published figures, measured on other test images of the same data set "
            "and mostly after training on the rest of it.",
            "",
        ]
    columns = ["group", "method", "AP at .50", "AP at .75", "AP", "PQ", "F1 at .50"]
    return lines + table_rows([*columns, "images", "objects"], rows) + _thresholds(table, methods)


def _thresholds(table: FigureTable, methods: Sequence[str]) -> list[str]:
    """AP by threshold, for groups with published figures."""
    lines: list[str] = []
    codes = list(range(50, 100, 5))
    for group, items in published_for(table.groups).items():
        curves = [item for item in items if item.ap]
        if not curves:
            continue
        rows = [
            [mode_title(m), *(table.cell(group, m, f"ap{c}", brief=True) for c in codes)]
            for m in methods
        ]
        for item in curves:
            values = [short(v) for v in item.ap]
            rows.append([f"*{item.method}*", *values, *[""] * (len(codes) - len(values))])
        lines += [f"AP by IoU threshold, {group.title}:", ""]
        lines += table_rows(["method", *(f".{c}" for c in codes)], rows)
    return lines


def _prompts(table: FigureTable) -> list[str]:
    if not {"points", "boxes"} & set(table.methods):
        return []
    rows = []
    for group in table.groups:
        cells = [
            table.cell(group, "points", "best_of_three"),
            table.cell(group, "points", "chosen"),
            table.cell(group, "boxes", "iou"),
            table.cell(group, "ellipse", "iou", brief=True),
        ]
        size = table.size(group, "points", "chosen")
        size = size if size[0] else table.size(group, "boxes", "iou")
        if any(cells):
            rows.append([group.title, *cells, *size])
    columns = ["group", "point, best of three", "point, chosen", "box", "ellipse in box (floor)"]
    return [
        "## One point, one box",
        "",
        "Mean IoU over objects. The point is the pixel farthest from the object's edge; chosen is "
        "the mask of the highest predicted IoU. The box is the tight one, answered by a single "
        "mask; the ellipse inscribed in it needs no model.",
        "",
        *table_rows([*columns, "images", "objects"], rows),
    ]


def _clicks(table: FigureTable) -> list[str]:
    if "clicks" not in table.methods:
        return []
    there = [c for c in CLICKS_SHOWN if any(("clicks", f"click{c}") == k[1:] for k in table.held)]
    rows = []
    for group in table.groups:
        if table.get(group, "clicks", "click1") is None:
            continue
        cells = [table.cell(group, "clicks", f"click{c}", brief=c not in (1, 3)) for c in there]
        for target in (85, 90):
            failed = table.get(group, "clicks", f"failed{target}")
            part = "" if failed is None else f" ({100 * failed.interval.value:.0f} %)"
            cells.append(table.cell(group, "clicks", f"noc{target}", brief=True) + part)
        rows.append([group.title, *cells])
    columns = [f"{c} click{'s' if c > 1 else ''}" for c in there]
    return [
        "## Corrective clicks",
        "",
        "Mean IoU after clicks, each in the middle of the largest error, with the last mask as "
        "prompt; and the number of clicks to an IoU of .85 and .90 (objects that never reach it "
        "count with all clicks; their share in brackets).",
        "",
        *table_rows(["group", *columns, "to .85", "to .90"], rows),
    ]


def _proposals(table: FigureTable, evaluation: Evaluation) -> list[str]:
    titles = {"proposals": "the model's own", "grid_proposals": "a grid of points"}
    held = [(g, m) for g in table.groups for m in titles if table.get(g, m, "proposals")]
    if not held:
        return []
    names = ["ar10", "ar100", "ar1000", "ar1000_small", "ar1000_medium", "ar1000_large"]
    rows = [
        [
            group.title,
            titles[method],
            *(table.cell(group, method, n, brief="_" in n) for n in names),
            table.cell(group, method, "proposals", brief=True),
        ]
        for group, method in held
    ]
    columns = ["group", "proposals", "AR@10", "AR@100", "AR@1000", "small", "medium", "large"]
    lines = [
        "## Proposals",
        "",
        "Average recall: the share of objects that one of the best 10, 100 or 1000 proposals "
        "covers, mean over IoU .50 to .95. Small is below 32 x 32 pixels, large from 96 x 96. "
        "An image: number of proposals, a mean over images.",
        "",
        *table_rows([*columns, "an image"], rows),
    ]
    rows = [
        [
            group.title,
            titles[method],
            frequency,
            *(table.cell(group, method, f"{name}_{frequency}") for name in names[:3]),
            *table.size(group, method, f"ar10_{frequency}"),
        ]
        for group, method in held
        for frequency in FREQUENCIES
        if table.get(group, method, f"ar10_{frequency}") is not None
    ]
    if rows:
        columns = ["group", "proposals", "classes", *columns[2:5], "images", "objects"]
        known = evaluation.header["classes"]
        lines += [
            f"By how common an object's class is: rare in at most {known['rare']} images, common "
            f"in at most {known['common']}, frequent in more.",
            "",
            *table_rows(columns, rows),
        ]
    return lines


def _calibration(evaluation: Evaluation) -> list[str]:
    held = calibrations(evaluation.records)
    if not held:
        return []
    rows = [
        [
            name, str(c.count), *(
                "" if np.isnan(v) else short(v)
                for v in (c.correlation, c.rank_correlation, c.expected_error, c.bias)
            ),
        ]
        for name, c in held.items()
    ]  # fmt: skip
    columns = ["protocol", "masks", "correlation", "rank correlation", "calibration error", "bias"]
    return [
        "## Predicted against true IoU",
        "",
        "Calibration error: mean distance between predicted and true IoU over ten bins of the "
        "prediction, weighted by their masks. Bias above 0: overconfident.",
        "",
        *table_rows(columns, rows),
    ]
