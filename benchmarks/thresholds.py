"""Compare thresholds of everything mode's "instances" on training images.

    python benchmarks/thresholds.py DATA                      # the default's and similar ones
    python benchmarks/thresholds.py DATA --try foreground_thresh=0.65,merge_thresh=0.7

Thresholds are chosen on training images, since held-out images are for the reported figures. Prints
AP at .50 and mean AP of some images of each set for each choice.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from page import table
from sets import entries

import napari_segment_anything as nsa
from napari_segment_anything.datasets import read_planes
from napari_segment_anything.engine import EmbeddingCache
from napari_segment_anything.measures import average_precision, overlap_table

SETS = {
    "dsb2018 fluo": 28,
    "dsb2018 stain": 10,
    "bbbc039": 3,
    "usiigaci_t98g": 4,
    "axon_tem": 3,
    "bbbc010_worms": 4,
    "histolytics_he_weak": 1,
    "pebbles_photo": 2,
    "nasa_superalloy": 2,
}
CHOICES: list[dict[str, Any]] = [
    {},
    {"foreground_thresh": 0.5},
    {"foreground_thresh": 0.65},
    {"merge_thresh": 0.6},
    {"merge_thresh": 0.8},
    {"peak_nms_thresh": 0.5},
    {"peak_thresh": 0.35},
]
SIDE = 640  # larger images are cropped


def training_images(data: Path) -> list[tuple[str, Any, Any]]:
    """Set, image and labels of some images of each set."""
    rng = np.random.default_rng(5)
    found = []
    for title, count in SETS.items():
        name, _, kind = title.partition(" ")
        known = entries(data, name, "train", {"modality": kind} if kind else None)
        for index in sorted(rng.choice(len(known), min(count, len(known)), replace=False)):
            for plane in read_planes(known[index]):
                found.append((title, plane.image[:SIDE, :SIDE], plane.labels[:SIDE, :SIDE]))
    return found


def precision(labels: Any, found: Any) -> tuple[float, float]:
    """AP at IoU .50, and its mean over .50, .55 ... .95."""
    values = average_precision(overlap_table(labels, found))
    return float(values[0]), float(values.mean())


def main() -> None:
    """Command line entry."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--try", dest="tries", nargs="+", metavar="NAME=VALUE,...")
    options = parser.parse_args()
    choices = CHOICES
    if options.tries:
        pairs = [[item.split("=") for item in text.split(",")] for text in options.tries]
        choices = [{name: float(value) for name, value in each} for each in pairs]
    predictor = nsa.Predictor(nsa.load_model(options.model), EmbeddingCache())
    scores: dict[int, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for title, image, labels in training_images(options.data):
        for number, values in enumerate(choices):
            found = nsa.segment_everything(
                image, predictor.model, "instances", predictor=predictor, **values
            )
            scores[number][title].append(precision(labels, found.to_labels()))
    rows = []
    for number, values in enumerate(choices):
        means = [np.mean(scores[number][title], 0) for title in SETS]
        cells = [f"{a:.3f} / {b:.3f}" for a, b in (*means, np.mean(means, 0))]
        name = ", ".join(f"{k} {v:g}" for k, v in values.items()) or "as the model carries"
        rows.append((name, *cells))
    print(table(("", *SETS, "mean"), rows))


if __name__ == "__main__":
    main()
