"""Find all instances of a concept, by words or by examples."""

from typing import TYPE_CHECKING

from ..lazy import names_on_first_use

if TYPE_CHECKING:
    from .comparing import likeness
    from .concept import Concept
    from .finder import Finder, Sightings
    from .loading import finder_here, finders, load_finder, takes_of
    from .pool import CandidatePool, everything_steps, read_pool
    from .query import Query
    from .run import find, find_steps, learn_concept_steps
    from .stack import find_stack, find_stack_steps
    from .traits import Traits, describe_objects
else:
    __getattr__, __dir__ = names_on_first_use(
        __name__,
        {
            "comparing": "likeness",
            "concept": "Concept",
            "finder": "Finder Sightings",
            "loading": "finder_here finders load_finder takes_of",
            "pool": "CandidatePool everything_steps read_pool",
            "query": "Query",
            "run": "find find_steps learn_concept_steps",
            "stack": "find_stack find_stack_steps",
            "traits": "Traits describe_objects",
        },
    )

__all__ = [
    "CandidatePool",
    "Concept",
    "Finder",
    "Query",
    "Sightings",
    "Traits",
    "describe_objects",
    "everything_steps",
    "find",
    "finder_here",
    "finders",
    "find_stack",
    "find_stack_steps",
    "find_steps",
    "learn_concept_steps",
    "likeness",
    "load_finder",
    "read_pool",
    "takes_of",
]
