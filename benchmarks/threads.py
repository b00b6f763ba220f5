"""Effect of the number of threads: rounding differences, and their effect on masks.

Run: python benchmarks/threads.py --threads 1 2
"""

from __future__ import annotations

import argparse

import numpy as np
import page
import torch

from napari_segment_anything import load_model
from napari_segment_anything.automatic import segment_everything
from napari_segment_anything.samples import sample

NAMES = ("coins", "nuclei", "em_membranes", "cells_phase")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs=2, default=(1, 2))
    parser.add_argument("--samples", nargs="+", default=NAMES)
    parser.add_argument("--modes", nargs="+", default=("proposals", "instances"))
    parser.add_argument("--side", type=int, default=256)
    arguments = parser.parse_args()
    columns = ("sample", "precision", "mode", "largest change of a score", "objects")
    print(page.table((*columns, "pixels changed"), ()))
    for name in arguments.samples:
        found = sample(name)
        image = np.asarray(found.image)
        while image.ndim > 2 and not found.rgb:
            image = image[len(image) // 2]
        image = image[: arguments.side, : arguments.side]
        for precision in ("fp32", "bf16"):
            model = load_model("default", "cpu", precision)
            for mode in arguments.modes:
                tables = []
                for threads in arguments.threads:
                    torch.set_num_threads(threads)
                    tables.append(segment_everything(image, model, mode))
                a, b = tables
                objects = f"{len(a.masks)}, {len(b.masks)}"
                change = "-"
                if len(a.scores) == len(b.scores):
                    change = f"{np.abs(np.asarray(a.scores) - b.scores).max(initial=0):.1e}"
                pixels = np.mean(a.to_labels() != b.to_labels())
                cells = (name, precision, mode, change, objects, f"{pixels:.3%}")
                print(page.row(cells), flush=True)


if __name__ == "__main__":
    main()
