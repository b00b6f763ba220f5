"""Gain and cost of averaging dense maps over symmetric views.

    python benchmarks/symmetries.py DATA

Every fourth held-out fluorescence image of DSB2018, everything mode's "instances": AP at .50, mean
AP, and processor seconds an image, for 1, 2 and 8 views.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from page import table
from sets import entries
from thresholds import precision

import napari_segment_anything as nsa
from napari_segment_anything.datasets import read_planes


def main() -> None:
    """Command line entry."""
    data = Path(sys.argv[1])
    planes = [
        plane
        for entry in entries(data, "dsb2018", "validation", {"modality": "fluo"})[::4]
        for plane in read_planes(entry)
    ]
    model = nsa.load_model("default")
    views = (1, 2, 8)
    scores: dict[int, list[tuple[float, float]]] = {count: [] for count in views}
    seconds = dict.fromkeys(views, 0.0)
    for plane in planes:
        for count in views:
            began = time.process_time()
            found = nsa.segment_everything(plane.image, model, "instances", symmetries=count)
            seconds[count] += time.process_time() - began
            scores[count].append(precision(plane.labels, found.to_labels()))
    rows = []
    for count in views:
        ap50, mean = np.mean(scores[count], 0)
        rows.append((count, f"{ap50:.3f}", f"{mean:.3f}", f"{seconds[count] / len(planes):.2f}"))
    print(table(("symmetries", "AP at .50", "mean AP", "processor seconds per image"), rows))


if __name__ == "__main__":
    main()
