"""Measures of objects and of segmentations, and simulated users: functions of arrays, no torch."""

from .calibration import Calibration, calibrate
from .clicks import Click, inscribed_ellipse, interior_point, next_click, tight_box
from .floors import otsu_watershed
from .metrics import (
    THRESHOLDS,
    Counts,
    Interval,
    Match,
    PanopticQuality,
    average_precision,
    average_recall,
    best_iou,
    bootstrap,
    bootstrap_statistic,
    counts,
    mask_iou,
    match,
    panoptic_quality,
    recall_at,
    top,
)
from .overlap import OverlapTable, overlap_of_masks, overlap_table, shared_pixels
from .regions import measure_labels

__all__ = [
    "measure_labels",
    "overlap_table",
    "overlap_of_masks",
    "shared_pixels",
    "OverlapTable",
    "THRESHOLDS",
    "match",
    "Match",
    "counts",
    "Counts",
    "average_precision",
    "panoptic_quality",
    "PanopticQuality",
    "best_iou",
    "recall_at",
    "average_recall",
    "top",
    "mask_iou",
    "bootstrap",
    "bootstrap_statistic",
    "Interval",
    "calibrate",
    "Calibration",
    "interior_point",
    "tight_box",
    "next_click",
    "Click",
    "inscribed_ellipse",
    "otsu_watershed",
]
