"""Labelled images in files: find, divide and read them, for training and evaluation."""

from .classes import ObjectClasses, read_classes
from .finding import Entry, find_entries
from .planes import LabelledPlane, read_planes
from .splits import held_out, rank, select_split, split_parts, spread

__all__ = [
    "Entry",
    "LabelledPlane",
    "ObjectClasses",
    "find_entries",
    "held_out",
    "rank",
    "read_classes",
    "read_planes",
    "select_split",
    "split_parts",
    "spread",
]
