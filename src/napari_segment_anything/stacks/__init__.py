"""Volumes and time-lapses: objects followed through planes, linked and tracked."""

from .label_planes import link, track
from .propagation import PropagationResult, PropagationView, propagate, propagate_steps
from .result import StackResult, StackView, Tracks
from .segment import segment_stack, segment_stack_steps
from .volume import Volume

__all__ = [
    "PropagationResult",
    "PropagationView",
    "StackResult",
    "StackView",
    "Tracks",
    "Volume",
    "link",
    "propagate",
    "propagate_steps",
    "segment_stack",
    "segment_stack_steps",
    "track",
]
