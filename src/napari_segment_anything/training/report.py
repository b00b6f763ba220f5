"""Measures of a model file on the held-out images, per set, beside two floors; CSV out.

``python -m napari_segment_anything.training.report MODEL DATA OUTPUT.csv``. Everything is
measured on the grid of the dense head (half the frame); the floors are what no network is needed
for: Otsu's threshold with a distance watershed, and the ellipse inscribed in the true box.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from ..automatic.dense import decode_dense
from ..checkpoints import load_checkpoint
from .data import LabelledImage
from .sets import load_sets
from .validation import counts_at, dense_maps, frame_of, matches, prompt_scores

_KEPT = ("point", "point_best", "box", "click1", "click2", "click3", "iou_error")


def otsu_instances(image: NDArray[np.float32]) -> NDArray[np.int32]:
    """The floor of everything mode: Otsu, the rarer side, watershed on the distance.

    Parameters
    ----------
    image : ndarray
        (h, w) gray.
    """
    smooth = ndimage.gaussian_filter(image, 1)
    if float(np.ptp(smooth)) == 0:
        return np.zeros(image.shape, np.int32)
    mask = smooth > threshold_otsu(smooth)
    if mask.mean() > 0.5:
        mask = ~mask
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(mask))
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1)
    peaks = peak_local_max(distance, min_distance=4, labels=mask.astype(int), exclude_border=False)
    seeds = np.zeros(image.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=mask).astype(np.int32)


def ellipse_iou(labels: NDArray[np.integer]) -> float:
    """The floor of box prompts: mean IoU of objects with the ellipse in their box."""
    values = []
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        mask = labels[where] == number
        if mask.sum() < 10:
            continue
        rows, cols = mask.shape
        r = (np.arange(rows) + 0.5) / rows * 2 - 1
        c = (np.arange(cols) + 0.5) / cols * 2 - 1
        ellipse = r[:, None] ** 2 + c[None] ** 2 <= 1
        values.append((mask & ellipse).sum() / (mask | ellipse).sum())
    return float(np.mean(values)) if values else float("nan")


def average_precision(iou: NDArray[np.float64]) -> tuple[float, float]:
    """AP = TP / (TP + FP + FN) at IoU .50, and its mean over .50, .55, ..., .95."""
    scores = []
    for threshold in np.arange(0.5, 0.96, 0.05):
        hit, extra, missed = counts_at(iou, threshold)
        total = hit + extra + missed
        scores.append(hit / total if total else 1.0)
    return scores[0], float(np.mean(scores))


def measure(
    network: Any, source: LabelledImage, thresholds: dict[str, float], objects: int
) -> dict[str, float]:
    """All measures of one image."""
    maps, labels = dense_maps(network.image_encoder, source)
    found = decode_dense(maps, **thresholds).labels
    pixels, _ = frame_of(source)
    gray = pixels.mean(0).numpy()[::2, ::2][: labels.shape[0], : labels.shape[1]]
    ap50, ap = average_precision(matches(labels, found))
    floor50, floor = average_precision(matches(labels, otsu_instances(gray)))
    row = {"ap50": ap50, "ap": ap, "otsu_ap50": floor50, "otsu_ap": floor}
    row["ellipse_box"] = ellipse_iou(labels)
    if (np.bincount(labels.ravel())[1:] >= 10).any():
        prompted = prompt_scores(network, [source], objects=objects)
        row |= {name: prompted[name] for name in _KEPT}
    return row


def report(model: str, data: Path, output: Path, objects: int = 8, every: int = 1) -> None:
    """Measure every held-out image, and write the mean of each set and of all."""
    checkpoint = load_checkpoint(model)
    defaults = dict(checkpoint.metadata.get("everything", {}).get("instances", {}))
    minimum = int(defaults.pop("min_area", 1))
    defaults = {k: v for k, v in defaults.items() if k.endswith("thresh")}
    rows: dict[str, list[dict[str, float]]] = {}
    for source in load_sets(data, "validation")[::every]:
        row = measure(
            checkpoint.network, source, defaults | {"min_cells": max(minimum // 4, 1)}, objects
        )
        groups = [source.group, "all"]
        groups += ["dsb2018"] if source.group.startswith("dsb2018") else []
        for group in groups:
            rows.setdefault(group, []).append(row)
    names = ["ap50", "ap", "otsu_ap50", "otsu_ap", "ellipse_box", *_KEPT]
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["set", "images", *names])
        for group, measured in sorted(rows.items()):
            means = [np.mean([r[n] for r in measured if n in r] or [np.nan]) for n in names]
            writer.writerow([group, len(measured), *(f"{value:.3f}" for value in means)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--every", type=int, default=1, help="measure every n-th image")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    report(options.model, options.data, options.output, options.objects, options.every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
