"""Boxes, masks and labels of other programs as prompts, and where the two disagree."""

from .given import GivenObjects
from .hints import Hint
from .result import Refined
from .run import refine, refine_steps

__all__ = ["GivenObjects", "Hint", "Refined", "refine", "refine_steps"]
