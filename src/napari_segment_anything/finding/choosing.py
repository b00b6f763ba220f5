"""Which finder answers a query, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..automatic import Filters
from ..automatic.parameters import FILTERS, check_areas, pick
from ..engine import Model
from ..errors import ParameterError
from ..families.concepts import ConceptFinder
from ..families.likeness import Likeness
from ..parameters import EVERYTHING, FINDING, RUN, check_values
from .by_concept import ConceptSearch
from .by_detector import DetectorFinder
from .by_likeness import LikenessFinder
from .finder import Finder
from .loading import FinderModel, concepts_of, finder_here, finders, load_finder
from .own_features import OwnFeatures
from .query import Query

LOOSE = {
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
    "box_nms_thresh": 0.5,
    "crop_nms_thresh": 0.5,
    "nms": "mask",
}
"""Filters where none are given: the likeness decides."""


@dataclass(frozen=True, slots=True)
class FinderOptions:
    """Parameters of `find`, by what they are for.

    Parameters
    ----------
    everything : mapping
        Of everything mode, with `mode`, for finders that rank its masks.
    filtering : mapping
        Filters of the result.
    finding : mapping
        The others of `FINDING`.
    """

    everything: Mapping[str, Any] = field(default_factory=dict)
    filtering: Mapping[str, Any] = field(default_factory=dict)
    finding: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> FinderOptions:
        """Divide parameters, and check them.

        Raises
        ------
        ParameterError
            If one is unknown or out of range.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        known = {"mode": RUN["mode"]} | EVERYTHING | FINDING
        check_values(known, given)
        check_areas(given.get("min_area"), given.get("max_area"))
        filtering = {name: given.pop(name) for name in list(given) if name in FILTERS}
        finding = {name: given.pop(name) for name in list(given) if name in FINDING}
        quality = ("pred_iou_thresh", "stability_score_thresh")
        given |= {name: filtering[name] for name in quality if name in filtering}
        return cls(given, filtering, finding)

    def filters(self, finder: Finder) -> Filters:
        """Return the filters of the result; what is not given suits the finder."""
        own = {**LOOSE, "likeness_thresh": finder.threshold}
        filters: Filters = pick(Filters, {**own, **self.filtering})
        return filters


def choose_finder(
    query: Query,
    model: Model,
    finder: Finder | FinderModel | str | Path | None = None,
    options: FinderOptions | None = None,
) -> Finder:
    """Choose what answers a query.

    Parameters
    ----------
    query : Query
    model : Model
        The model that segments.
    finder : optional
        A `Finder`, a model from `load_finder`, or its name or folder. By default the model that
        segments, if it can; then its own features, for examples; then a model that is here.
    options : FinderOptions, optional

    Raises
    ------
    ParameterError
        If there is none, it does not understand the query, or parameters have no effect with it.
    CheckpointError
        If it cannot be loaded.
    """
    options = options or FinderOptions()
    chosen = _made(_default(query, model) if finder is None else finder, model, options)
    if missing := query.needs - chosen.takes:
        raise ParameterError(
            f"{chosen.name} finds by {' or '.join(sorted(chosen.takes))}, not by "
            f"{' and '.join(sorted(missing))}; {_able(query.needs)}"
        )
    ranks = isinstance(chosen, OwnFeatures | LikenessFinder)
    useless = {} if ranks else options.everything
    if not isinstance(chosen, LikenessFinder):
        useless = {**useless, **options.finding}
    quality = set(options.filtering)
    if unused := [name for name in useless if name not in quality]:
        raise ParameterError(f"{unused[0]!r} has no effect with the finder {chosen.name!r}")
    return chosen


def _default(query: Query, model: Model) -> Finder | FinderModel | str:
    if query.needs <= model.abilities and (own := concepts_of(model)) is not None:
        return own
    if "words" not in query.needs:
        return OwnFeatures(model.image_size)
    here = finder_here(query.needs)
    if here is None:
        raise ParameterError(f"nothing on this machine finds by words; {_able(query.needs)}")
    return here


def _made(finder: Any, model: Model, options: FinderOptions) -> Finder:
    if isinstance(finder, str | Path):
        same = str(finder) in (model.name, model.source)
        own = concepts_of(model) if same else None
        finder = load_finder(finder, str(model.device)) if own is None else own
    parameters = dict(options.everything)
    mode = {"mode": parameters.pop("mode", "auto"), "parameters": parameters}
    if isinstance(finder, OwnFeatures):
        return OwnFeatures(model.image_size, **mode)
    if isinstance(finder, Likeness):
        return LikenessFinder(finder, model.image_size, **mode, **options.finding)
    if isinstance(finder, ConceptFinder):
        return ConceptSearch(finder)
    if hasattr(finder, "detect"):
        return DetectorFinder(finder)
    if not hasattr(finder, "look"):
        raise ParameterError(
            "finder is the name or folder of a model, or one from load_finder, not "
            f"{type(finder).__name__}"
        )
    made: Finder = finder
    return made


def _able(needs: frozenset[str]) -> str:
    names = finders(needs)
    return (
        f"give finder= one of {', '.join(names)} (napari-sam download NAME), or a folder of such a "
        "model"
    )
