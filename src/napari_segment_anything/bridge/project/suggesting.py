"""Computes what a model suggests for an image. On any thread."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...engine import PlacedMask, Predictor
from ...errors import PromptError
from ...finding import CandidatePool, describe_objects
from ...progress import Progress
from ...projects.similar import similar_suggestions
from ...projects.similar_series import kept_pool, pool_steps
from ...projects.suggesting import clear_tiles, find_steps, run_settings
from ...projects.suggestions import Suggestions
from .opening import ImageAhead
from .outline_layer import Outline, outlines_of

Occupied: TypeAlias = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Suggested:
    """Suggestions for an image, ready to be drawn.

    Parameters
    ----------
    suggestions : Suggestions
    outlines : dict of int to (rows, columns)
        Pixels of each open suggestion's outline.
    pool : CandidatePool, optional
        What similar objects are looked for in; None for a large image.
    """

    suggestions: Suggestions
    outlines: dict[int, Outline]
    pool: CandidatePool | None


def suggest(
    ahead: ImageAhead,
    predictor: Predictor,
    occupied: Occupied,
    before: Suggestions,
    version: str,
) -> Generator[Progress, None, Suggested]:
    """Suggest objects with everything mode, as `projects.suggesting` does for other images.

    Parameters
    ----------
    ahead : ImageAhead
        The image.
    predictor : Predictor
    occupied : callable
        Returns 1 where nothing is to be suggested: uint8 (rows, columns).
    before : Suggestions
        Earlier ones; what a person decided stays.
    version : str
        Name of the model, or of its version.

    Yields
    ------
    Progress

    Raises
    ------
    ImageError
        If tiles of a large image cannot be segmented.
    """
    settings = run_settings(predictor.model, version, "auto", {})
    found = yield from find_steps(ahead.image, ahead.source, predictor, settings)
    made = found.suggestions(occupied(), before, ahead.image.negatives())
    clear_tiles(ahead.image)
    return Suggested(made, outlines_of(made), found.pool)


def suggest_similar(
    ahead: ImageAhead,
    predictor: Predictor,
    occupied: Occupied,
    before: Suggestions,
    examples: Callable[[], list[PlacedMask]],
    pool: CandidatePool | None,
    version: str,
) -> Generator[Progress, None, Suggested]:
    """Suggest objects that look like others.

    Parameters
    ----------
    ahead, predictor, occupied, before, version
        As for `suggest`.
    examples : callable
        Returns objects of this image.
    pool : CandidatePool, optional
        The image's candidates; computed if they are not given, or are another model's.

    Yields
    ------
    Progress

    Raises
    ------
    ImageError
        If the image is large and has no suggestions yet.
    PromptError
        If there is no example.
    """
    alike = examples()
    if not alike:
        raise PromptError("there are no pixels of these objects in the image")
    if pool is None or pool.fingerprint != predictor.model.fingerprint:
        known = kept_pool(ahead.image, predictor.model.fingerprint)
        pool = known or (yield from pool_steps(ahead.image, predictor))
    wanted = yield from describe_objects(alike, ahead.source, predictor)
    found = similar_suggestions(
        pool, wanted, ahead.source.shape, labels=occupied(), version=version
    )
    made = before.renewed(found, "similar")
    return Suggested(made, outlines_of(made), pool)
