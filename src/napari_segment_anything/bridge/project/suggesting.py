"""Computes what a model suggests for an image. On any thread."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...engine import PlacedMask, PlaneSource, Predictor
from ...errors import ImageError
from ...find import CandidatePool, describe_objects, everything_steps
from ...progress import Progress
from ...projects.review import with_doubts
from ...projects.similar import similar_suggestions
from ...projects.suggesting import LARGE_FRAMES, run_settings
from ...projects.suggestions import Suggestions
from .outline_layer import Outline, outlines_of


@dataclass(frozen=True, slots=True, eq=False)
class Suggested:
    """Suggestions for an image, ready to be drawn.

    Parameters
    ----------
    suggestions : Suggestions
    outlines : dict of int to (rows, columns)
        Pixels of each open suggestion's outline.
    pool : CandidatePool
        What similar objects are looked for in.
    """

    suggestions: Suggestions
    outlines: dict[int, Outline]
    pool: CandidatePool


def suggest(
    source: PlaneSource,
    predictor: Predictor,
    occupied: NDArray[np.uint8],
    before: Suggestions,
    version: str,
) -> Generator[Progress, None, Suggested]:
    """Suggest objects with everything mode.

    Parameters
    ----------
    source : PlaneSource
        The image.
    predictor : Predictor
    occupied : uint8 array (rows, columns)
        1 where nothing is to be suggested.
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
        If the image is too large to be segmented as a whole.
    """
    _check_size(source, predictor)
    settings = run_settings(predictor.model, version, "auto", {})
    table, pool = yield from everything_steps(source, predictor)
    found = Suggestions.from_table(
        table, labels=occupied, version=version, fingerprint=pool.fingerprint
    )
    found = with_doubts(found, pool, before)
    made = before.renewed(replace(found, settings=settings))
    return Suggested(made, outlines_of(made), pool)


def suggest_similar(
    source: PlaneSource,
    predictor: Predictor,
    occupied: NDArray[np.uint8],
    before: Suggestions,
    examples: Iterable[PlacedMask],
    pool: CandidatePool | None,
    version: str,
) -> Generator[Progress, None, Suggested]:
    """Suggest objects that look like others.

    Parameters
    ----------
    source, predictor, occupied, before, version
        As for `suggest`.
    examples : iterable of PlacedMask
        Objects of this image.
    pool : CandidatePool, optional
        The image's candidates; computed if they are not given, or are another model's.

    Yields
    ------
    Progress

    Raises
    ------
    ImageError
        As for `suggest`.
    """
    if pool is None or pool.fingerprint != predictor.model.fingerprint:
        _check_size(source, predictor)
        _, pool = yield from everything_steps(source, predictor)
    wanted = yield from describe_objects(list(examples), source, predictor)
    found = similar_suggestions(pool, wanted, source.shape, labels=occupied, version=version)
    made = before.renewed(found, "similar")
    return Suggested(made, outlines_of(made), pool)


def _check_size(source: PlaneSource, predictor: Predictor) -> None:
    if max(source.shape) > LARGE_FRAMES * predictor.model.image_size:
        raise ImageError(
            "this image is segmented tile by tile, while it is not open: go to another image, and "
            "run `napari-sam project suggest`"
        )
