"""Labelled images in files: find, divide and read them, for training and evaluation."""

from .finding import Entry, find_entries
from .planes import LabelledPlane, read_planes
from .splits import held_out, rank, select_split, split_parts, spread

__all__ = [
    "Entry",
    "LabelledPlane",
    "find_entries",
    "held_out",
    "rank",
    "read_planes",
    "select_split",
    "split_parts",
    "spread",
]
