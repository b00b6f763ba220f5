"""Everything mode: segment all objects of an image without being prompted."""

from typing import TYPE_CHECKING

from ..lazy import names_on_first_use

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = names_on_first_use(
        __name__,
        {
            "candidates": "Candidates",
            "dense": "BoxDecoding DenseInstances DistanceDecoding Proposals "
            "decode_dense decode_distances find_proposals",
            "filtering": "Reason",
            "generate": "generate_candidates segment_everything",
            "heads": "available_modes choose_mode",
            "overlaps": "LabelImage",
            "parameters": "Filters",
            "table": "CandidateTable",
        },
    )

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
