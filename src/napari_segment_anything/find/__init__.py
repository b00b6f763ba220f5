"""Find all instances of a concept, by words or by examples."""

from .comparing import likeness
from .pool import CandidatePool, everything_steps, read_pool
from .traits import Traits, describe_objects

__all__ = [
    "CandidatePool",
    "Traits",
    "describe_objects",
    "everything_steps",
    "likeness",
    "read_pool",
]
