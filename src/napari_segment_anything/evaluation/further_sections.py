"""Sections of the report for the protocols that are run when they are named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .figure_table import FigureTable, number, short, table_rows
from .group_comparison import TITLES, GroupDifference, weaknesses
from .summary import EDGE_MEASURES, POINT_FLOORS, POINT_KINDS


def single_point_section(table: FigureTable) -> list[str]:
    """One point, the model beside what needs none."""
    if "single_point" not in table.methods:
        return []
    lines = [
        "## A single point, beside what needs no model",
        "",
        "Mean IoU over objects: of the mask with the highest predicted IoU, of the best of the "
        "three, of a magic wand (a region of similar brightness around the point), and of the "
        "object of Otsu's threshold and a watershed that the point lies in.",
        "",
    ]
    titles = {"centre": "the pixel farthest from the edge", "random": "any pixel of the object"}
    for kind in POINT_KINDS:
        names = [f"{kind}_{name}" for name in ("chosen", "best", *POINT_FLOORS)]
        rows = [
            [
                group.title,
                *(table.cell(group, "single_point", name) for name in names),
                table.cell(group, "single_point", f"{kind}_chosen_minus_wand"),
                *table.size(group, "single_point", names[0]),
            ]
            for group in table.groups
            if table.get(group, "single_point", names[0]) is not None
        ]
        columns = ["group", "chosen", "best of three", "magic wand", "Otsu + watershed"]
        columns += ["chosen minus wand", "images", "objects"]
        lines += [f"The point is {titles[kind]}:", "", *table_rows(columns, rows)]
    return lines


def edge_section(table: FigureTable) -> list[str]:
    """Edges of masks, of Sobel and of Canny."""
    titles = {"edges": "masks of a grid of points", "edges:sobel": "Sobel", "edges:canny": "Canny"}
    rows = [
        [
            group.title,
            titles[method],
            *(table.cell(group, method, name, brief=name == "r50") for name in EDGE_MEASURES),
            str(figure.images),
        ]
        for group in table.groups
        for method in titles
        if (figure := table.get(group, method, "ods")) is not None
    ]
    if not rows:
        return []
    return [
        "## Edges",
        "",
        "Thinned edges against boundaries, matched one to one within .0075 of the diagonal. ODS: "
        "F1 at the best threshold for all images; OIS: at each image's own; AP: area under "
        "precision over recall; R50: largest recall at a precision of .5.",
        "",
        *table_rows(["group", "edges", "ODS", "OIS", "AP", "R50", "images"], rows),
    ]


def instance_section(table: FigureTable) -> list[str]:
    """Masks from a detector's boxes."""
    names = ["mask_ap", "mask_ap50", "mask_ap75"]
    names += [f"mask_ap_{size}" for size in ("small", "medium", "large")]
    rows = [
        [
            group.title,
            *(table.cell(group, "instances", name) for name in names),
            *table.size(group, "instances", "mask_ap"),
        ]
        for group in table.groups
        if table.get(group, "instances", "mask_ap") is not None
    ]
    if not rows:
        return []
    columns = ["group", "AP", "AP at .50", "AP at .75", "small", "medium", "large"]
    return [
        "## Masks from a detector's boxes",
        "",
        "Mask AP by COCO's rules (pycocotools), all objects as one class, up to 2000 detections an "
        "image.",
        "",
        *table_rows([*columns, "images", "objects"], rows),
    ]


def comparison_section(differences: Sequence[GroupDifference]) -> list[str]:
    """Groups of images, each against all others, and where the model is worse."""
    if not differences:
        return []
    rows = [
        [
            each.column,
            each.value,
            TITLES[each.method.partition(":")[0]],
            number(each.interval),
            "" if np.isnan(each.rest) else short(each.rest),
            "" if np.isnan(each.p) else f"{each.p:.2g}",
            str(each.interval.count),
        ]
        for each in differences
    ]
    columns = ["column", "group", "measure", "mean", "other images", "p, corrected", "files"]
    worse = weaknesses(differences)
    said = [f"- {sentence}." for sentence in worse] or [
        "In no group is the model worse than in the others by more than chance."
    ]
    return [
        "## Groups compared",
        "",
        "Means over image files. p is the probability of such a difference to all other images by "
        "chance (permutation test over files, corrected for the number of comparisons by Holm's "
        "method); groups of one file have none.",
        "",
        *table_rows(columns, rows),
        "Where it is worse:",
        "",
        *said,
        "",
    ]
