"""Everything mode: segment all objects of an image without being prompted."""

from .candidates import Candidates
from .dense import (
    BoxDecoding,
    DenseInstances,
    DistanceDecoding,
    Proposals,
    decode_dense,
    decode_distances,
    find_proposals,
)
from .filtering import Reason
from .generate import generate_candidates, segment_everything
from .heads import available_modes, choose_mode
from .overlaps import LabelImage
from .parameters import Filters
from .table import CandidateTable

__all__ = [
    "CandidateTable",
    "Candidates",
    "BoxDecoding",
    "DenseInstances",
    "DistanceDecoding",
    "Filters",
    "LabelImage",
    "Proposals",
    "Reason",
    "available_modes",
    "choose_mode",
    "decode_dense",
    "decode_distances",
    "find_proposals",
    "generate_candidates",
    "segment_everything",
]
