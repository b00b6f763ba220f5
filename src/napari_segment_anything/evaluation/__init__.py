"""How good a model is on labelled images: protocols, figures, reports."""

from ..datasets import Entry, LabelledPlane, find_entries, read_planes, select_split
from .protocols import PROTOCOLS, USUAL, PromptSettings
from .report import write_report
from .run import Evaluation, evaluate
from .summary import Figure, Group, calibrations, summarise

__all__ = [
    "find_entries",
    "select_split",
    "read_planes",
    "Entry",
    "LabelledPlane",
    "PROTOCOLS",
    "USUAL",
    "PromptSettings",
    "evaluate",
    "Evaluation",
    "summarise",
    "calibrations",
    "Figure",
    "Group",
    "write_report",
]
