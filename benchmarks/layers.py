"""Compare rules that choose the crop layer of everything mode's "instances", on training images.

    python benchmarks/layers.py DATA

Every image is segmented once with all its crop layers. For each layer, AP is that of its masks
alone. A rule picks a layer from the area and score of the masks; the table compares the rule in
use with others of its kind, and with the layer that is in truth the best.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page import table
from thresholds import precision, training_images

import napari_segment_anything as nsa
from napari_segment_anything.automatic.filtering import Reason, layer_evidence
from napari_segment_anything.automatic.table import CandidateTable

Rule = Callable[[NDArray, NDArray, int], float]


@dataclass(frozen=True, slots=True)
class Layer:
    """What one crop layer found: sizes and scores of its masks, AP at .50 and mean AP."""

    number: int
    area: NDArray
    score: NDArray
    precision: tuple[float, float]


def power_rule(size: float, power: float, doubtful: float, reduced: float) -> Rule:
    """Area to a power, times how far the score lies above a threshold to another."""

    def evidence(area: NDArray, score: NDArray, layer: int) -> float:
        total = float((area**size * np.maximum(score - doubtful, 0) ** power).sum())
        return total / reduced if layer < 0 else total

    return evidence


RULES: dict[str, Rule] = {
    "the rule in use": layer_evidence,
    "area x score^2": power_rule(1, 2, 0, 1.5),
    "area x (score - .5)^3": power_rule(1, 3, 0.5, 2),
    "area^.75 x (score - .5)^4": power_rule(0.75, 4, 0.5, 2),
    "side x (score - .5)^2": power_rule(0.5, 2, 0.5, 2),
    "side x (score - .5)^4": power_rule(0.5, 4, 0.5, 2),
    "area^.25 x (score - .6)^3": power_rule(0.25, 3, 0.6, 2),
}


def layers_of(found: CandidateTable, labels: NDArray) -> list[Layer]:
    """Each crop layer of a segmented image by itself."""
    candidates = found.candidates
    number = np.array([crop.layer for crop in candidates.crops], int)[candidates.crop]
    out = []
    for layer in np.unique(number):
        here = np.flatnonzero(number == layer)
        columns = {
            column.name: value[here]
            for column in fields(candidates)
            if isinstance(value := getattr(candidates, column.name), np.ndarray)
        }
        masks = tuple(candidates.masks[i] for i in here)
        alone = replace(found, candidates=replace(candidates, masks=masks, **columns))
        alone = alone.refilter(crop_choice="all")
        kept = alone.reason == Reason.KEPT
        area, score = columns["area"][kept], columns["predicted_iou"][kept]
        out.append(Layer(int(layer), area, score, precision(labels, alone.to_labels())))
    return out


def main() -> None:
    """Command line entry."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    model = nsa.load_model(options.model)
    images: dict[str, list[list[Layer]]] = {}
    for title, image, labels in training_images(options.data):
        layers = layers_of(nsa.segment_everything(image, model, "instances"), labels)
        if layers:
            images.setdefault(title, []).append(layers)
    rows = []
    for name, rule in (*RULES.items(), ("the best layer", None)):
        means = []
        for found in images.values():
            chosen = [
                max(
                    layers,
                    key=lambda x: rule(x.area, x.score, x.number) if rule else x.precision[1],
                )
                for layers in found
            ]
            means.append(np.mean([layer.precision for layer in chosen], 0))
        cells = [f"{a:.3f} / {b:.3f}" for a, b in (*means, np.mean(means, 0))]
        rows.append((name, *cells))
    print(table(("AP at .50 / mean AP", *images, "mean"), rows))


if __name__ == "__main__":
    main()
