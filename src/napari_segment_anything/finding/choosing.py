"""Which finder answers a query, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..automatic import Filters
from ..automatic.parameters import FILTERS, check_areas, pick
from ..engine import Model
from ..errors import ParameterError
from ..parameters import EVERYTHING, FINDING, RUN, check_values
from .finder import Finder
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
    query: Query, model: Model, finder: Any = None, options: FinderOptions | None = None
) -> Finder:
    """Choose what answers a query.

    Parameters
    ----------
    query : Query
    model : Model
        The model that segments.
    finder : Finder, optional
        By default the first that is there and understands the query.
    options : FinderOptions, optional

    Raises
    ------
    ParameterError
        If there is none, it does not understand the query, or parameters have no effect with it.
    """
    options = options or FinderOptions()
    if finder is None:
        if "words" in query.needs:
            raise ParameterError("words need a model that reads them")
        finder = OwnFeatures(model.image_size, **_mode(options))
    missing = query.needs - finder.takes
    if missing:
        raise ParameterError(
            f"{finder.name} finds by {' and '.join(sorted(finder.takes))}, not by "
            f"{' and '.join(sorted(missing))}"
        )
    return finder


def _mode(options: FinderOptions) -> dict[str, Any]:
    parameters = dict(options.everything)
    return {"mode": parameters.pop("mode", "auto"), "parameters": parameters}
