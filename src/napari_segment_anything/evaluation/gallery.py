"""Pictures of the best and worst images with coloured errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..datasets import Entry, LabelledPlane
from ..formats.labels import read_labels
from ..formats.overlay import save_overlay, to_rgb
from ..measures import match, overlap_table
from .run import Evaluation, label_path, planes_of
from .summary import Record, counts_of

FOUND, EXTRA, MISSED = (0, 225, 255), (255, 150, 20), (255, 40, 230)
MIN_SIDE, MAX_SIDE = 480, 900


def draw_gallery(
    evaluation: Evaluation, entries: Sequence[Entry], count: int
) -> list[tuple[str, str]]:
    """Draw the best and worst images of everything mode, and the worst image of every set.

    Of a stack, at most one plane is among the best and one among the worst.

    Parameters
    ----------
    evaluation : Evaluation
        With records of everything mode; the first mode is shown.
    entries : sequence of Entry
        The images.
    count : int
        Number of best and of worst images.

    Returns
    -------
    list of (str, str)
        Caption and path relative to the evaluation's folder, best first.
    """
    methods = [r["protocol"] for r in evaluation.records if r["protocol"].startswith("everything:")]
    if not methods:
        return []
    records = [r for r in evaluation.records if r["protocol"] == methods[0]]
    ranked = sorted(((_score(r), r) for r in records), key=lambda item: -item[0])
    best = {r["file"]: (score, r) for score, r in reversed(ranked)}
    worst = {r["file"]: (score, r) for score, r in ranked}
    chosen = sorted(best.values(), key=lambda item: -item[0])[:count]
    chosen += sorted(worst.values(), key=lambda item: item[0])[:count]
    last = {record["set"]: (score, record) for score, record in ranked}
    names = {record["image"] for _, record in chosen + list(last.values())}
    _remove_pictures(evaluation.folder)
    sources = {entry.name: entry for entry in entries}
    shown = []
    for score, record in ranked:
        entry = sources.get(record["file"])
        if record["image"] not in names or entry is None:
            continue
        plane = next(p for p in planes_of(entry, evaluation.header) if p.name == record["image"])
        labels = read_labels(label_path(evaluation.folder, plane.name, methods[0]))
        file = f"gallery/{plane.name.replace('/', '__').replace(':', '_plane')}.png"
        save_overlay(evaluation.folder / file, draw_result(plane, labels))
        counts = counts_of(record)[0]
        caption = (
            f"{plane.name}: AP {score:.2f}, at .50 {counts.ap:.2f} "
            f"({counts.true_positives} found, {counts.false_positives} extra, "
            f"{counts.false_negatives} missed)"
        )
        shown.append((caption, file))
    return shown


def _score(record: Record) -> float:
    return float(np.mean([c.ap for c in counts_of(record)]))


def draw_result(plane: LabelledPlane, *found: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Draw an image, and next to it, for each result, outlines of found, extra and missed objects.

    Parameters
    ----------
    plane : LabelledPlane
        Image and true labels.
    *found : integer array (rows, columns)
        Objects found, by one model each.

    Returns
    -------
    uint8 array (k * rows, about k * columns * (1 + results), 3)
        Small images are enlarged, large ones reduced.
    """
    picture = _sized(to_rgb(plane.image, channel_axis=plane.channel_axis))
    gap = np.full((picture.shape[0], 6, 3), 255, np.uint8)
    parts = [picture]
    for labels in found:
        parts += [gap, _outlined(picture, plane.labels, labels)]
    return np.concatenate(parts, axis=1)


def _sized(array: NDArray[Any]) -> NDArray[Any]:
    longest = max(array.shape[:2])
    grow, shrink = max(1, -(-MIN_SIDE // longest)), max(1, -(-longest // MAX_SIDE))
    return array[::shrink, ::shrink].repeat(grow, 0).repeat(grow, 1)


def _outlined(
    picture: NDArray[np.uint8], truth: NDArray[np.integer], labels: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """A picture with the outlines of found, extra and missed objects."""
    pairs = overlap_table(truth, labels)
    matched = match(pairs, 0.5)
    missed = np.setdiff1d(pairs.true_ids, pairs.true_ids[matched.true_index])
    good = pairs.found_ids[matched.found_index]
    truth, found = _sized(truth), _sized(labels)
    drawn = picture.copy()
    for array, ids, colour in (
        (found, np.setdiff1d(pairs.found_ids, good), EXTRA),
        (found, good, FOUND),
        (truth, missed, MISSED),
    ):
        drawn[_outline(array) & np.isin(array, ids)] = colour
    return drawn


def _outline(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of objects next to other objects or background."""
    signed = labels.astype(np.int64)
    high = ndimage.maximum_filter(signed, 3)
    low = ndimage.minimum_filter(signed, 3)
    outline: NDArray[np.bool_] = (high != low) & (signed > 0)
    return outline


def _remove_pictures(folder: Path) -> None:
    """Remove the pictures of an earlier report."""
    for path in (folder / "gallery").glob("*.png"):
        path.unlink()
