"""Figures from records: means with confidence intervals, for all images and for groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.classes import FREQUENCIES
from ..measures import (
    THRESHOLDS,
    Calibration,
    Counts,
    Interval,
    bootstrap,
    bootstrap_statistic,
    calibrate,
    recall_at,
)
from ..measures.edges import EdgeCounts, edge_ap, ods, ois, recall_at_half

CLICKS_SHOWN = (1, 3, 5, 9)
CLICK_TARGETS = (0.85, 0.90)
# COCO's bounds of small, medium and large objects, in pixels
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}
PROPOSALS = ("proposals", "grid_proposals")
POINT_KINDS = ("centre", "random")
POINT_FLOORS = ("wand", "floor")
EDGE_SOURCES = ("model", "sobel", "canny")
EDGE_MEASURES = {"ods": ods, "ois": ois, "edge_ap": edge_ap, "r50": recall_at_half}

Record = dict[str, Any]
_Pair = tuple[float, float]
_Pairs = dict[str, _Pair]  # numerator and denominator of each image


@dataclass(frozen=True, slots=True)
class Group:
    """A group of images.

    Parameters
    ----------
    column, value : str
        What they have in common, such as "set" and "dsb2018"; "all" and "" for all images.
    """

    column: str
    value: str

    @property
    def title(self) -> str:
        """Title for tables and plots."""
        return self.value or "all images"


ALL = Group("all", "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report.

    Parameters
    ----------
    group : Group
        The images.
    method : str
        Protocol, and what was run: "points", "everything:grid", "floors", "ellipse".
    measure : str
        Such as "ap50".
    interval : Interval
        Value with its confidence interval.
    images, objects : int
        Number of images (or planes of stacks) and of true objects.
    """

    group: Group
    method: str
    measure: str
    interval: Interval
    images: int
    objects: int


def groups_of(records: Iterable[Record]) -> dict[Group, set[str]]:
    """Group images: all, by set, and by the values of columns.

    Every value of a column gives a group in each set with several values, and a group over all sets
    if several have it.
    """
    groups: dict[Group, set[str]] = {ALL: set()}
    values: dict[tuple[str, str], dict[str, set[str]]] = {}
    for record in records:
        image, name = record["image"], record["set"]
        groups[ALL].add(image)
        groups.setdefault(Group("set", name), set()).add(image)
        for column, value in record["columns"].items():
            values.setdefault((column, value), {}).setdefault(name, set()).add(image)
    for (column, value), sets in sorted(values.items()):
        for name, images in sorted(sets.items()):
            if images != groups[Group("set", name)]:
                groups[Group(f"set, {column}", f"{name}, {value}")] = images
        if len(sets) > 1:
            groups[Group(column, f"{column} {value}")] = set().union(*sets.values())
    if sum(group.column == "set" for group in groups) == 1:
        groups = {group: images for group, images in groups.items() if group.column != "all"}
    return dict(sorted(groups.items(), key=_rank))


def _rank(item: tuple[Group, set[str]]) -> tuple[int, str]:
    group = item[0]
    first = 0 if group.column == "all" else 1 if group.column.startswith("set") else 2
    return first, group.value


def summarise(records: Sequence[Record], *, resamples: int = 2000, seed: int = 0) -> list[Figure]:
    """All figures of an evaluation.

    Figures of prompts pool the objects of all images. Figures of everything mode are means over
    images; those called ``_pooled`` sum the counts over images first. Intervals come from
    resampling image files, with all planes of a stack together.

    Parameters
    ----------
    records : sequence of dict
        From `Evaluation`.
    resamples, seed : int
        As for `bootstrap`.
    """
    figures: list[Figure] = []
    by_method: dict[str, list[Record]] = {}
    for record in records:
        by_method.setdefault(record["protocol"], []).append(record)
    files = {record["image"]: record["file"] for record in records}
    for group, images in groups_of(records).items():
        for method, held in by_method.items():
            mine = [record for record in held if record["image"] in images]
            if method == "edges":
                figures += _edge_figures(group, mine, resamples, seed)
                continue
            if method == "instances":
                figures += _instance_figures(group, mine)
                continue
            for name, measure, pairs, objects in _measures(method, mine):
                parts, wholes = _by_file(pairs, files)
                interval = bootstrap(parts, wholes, resamples=resamples, seed=seed)
                figures.append(Figure(group, name, measure, interval, len(pairs), objects))
    return figures


def _by_file(pairs: _Pairs, files: dict[str, str]) -> tuple[list[float], list[float]]:
    """Sums of numerators and denominators over the planes of each file."""
    sums: dict[str, _Pair] = {}
    for image, (part, whole) in pairs.items():
        file = files[image]
        before = sums.get(file, (0.0, 0.0))
        sums[file] = (before[0] + part, before[1] + whole)
    return [part for part, _ in sums.values()], [whole for _, whole in sums.values()]


def _measures(method: str, records: list[Record]) -> Iterator[tuple[str, str, _Pairs, int]]:
    """(method, measure, numerators and denominators, number of objects) of one protocol."""
    if not records:
        return
    if method == "points":
        several = [r for r in records if r["ids"]]
        objects = sum(len(r["ids"]) for r in several)
        for name, pick in (("chosen", _chosen), ("best_of_three", _best), ("first", _first)):
            yield method, name, {r["image"]: _total(pick(r)) for r in several}, objects
    elif method == "boxes":
        several = [r for r in records if r["ids"]]
        objects = sum(len(r["ids"]) for r in several)
        yield method, "iou", {r["image"]: _total(r["iou"]) for r in several}, objects
        yield "ellipse", "iou", {r["image"]: _total(r["ellipse"]) for r in several}, objects
    elif method == "clicks":
        yield from _click_measures([r for r in records if r["ids"]])
    elif method in PROPOSALS:
        yield from _proposal_measures(method, records)
    elif method == "single_point":
        yield from _single_point_measures([r for r in records if r["count"]])
    else:
        yield from _everything_measures(method, records)


def _total(values: Iterable[float]) -> _Pair:
    array = np.asarray(list(values), np.float64)
    return float(array.sum()), float(len(array))


def _chosen(record: Record) -> NDArray[np.float64]:
    """IoU of the mask with the highest predicted IoU."""
    iou, predicted = np.array(record["iou"]), np.array(record["predicted"])
    chosen: NDArray[np.float64] = iou[np.arange(len(iou)), predicted.argmax(1)]
    return chosen


def _best(record: Record) -> NDArray[np.float64]:
    best: NDArray[np.float64] = np.array(record["iou"]).max(1)
    return best


def _first(record: Record) -> NDArray[np.float64]:
    """IoU of the decoder's first mask."""
    first: NDArray[np.float64] = np.array(record["iou"])[:, 0]
    return first


def clicks_to(iou: NDArray[np.float64], target: float) -> NDArray[np.int64]:
    """Number of clicks until the IoU reaches a target; all clicks if it never does.

    Parameters
    ----------
    iou : float array (objects, clicks)
        IoU after each click.
    target : float
        IoU to reach.
    """
    reached = iou >= target - 1e-9
    needed = np.where(reached.any(1), reached.argmax(1) + 1, iou.shape[1])
    return needed.astype(np.int64)


def _click_measures(records: list[Record]) -> Iterator[tuple[str, str, _Pairs, int]]:
    if not records:
        return
    tables = {r["image"]: np.array(r["iou"]) for r in records}
    objects = sum(map(len, tables.values()))
    for click in range(next(iter(tables.values())).shape[1]):
        yield (
            "clicks",
            f"click{click + 1}",
            {i: _total(t[:, click]) for i, t in tables.items()},
            objects,
        )
    for target in CLICK_TARGETS:
        code = round(100 * target)
        yield (
            "clicks",
            f"noc{code}",
            {i: _total(clicks_to(t, target)) for i, t in tables.items()},
            objects,
        )
        failed = {i: _total(t.max(1) < target - 1e-9) for i, t in tables.items()}
        yield "clicks", f"failed{code}", failed, objects


def _proposal_measures(
    method: str, records: list[Record]
) -> Iterator[tuple[str, str, _Pairs, int]]:
    objects = sum(len(r["areas"]) for r in records)
    for k in records[0]["best"]:
        pairs = {r["image"]: _recall_sum(np.array(r["best"][k])) for r in records}
        yield method, f"ar{k}", pairs, objects
    most = max(records[0]["best"], key=int)
    for size, (low, high) in SIZES.items():
        areas = [np.array(r["areas"]) for r in records]
        chosen = [(held >= low) & (held < high) for held in areas]
        yield from _recall_of(method, f"ar{most}_{size}", most, records, chosen)
    for name in FREQUENCIES:
        chosen = [np.array(r.get("frequency", ())) == name for r in records]
        for k in records[0]["best"]:
            yield from _recall_of(method, f"ar{k}_{name}", k, records, chosen)
    yield method, "proposals", {r["image"]: (float(r["count"]), 1.0) for r in records}, objects


def _recall_of(
    method: str,
    measure: str,
    count: str,
    records: list[Record],
    chosen: list[NDArray[np.bool_]],
) -> Iterator[tuple[str, str, _Pairs, int]]:
    """Average recall of the chosen objects of each image; nothing if there are none."""
    pairs, objects = {}, 0
    for record, own in zip(records, chosen, strict=True):
        if own.any():
            pairs[record["image"]] = _recall_sum(np.array(record["best"][count])[own])
            objects += int(own.sum())
    if objects:
        yield method, measure, pairs, objects


def _recall_sum(best: NDArray[np.float64]) -> _Pair:
    return (float(recall_at(best).mean()) * len(best), float(len(best))) if len(best) else (0, 0)


def _single_point_measures(records: list[Record]) -> Iterator[tuple[str, str, _Pairs, int]]:
    """Mean IoU from a point of each kind, and by how much the model is better than each floor."""
    objects = sum(record["count"] for record in records)
    for kind in POINT_KINDS if records else ():
        ious: dict[str, dict[str, NDArray[np.float64]]] = {}
        for record in records:
            held = record[kind]
            ious[record["image"]] = {
                "chosen": _chosen(held),
                "best": _best(held),
                **{name: np.array(held[name]) for name in POINT_FLOORS},
            }
        for name in ("chosen", "best", *POINT_FLOORS):
            pairs = {image: _total(each[name]) for image, each in ious.items()}
            yield "single_point", f"{kind}_{name}", pairs, objects
        for name in ("chosen", "best"):
            for floor in POINT_FLOORS:
                pairs = {i: _total(each[name] - each[floor]) for i, each in ious.items()}
                yield "single_point", f"{kind}_{name}_minus_{floor}", pairs, objects


def _edge_figures(
    group: Group, records: Sequence[Record], resamples: int, seed: int
) -> Iterator[Figure]:
    """Figures of edges: of the model, and of what needs none."""
    for source in EDGE_SOURCES if records else ():
        by_file: dict[str, list[EdgeCounts]] = {}
        for record in records:
            counts = EdgeCounts(*np.array(record[source], np.int64))
            by_file.setdefault(record["file"], []).append(counts)
        for name, measure in EDGE_MEASURES.items():

            def pooled(
                files: Sequence[list[EdgeCounts]],
                measure: Callable[[Sequence[EdgeCounts]], float] = measure,
            ) -> float:
                return measure([each for held in files for each in held])

            interval = bootstrap_statistic(
                list(by_file.values()), pooled, resamples=min(resamples, 300), seed=seed
            )
            method = "edges" if source == "model" else f"edges:{source}"
            yield Figure(group, method, name, interval, len(records), 0)


def _instance_figures(group: Group, records: Sequence[Record]) -> Iterator[Figure]:
    """Mask AP by COCO's rules, which has no interval: it ranks the detections of all images."""
    from .instances import coco_figures

    objects = sum(len(record["truth"]) for record in records)
    for name, value in (coco_figures(records) if records else {}).items():
        interval = Interval(value, np.nan, np.nan, len(records))
        yield Figure(group, "instances", name, interval, len(records), objects)


def _everything_measures(
    method: str, records: list[Record]
) -> Iterator[tuple[str, str, _Pairs, int]]:
    objects = sum(len(r["areas"]) for r in records)
    tables = {r["image"]: counts_of(r) for r in records}

    def mean(value: Callable[[list[Counts]], float]) -> _Pairs:
        return {image: (float(value(t)), 1.0) for image, t in tables.items()}

    yield method, "ap", mean(lambda t: float(np.mean([c.ap for c in t]))), objects
    for i, threshold in enumerate(THRESHOLDS):
        pairs = {image: (t[i].ap, 1.0) for image, t in tables.items()}
        yield method, f"ap{round(100 * threshold)}", pairs, objects
    for i, threshold in enumerate(THRESHOLDS):
        pooled = {k: (float(t[i].true_positives), _objects(t[i])) for k, t in tables.items()}
        yield method, f"ap{round(100 * threshold)}_pooled", pooled, objects
    yield method, "precision50", mean(lambda t: t[0].precision), objects
    yield method, "recall50", mean(lambda t: t[0].recall), objects
    yield method, "f1_50", mean(lambda t: t[0].f1), objects
    quality = {r["image"]: _panoptic(r, tables[r["image"]][0]) for r in records}
    yield method, "pq", {i: (s * q, 1.0) for i, (s, q) in quality.items()}, objects
    yield method, "sq", {i: (s, 1.0) for i, (s, _) in quality.items()}, objects
    yield method, "miou", {r["image"]: _total(r["best"]) for r in records}, objects
    yield method, "seconds", {r["image"]: (r["seconds"], 1.0) for r in records}, objects


def counts_of(record: Record) -> list[Counts]:
    """Counts of a record of everything mode at each IoU threshold."""
    true, found = len(record["areas"]), len(record["found_ids"])
    return [Counts(hits, found - hits, true - hits) for hits in record["hits"]]


def _objects(count: Counts) -> float:
    return float(count.true_positives + count.false_positives + count.false_negatives)


def _panoptic(record: Record, at_half: Counts) -> _Pair:
    hits = at_half.true_positives
    empty = 0.0 if record["areas"] or record["found_ids"] else 1.0
    return (record["matched_iou"] / hits if hits else empty), at_half.f1


def calibrations(records: Sequence[Record], bins: int = 10) -> dict[str, Calibration]:
    """Calibration of the predicted IoU, for each protocol whose masks have one.

    All candidate masks of a point count, the masks after each click, and the masks kept by
    everything mode, whose true IoU is the largest with any object.

    Parameters
    ----------
    records : sequence of dict
        From `Evaluation`.
    bins : int
        As for `calibrate`.
    """
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        if "predicted" not in record:
            continue
        predicted, true = pairs.setdefault(record["protocol"], ([], []))
        predicted += np.ravel(record["predicted"]).tolist()
        true += np.ravel(record["iou"] if "iou" in record else record["found_best"]).tolist()
    return {name: calibrate(*held, bins) for name, held in pairs.items() if held[0]}
