"""What a propagation is asked for, and what it keeps for the next run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..engine import PlacedMask, View
from .chains import Chain, ChainKey
from .embeddings import PlaneEmbeddings
from .rules import Rules
from .seeds import Seeds
from .stack_labels import StackLabels
from .volume import Volume

Followings = dict[int, dict[int, tuple[PlacedMask, float]]]
"""For each object and plane its mask and score."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be followed, and how.

    Parameters
    ----------
    volume : Volume
    stack : tuple of int
        Which stack of it.
    seeds : Seeds
    rules : Rules
    steps : tuple of int
        Directions: +1, -1 or both.
    side : int
        Side in pixels of what is encoded around an object on larger planes.
    focused : bool
        Whether the model's focus decides where to look from.
    views : mapping of int to View
        Objects that are seen from the same view on all planes; others, around where they were.
    signature : dict
        What tells it from others, but for the seeds.
    """

    volume: Volume
    stack: tuple[int, ...]
    seeds: Seeds
    rules: Rules
    steps: tuple[int, ...]
    side: int
    focused: bool
    views: Mapping[int, View]
    signature: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the next run needs to do only what was edited."""

    task: Task
    masks: dict[tuple[int, int], tuple[PlacedMask, float]]
    references: dict[tuple[int, int], Any]
    chains: dict[ChainKey, Chain]
    objects: Followings
    embeddings: PlaneEmbeddings
    labels: StackLabels
