"""What averaging dense maps over symmetric views gains, and what it costs.

    python benchmarks/symmetries.py DATA

Every fourth held-out fluorescence image of DSB2018, everything mode's "instances": AP at .50, mean
AP, and processor seconds an image, for 1, 2 and 8 views.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from thresholds import precision

import napari_segment_anything as nsa
from napari_segment_anything.training.sets import SPLIT_FILE, read_set


def main() -> None:
    """Command line entry."""
    data = Path(sys.argv[1])
    index = json.loads((data / "index.json").read_text())["dsb2018"]
    fluo = {item["file"] for item in index if item["modality"] == "fluo"}
    split = sorted(json.loads(SPLIT_FILE.read_text())["dsb2018"].items())
    files = [f for f, entry in split if entry["part"] == "validation" and f in fluo][::4]
    model = nsa.load_model("default")
    views = (1, 2, 8)
    scores: dict[int, list[tuple[float, float]]] = {count: [] for count in views}
    seconds = dict.fromkeys(views, 0.0)
    for file, _, image, labels, _ in read_set(data / "dsb2018"):
        for count in views if file in files else ():
            began = time.process_time()
            table = nsa.segment_everything(image, model, "instances", symmetries=count)
            seconds[count] += time.process_time() - began
            scores[count].append(precision(labels, table.to_labels()))
    print("| symmetries | AP at .50 | mean AP | processor seconds an image |\n|---|---|---|---|")
    for count in views:
        ap50, mean = np.mean(scores[count], 0)
        print(f"| {count} | {ap50:.3f} | {mean:.3f} | {seconds[count] / len(files):.2f} |")


if __name__ == "__main__":
    main()
