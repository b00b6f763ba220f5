"""How good a model is, in the field's measures: metrics, protocols, reports."""

from .calibration import Calibration, calibrate
from .datasets import Entry, LabelledPlane, find_entries, read_planes, select_split
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
    counts,
    mask_iou,
    match,
    panoptic_quality,
    recall_at,
)
from .overlap import OverlapTable, overlap_of_masks, overlap_table
from .prompting import Click, inscribed_ellipse, interior_point, next_click, tight_box
from .protocols import PROTOCOLS, Settings
from .report import write_report
from .run import Evaluation, evaluate
from .summary import Figure, Group, calibrations, summarise

__all__ = [
    "overlap_table",
    "overlap_of_masks",
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
    "mask_iou",
    "bootstrap",
    "Interval",
    "calibrate",
    "Calibration",
    "interior_point",
    "tight_box",
    "next_click",
    "Click",
    "inscribed_ellipse",
    "otsu_watershed",
    "find_entries",
    "select_split",
    "read_planes",
    "Entry",
    "LabelledPlane",
    "PROTOCOLS",
    "Settings",
    "evaluate",
    "Evaluation",
    "summarise",
    "calibrations",
    "Figure",
    "Group",
    "write_report",
]
