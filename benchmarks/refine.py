"""What refinement does to the labels of a classical method, and how well the review table sorts.

    python benchmarks/refine.py DATA [--write docs/benchmarks.md]
    python benchmarks/refine.py DATA --fit           # prompts and weights, from training images

Labels are Otsu's threshold and a watershed on nuclei of DSB2018, images cut to 512 pixels a side.
AP is TP / (TP + FP + FN), the mean over images. A label is wrong if its IoU with every true object
is below .5, or a better one takes that object. For each way to sort the refined labels of all
images: the share of the wrong ones in the first tenth, quarter and half of the table, and the area
under the ROC curve.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import table, write_between
from review import figures
from sets import entries
from similar import logistic

import napari_segment_anything as nsa
from napari_segment_anything.datasets import read_planes
from napari_segment_anything.engine import Views
from napari_segment_anything.measures import (
    average_precision,
    match,
    otsu_watershed,
    overlap_of_masks,
    overlap_table,
)
from napari_segment_anything.refining.review import doubts, evidence

KINDS = ("box", "mask", "box+mask")
AT = (0.5, 0.75, 0.9)
SIDE = 512
STEP = {"train": 12, "validation": 2}
MARKERS = ("<!-- refine:begin -->", "<!-- refine:end -->")


@dataclass(slots=True, eq=False)
class Rows:
    """The refined labels of all images, by column."""

    columns: dict[str, list[NDArray]] = field(default_factory=dict)
    wrong: list[NDArray] = field(default_factory=list)
    image: list[NDArray] = field(default_factory=list)

    def add(self, found: nsa.Refined, truth: NDArray) -> None:
        """Add the labels of an image."""
        masks = [(m.window.row, m.window.col, m.mask) for m in found.masks]
        right = match(overlap_of_masks(truth, masks), 0.5).found_index
        kinds = np.array([hint.kind for hint in found.hints], str)
        said = evidence(found.predicted_iou, found.stability, found.agreement, kinds)
        for name, values in said.items():
            self.columns.setdefault(name, []).append(values)
        self.wrong.append(~np.isin(np.arange(len(found)), right))
        self.image.append(np.full(len(found), len(self.image)))


def aps(labels: NDArray, truth: NDArray) -> NDArray:
    """AP at the thresholds, and the mean over .5 to .95."""
    overlaps = overlap_table(truth, labels)
    return np.append(average_precision(overlaps, AT), average_precision(overlaps).mean())


def main() -> None:
    """Command line entry."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    model = nsa.load_model(options.model)
    predictor = nsa.Predictor(model)
    part = "train" if options.fit else "validation"
    scores: dict[str, list[NDArray]] = {"before": [], **{kind: [] for kind in KINDS}}
    rows = {kind: Rows() for kind in KINDS}
    for entry in entries(options.data, "dsb2018", part)[:: STEP[part]]:
        plane = next(read_planes(entry))
        image, truth = plane.image[:SIDE, :SIDE], np.asarray(plane.labels)[:SIDE, :SIDE]
        given = otsu_watershed(image)
        if not given.any():
            continue
        scores["before"].append(aps(given, truth))
        views = Views(predictor, image)  # encoded once for all kinds
        print(len(scores["before"]), file=sys.stderr, flush=True)
        for kind in KINDS:
            found = nsa.refine(views, given, model, predictor=predictor, prompt=kind)
            scores[kind].append(aps(found.to_labels(), truth))
            rows[kind].add(found, truth)
    text = report(scores, rows)
    print(text)
    if options.fit:
        fit(rows)
    if options.write:
        write_between(options.write, MARKERS, text)


def fit(rows: dict[str, Rows]) -> None:
    """Print the weights of the review table."""
    for kind, each in rows.items():
        names = list(each.columns)
        columns = np.stack([np.concatenate(each.columns[name]) for name in names], axis=1)
        wrong = np.concatenate(each.wrong)
        slopes, bias = logistic(columns, wrong, np.ones(len(wrong)))
        print(kind, dict(zip(names, np.round(slopes, 2).tolist(), strict=True)), round(bias, 2))


def report(scores: dict[str, list[NDArray]], rows: dict[str, Rows]) -> str:
    """Both tables."""
    count = len(scores["before"])
    lines = []
    for name, values in scores.items():
        mean = [f"{value:.3f}" for value in np.mean(values, axis=0)]
        title = "Otsu + watershed" if name == "before" else f"refined, {name}"
        lines.append([title, *mean])
    heads = ["labels", *(f"AP at {at}" for at in AT), "mean AP .5 to .95"]
    text = f"{count} images.\n\n" + table(heads, lines)
    for kind, each in rows.items():
        wrong, image = np.concatenate(each.wrong), np.concatenate(each.image)
        held = {name: np.concatenate(values) for name, values in each.columns.items()}
        ways: dict[str, Callable[[], NDArray]] = {
            "predicted IoU": lambda held=held: held["score"],
            "stability": lambda held=held: held["stability"],
            "IoU of given and refined": lambda held=held: held["change"],
            "**the review table**": lambda held=held: doubts(held),
        }
        most = min(1.0, 0.1 / wrong.mean())
        text += (
            f"\n\nPrompted with {kind}: {len(wrong)} refined labels, {wrong.mean():.0%} wrong; the "
            f"first tenth can hold {most:.0%} of them.\n\n"
        )
        shown = [[name, *figures(way(), wrong, image)] for name, way in ways.items()]
        text += table(
            ["sorted by", "first 10 %", "25 %", "50 %", "AUC", "AUC within images"], shown
        )
    return text


if __name__ == "__main__":
    main()
