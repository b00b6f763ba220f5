"""Accuracy of following, linking and tracking, on real stacks and generated time-lapses.

python benchmarks/stacks.py DATA [--only NAME ...] [--objects N] [--model NAME] [--write]

propagate  each object is given by its true mask on its middle plane and followed in both
           directions; IoU over all its other planes. "copied" is the same mask on all planes of the
           object, a baseline that knows these planes.
between    each object of six planes or more is given by its true masks on two planes, a fifth of
           its extent from its ends; IoU over the planes between them. "interpolated" mixes the
           signed distances of the two masks, without looking at the image.
link       true sections, with new ids on every plane, are linked: the part of pairs of
           sections on neighbouring planes that are joined as they should be (F1).
segment    every object, without any prompt (`segment_stack` as it is by default; no spacing is
           given): AP of whole objects in 3-D, at IoU 0.5 and 0.75 (found / (found + missed + made
           up)), and F1 of sections. "by overlap" is everything mode on planes and linking, "perfect
           sections" is linking with every plane's true sections: what linking alone would reach.
           "watershed"
           is the floor: Otsu's threshold in 3-D, then a watershed from the peaks of the distance
           transform, with the polarity and spacing of peaks that suit the truth best.
track      generated time-lapses of dividing nuclei, some detections left out: links and
           divisions (F1).
edit       seconds to follow all objects, and to do it again after one was edited on one plane.

Real stacks are those of DATA with labels that persist along the first axis. Objects are spread
evenly over all that are on three planes or more.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from page import table, write_between
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

import napari_segment_anything as nsa
from napari_segment_anything.measures import counts, mask_iou, overlap_table
from napari_segment_anything.samples.generate_divisions import dividing_nuclei
from napari_segment_anything.stacks import link, track
from napari_segment_anything.stacks.masks import signed_distance

SETS = {
    "stardist": "stardist_demo/img3d.npz",
    "plantseg_1135": "plantseg_3d/1135_mini.npz",
    "plantseg_1136": "plantseg_3d/1136_mini.npz",
    "plantseg_1137": "plantseg_3d/1137_mini.npz",
    "ovule": "plantseg_3d/sample_ovule.npz",
    "chloroplasts": "plant_chloroplast_em/stack_quarter.npz",
    "cells_in_time": "usiigaci_t98g_timelapse/T98G_t01-16_half.npz",
}
TIME = ("cells_in_time",)
PARTS = ("propagate", "between", "link", "segment", "track", "edit")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKERS = ("<!-- stacks -->", "<!-- end of stacks -->")
TITLES = {
    "propagate": "Objects followed from their true mask on the middle one of their planes:",
    "between": "Objects given by their true masks on two planes, on the planes between them:",
    "edit": "One of these objects prompted for again, on another plane:",
    "link": "True sections joined again:",
    "segment": "Every object, without a prompt:",
    "track": "Generated time-lapses of dividing nuclei:",
}


def objects_of(labels: np.ndarray, count: int) -> dict[int, np.ndarray]:
    """Planes of some of the objects that occur on at least three."""
    planes = {int(i): np.flatnonzero((labels == i).any((1, 2))) for i in np.unique(labels) if i}
    good = [i for i, found in planes.items() if len(found) >= 3]
    spread = np.unique(np.linspace(0, len(good) - 1, min(count, len(good))).astype(int))
    return {good[i]: planes[good[i]] for i in spread}


def axes_of(timed: bool) -> str:
    """Axes of a stack in time or depth."""
    return "TYX" if timed else "ZYX"


def propagation(
    image: np.ndarray, labels: np.ndarray, model: Any, count: int, timed: bool
) -> tuple[dict[str, float], Any, dict[int, Any]]:
    """Follow objects from their middle planes."""
    objects = objects_of(labels, count)
    seeds: dict[int, dict[int, np.ndarray]] = {}
    for number, planes in objects.items():
        middle = int(planes[len(planes) // 2])
        seeds.setdefault(middle, {})[number] = labels[middle] == number
    began = time.perf_counter()
    result = nsa.propagate(image, seeds, model, axes=axes_of(timed))
    seconds = time.perf_counter() - began
    found, copied, ends = [], [], []
    for number, planes in objects.items():
        middle = int(planes[len(planes) // 2])
        truth = labels == number
        mine = np.stack([result.mask(number, plane) for plane in range(len(labels))])
        same = np.zeros_like(truth)
        same[planes[0] : planes[-1] + 1] = truth[middle]
        for volume in (truth, mine, same):
            volume[middle] = False
        found.append(mask_iou(mine, truth))
        copied.append(mask_iou(same, truth))
        ends += [
            abs(result.planes[number][0] - planes[0]),
            abs(result.planes[number][-1] - planes[-1]),
        ]
    figures = {
        "objects": len(objects),
        "mean IoU": float(np.mean(found)),
        "median IoU": float(np.median(found)),
        "IoU of 0.5": float(np.mean(np.array(found) >= 0.5)),
        "copied": float(np.mean(copied)),
        "ends off by (median)": float(np.median(ends)),
        "seconds": seconds,
    }
    return figures, result, seeds


def between(
    image: np.ndarray, labels: np.ndarray, model: Any, count: int, timed: bool
) -> dict[str, float]:
    """Follow objects between two planes."""
    ends, seeds = {}, {}
    for number, planes in objects_of(labels, count).items():
        if len(planes) < 6:
            continue
        ends[number] = tuple(int(planes[int(len(planes) * share)]) for share in (0.2, 0.8))
        for plane in ends[number]:
            seeds.setdefault(plane, {})[number] = labels[plane] == number
    result = nsa.propagate(image, seeds, model, axes=axes_of(timed))
    found, mixed = [], []
    for number, (first, last) in ends.items():
        inner = range(first + 1, last)
        truth = labels[inner] == number
        found.append(mask_iou(np.stack([result.mask(number, plane) for plane in inner]), truth))
        one, other = (signed_distance(labels[plane] == number) for plane in (first, last))
        shares = [(plane - first) / (last - first) for plane in inner]
        mixed.append(mask_iou(np.stack([(1 - k) * one + k * other > 0 for k in shares]), truth))
    return {
        "objects": len(ends),
        "mean IoU": float(np.mean(found)),
        "IoU of 0.5": float(np.mean(np.array(found) >= 0.5)),
        "interpolated": float(np.mean(mixed)),
    }


def editing(
    image: np.ndarray, labels: np.ndarray, model: Any, first: Any, seeds: Any, timed: bool
) -> dict[str, float]:
    """Add a prompt for one object, two planes from its end."""
    number = max(first.planes, key=lambda i: len(first.planes[i]))
    plane = first.planes[number][-3]
    edited = {where: dict(given) for where, given in seeds.items()}
    mask = labels[plane] == number
    mask = mask if mask.any() else first.mask(number, plane)
    edited.setdefault(plane, {})[number] = mask
    began = time.perf_counter()
    second = nsa.propagate(image, edited, model, previous=first, axes=axes_of(timed))
    return {
        "planes of the object": len(first.planes[number]),
        "planes decoded again": len(second.decoded),
        "seconds": time.perf_counter() - began,
    }


def shuffled(labels: np.ndarray, rng: np.random.Generator, lost: float = 0.0) -> np.ndarray:
    """Give objects new ids on every plane, and leave some out."""
    out = np.zeros(labels.shape, np.int32)
    for plane, true in zip(out, labels, strict=True):
        table = np.zeros(int(labels.max()) + 1, np.int32)
        table[1:] = rng.permutation(int(labels.max())) + 1
        table[1:][rng.random(len(table) - 1) < lost] = 0
        plane[:] = table[true]
    return out


def joined(labels: np.ndarray, truth: np.ndarray) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of neighbouring sections with one id, as plane and true ids."""
    last: dict[int, tuple[int, int]] = {}
    pairs = set()
    for plane, (mine, true) in enumerate(zip(labels, truth, strict=True)):
        inside = mine > 0
        keys = np.unique(np.stack([mine[inside], true[inside]]), axis=1)
        for number, section in keys.T.tolist():
            here = (plane, section)
            if number in last:
                pairs.add((last[number], here))
            last[number] = here
    return pairs


def f1(true: set, found: set) -> float:
    """Harmonic mean of precision and recall."""
    return 2 * len(true & found) / max(len(true) + len(found), 1)


def linking(labels: np.ndarray, timed: bool) -> dict[str, float]:
    """Link true sections."""
    planes = shuffled(labels, np.random.default_rng(0))
    began = time.perf_counter()
    options = {"min_extent": 1, "fill_gaps": False}
    found = track(planes, divisions=False) if timed else link(planes, **options)
    seconds = time.perf_counter() - began
    return {
        "F1 of links": f1(joined(labels, labels), joined(found.labels, labels)),
        "objects": len(found.table["label"]),
        "true objects": len(np.unique(labels)) - 1,
        "seconds": seconds,
    }


def segmenting(image: np.ndarray, labels: np.ndarray, model: Any, timed: bool) -> dict[str, float]:
    """Every object, compared with linking, with perfect sections, and with a watershed."""
    began = time.perf_counter()
    result = nsa.segment_stack(image, model, axes=axes_of(timed))
    seconds = time.perf_counter() - began
    how = "track" if timed else "overlap"
    linked = nsa.segment_stack(image, model, axes=axes_of(timed), link=how)
    planes = shuffled(labels, np.random.default_rng(0))
    perfect = track(planes, divisions=False) if timed else link(planes)
    sections = found = true = 0
    for mine, plane in zip(result.labels, labels, strict=True):
        table = overlap_table(plane, mine)
        sections += int((table.iou >= 0.5).sum())
        found, true = found + table.found_count, true + table.true_count
    figures = {}
    for title, volume in (
        ("", result.labels),
        ("by overlap ", linked.labels),
        ("perfect sections ", perfect.labels),
        ("watershed ", watershed_3d(image, labels)),
    ):
        whole = overlap_table(labels, volume)
        for least in (0.5, 0.75):
            figures[f"{title}AP@{least:.2f}".replace("0.", ".")] = counts(whole, least).ap
    return {
        **figures,
        "F1 of sections": 2 * sections / max(found + true, 1),
        "found": len(result),
        "true": len(np.unique(labels)) - 1,
        "seconds": seconds,
    }


def watershed_3d(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Otsu's threshold, then a watershed from the peaks of the distance transform.

    The polarity and the smallest distance of peaks are those that match the truth best.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1)
    best, kept = -1.0, np.zeros(image.shape, np.int32)
    for inside in (smooth > threshold_otsu(smooth), smooth <= threshold_otsu(smooth)):
        distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1)
        for apart in (3, 6, 12):
            peaks = peak_local_max(distance, min_distance=apart, labels=inside.astype(np.int32))
            if not len(peaks):
                continue
            seeds = np.zeros(image.shape, np.int32)
            seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
            found = watershed(-distance, seeds, mask=inside)
            score = counts(overlap_table(labels, found)).ap
            if score > best:
                best, kept = score, found
    return kept


def tracking(lost: float, movies: int = 6) -> dict[str, float]:
    """Track generated dividing nuclei."""
    links = {"true": 0, "found": 0, "both": 0}
    births = dict(links)
    for seed in range(movies):
        rng = np.random.default_rng(seed)
        _, truth, lineage = dividing_nuclei((40, 256, 256), rng)
        frames = shuffled(truth, rng, lost)
        seen = np.where(frames > 0, truth, 0)
        tracks = track(frames)
        count(links, joined(seen, seen), joined(tracks.labels, truth))
        families: dict[int, set[int]] = {}
        for child, (parent,) in lineage.items():
            families.setdefault(parent, set()).add(child)
        true = {frozenset(family) for family in families.values() if len(family) == 2}
        made = set()
        for children in tracks.divisions.values():
            first = [tracks.data[tracks.data[:, 0] == child][0] for child in children]
            places = [tuple(int(v) for v in np.rint(row[1:])) for row in first]
            made.add(frozenset(int(truth[place]) for place in places))
        count(births, true, made)
    return {
        "detections left out": lost,
        "F1 of links": 2 * links["both"] / (links["true"] + links["found"]),
        "F1 of divisions": 2 * births["both"] / (births["true"] + births["found"]),
        "divisions": births["true"],
    }


def count(sums: dict[str, int], true: set, found: set) -> None:
    """Add up."""
    sums["true"] += len(true)
    sums["found"] += len(found)
    sums["both"] += len(true & found)


def page_text(figures: dict[str, dict[str, Any]]) -> str:
    """A table for each part."""
    blocks = []
    for part, title in TITLES.items():
        rows = {n.split(", ", 1)[1]: f for n, f in figures.items() if n.startswith(f"{part}, ")}
        if not rows:
            continue
        names = list(next(iter(rows.values())))
        cells = [
            (name, *(f"{found[k]:.3f}" if found[k] % 1 else f"{found[k]:.0f}" for k in names))
            for name, found in rows.items()
        ]
        blocks.append(f"{title}\n\n{table(('', *names), cells)}")
    return "\n\n".join(blocks)


def main() -> None:
    """Run the parts that were asked for, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="parts and sets; all by default")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    chosen = parser.parse_args()
    parts = [part for part in PARTS if part in chosen.only] or list(PARTS)
    names = [name for name in SETS if name in chosen.only] or list(SETS)
    model = nsa.load_model(chosen.model)
    figures: dict[str, dict[str, Any]] = {}

    def tell(title: str, found: dict[str, Any]) -> None:
        figures[title] = found
        text = ", ".join(f"{k} {v:.3g}" for k, v in found.items())
        print(f"{title}: {text}", flush=True)
        if chosen.json is not None:
            chosen.json.write_text(json.dumps(figures, indent=1))

    if "track" in parts:
        for lost in (0.0, 0.03):
            tell(f"track, generated ({lost:.0%} lost)", tracking(lost))
    for name in names:
        with np.load(chosen.data / SETS[name]) as held:
            image, labels = held["image"], np.maximum(held["labels"].astype(np.int64), 0)
        if "link" in parts:
            tell(f"link, {name}", linking(labels, name in TIME))
        if "propagate" in parts or "edit" in parts:
            found, result, seeds = propagation(image, labels, model, chosen.objects, name in TIME)
            tell(f"propagate, {name}", found)
            if "edit" in parts:
                tell(f"edit, {name}", editing(image, labels, model, result, seeds, name in TIME))
        if "between" in parts:
            tell(f"between, {name}", between(image, labels, model, chosen.objects, name in TIME))
        if "segment" in parts:
            tell(f"segment, {name}", segmenting(image, labels, model, name in TIME))
    if chosen.write:
        write_between(PAGE, MARKERS, page_text(figures))


if __name__ == "__main__":
    main()
