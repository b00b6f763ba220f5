"""Everything mode: segment all objects of an image without being prompted."""

from .candidates import Candidates
from .dense import DenseInstances, Proposals, decode_dense, decode_distances, find_proposals
from .filtering import Reason
from .generate import generate_candidates, segment_everything
from .heads import available_modes, choose_mode
from .overlaps import POLICIES, LabelImage
from .parameters import MODES, PARAMETERS, Filters, Parameter
from .table import CandidateTable

__all__ = [
    "CandidateTable",
    "Candidates",
    "DenseInstances",
    "Filters",
    "LabelImage",
    "MODES",
    "PARAMETERS",
    "POLICIES",
    "Parameter",
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
