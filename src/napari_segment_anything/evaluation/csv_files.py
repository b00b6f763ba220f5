"""Figures and answers of an evaluation as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..formats.atomic import replacing
from .summary import Figure, counts_of


def write_figures(path: Path, figures: Iterable[Figure]) -> None:
    """Write a row per figure, with its confidence interval."""
    columns = ["group", "value", "method", "measure", "mean", "low", "high", "images", "objects"]
    rows = (
        [
            f.group.column, f.group.value, f.method, f.measure,
            *("" if np.isnan(v) else round(v, 5)
              for v in (f.interval.value, f.interval.low, f.interval.high)),
            f.images, f.objects,
        ]
        for f in figures
    )  # fmt: skip
    write_csv(path, columns, rows)


def write_images(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a row per image and method of everything mode."""
    rows = []
    for record in records:
        if "hits" in record:
            table = counts_of(record)
            aps = [round(c.ap, 5) for c in table]
            rows.append(
                [record["image"], record["set"], json.dumps(record["columns"]), record["protocol"],
                 len(record["areas"]), len(record["found_ids"]), round(float(np.mean(aps)), 5),
                 *aps, record["seconds"]]
            )  # fmt: skip
    codes = [f"ap{code}" for code in range(50, 100, 5)]
    columns = ["image", "set", "columns", "method", "objects", "found", "ap", *codes, "seconds"]
    write_csv(path, columns, rows)


def write_objects(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a row per prompted object, protocol, and mask or click."""
    rows = []
    for record in records:
        if "ids" not in record:
            continue
        for i, label in enumerate(record["ids"]):
            iou, predicted = np.ravel(record["iou"][i]), np.ravel(record["predicted"][i])
            for place, (true, guess) in enumerate(zip(iou, predicted, strict=True), 1):
                rows.append(
                    [record["image"], record["protocol"], label, record["areas"][i], place, true,
                     guess]
                )  # fmt: skip
    columns = ["image", "protocol", "label", "area", "mask_or_click", "iou", "predicted_iou"]
    write_csv(path, columns, rows)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, completely or not at all."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
