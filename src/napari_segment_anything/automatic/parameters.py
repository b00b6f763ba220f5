"""Resolve the parameters of everything mode: the caller's, else the model's, else the table's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..parameters import EVERYTHING, FINDING, check_names

# Distance of the floors below the thresholds, where floors are not given.
FLOOR_MARGIN = {"pred_iou": 0.2, "stability_score": 0.2}


@dataclass(frozen=True, slots=True)
class Filters:
    """Thresholds that candidates are filtered by; see `EVERYTHING` and `FINDING`."""

    pred_iou_thresh: float = EVERYTHING["pred_iou_thresh"].default
    stability_score_thresh: float = EVERYTHING["stability_score_thresh"].default
    box_nms_thresh: float = EVERYTHING["box_nms_thresh"].default
    crop_nms_thresh: float = EVERYTHING["crop_nms_thresh"].default
    min_mask_region_area: int = EVERYTHING["min_mask_region_area"].default
    min_area: int = EVERYTHING["min_area"].default
    max_area: int | None = EVERYTHING["max_area"].default
    nms: str = EVERYTHING["nms"].default
    crop_choice: str = EVERYTHING["crop_choice"].default
    likeness_thresh: float = 0.0


_ALL = EVERYTHING | {name: each for name, each in FINDING.items() if each.filter}
FILTERS = tuple(name for name, parameter in _ALL.items() if parameter.filter)


def filters_in(mode: str) -> list[str]:
    """Names of the filters that act in a mode."""
    return [name for name in FILTERS if _ALL[name].acts_in(mode)]


def applicable(mode: str, head: str = "") -> list[str]:
    """Names of the parameters that act in a mode, with a model that has this dense head.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    head : str
        Dense head of the model; "" gives the parameters of any.
    """
    return [
        name
        for name, parameter in _ALL.items()
        if parameter.acts_in(mode) and (not head or parameter.head in ("", head))
    ]


def check(
    mode: str,
    values: Mapping[str, Any],
    head: str = "",
    names: Sequence[str] | None = None,
) -> None:
    """Check that names are known and have an effect in `mode`, and that values are in range.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    values : mapping of str to object
        Parameters; None means "not given".
    head : str
        Dense head of the model; "" accepts the parameters of any.
    names : sequence of str, optional
        Names that are allowed; by default all that act in the mode.

    Raises
    ------
    ParameterError
        If one is not; the message says what would be valid.
    """
    allowed = applicable(mode, head)
    if names is not None:
        allowed = [n for n in allowed if n in names]
    for name, value in values.items():
        if name not in allowed:
            _refuse(name, mode, allowed)
        _ALL[name].check(name, value)


def resolve(
    mode: str,
    given: Mapping[str, Any],
    carried: Mapping[str, Any] | None = None,
    head: str = "",
) -> dict[str, Any]:
    """Resolve all parameters of a mode: the caller's value, else the model's, else the default.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    given : mapping of str to object
        The caller's values; None means "not given".
    carried : mapping of str to object, optional
        Defaults that the model carries for this mode.
    head : str
        The model's dense head; "" if it has none.

    Returns
    -------
    dict of str to object
        Every parameter of the mode, including floors.

    Raises
    ------
    ParameterError
        As `check`; also if points_per_side and point_grids are both given, or a floor is
        above its threshold.
    """
    check(mode, given, head)
    check(mode, carried or {}, head)
    explicit = {k: v for k, v in given.items() if v is not None}
    if "points_per_side" in explicit and "point_grids" in explicit:
        raise ParameterError("Give points_per_side or point_grids, not both.")
    out: dict[str, Any] = {}
    for name in applicable(mode, head):
        parameter = _ALL[name]
        value = explicit.get(name, (carried or {}).get(name))
        if value is None:
            value = parameter.default_in(mode)
        out[name] = value
    if "points_per_side" in explicit:
        out["point_grids"] = None
    elif out.get("point_grids") is not None:
        out["points_per_side"] = None
    if mode == "grid":
        _check_grids(out)
    if mode in ("grid", "proposals"):
        _set_floors(out)
    check_areas(out.get("min_area"), out.get("max_area"))
    return out


def check_areas(least: float | None, most: float | None) -> None:
    """Raise `ParameterError` if no mask can have an area between both.

    Parameters
    ----------
    least, most : float or None
        Smallest and largest area, in pixels.
    """
    if least is not None and most is not None and least > most:
        raise ParameterError(f"min_area={least} is above max_area={most}: no mask would be kept.")


def pick(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Make a dataclass of the resolved parameters that it has fields for.

    Parameters
    ----------
    kind : type
        Such as `Filters`.
    values : mapping of str to object
        As `resolve` returns them; fields that are missing there have their own default.
    """
    return kind(**{each.name: values[each.name] for each in fields(kind) if each.name in values})


def unit_grids(values: Mapping[str, Any]) -> list[NDArray[np.float64]] | None:
    """Convert the caller's point grids to (row, col) fractions; None if there are none."""
    if values.get("point_grids") is None:
        return None
    return [np.asarray(g, np.float64)[:, ::-1] for g in values["point_grids"]]


def _refuse(name: str, mode: str, allowed: Sequence[str]) -> None:
    if name not in _ALL:
        check_names([name], allowed)
    parameter = _ALL[name]
    if not parameter.acts_in(mode):
        modes = " and ".join(parameter.modes)
        raise ParameterError(f"'{name}' has no effect in mode '{mode}'; it belongs to {modes}.")
    if parameter.head and not parameter.filter:
        raise ParameterError(f"'{name}' has no effect with this model's dense head.")
    raise ParameterError(
        f"'{name}' needs a new run; candidates can be filtered again by {', '.join(allowed)}."
    )


def _check_grids(values: Mapping[str, Any]) -> None:
    layers = values["crop_n_layers"]
    if values["point_grids"] is None:
        if values["points_per_side"] < values["crop_n_points_downscale_factor"] ** layers:
            raise ParameterError(
                f"points_per_side={values['points_per_side']} divided by "
                f"crop_n_points_downscale_factor={values['crop_n_points_downscale_factor']} for "
                f"each of {layers} crop layers leaves no point; lower the factor."
            )
        return
    grids = values["point_grids"]
    if isinstance(grids, np.ndarray) or not isinstance(grids, Sequence):
        raise ParameterError("point_grids is a list of arrays (n, 2), one per crop layer.")
    if len(grids) != layers + 1:
        raise ParameterError(
            f"point_grids needs {layers + 1} arrays, one for the image and one per crop layer; "
            f"got {len(grids)}."
        )
    for grid in grids:
        array = np.asarray(grid)
        if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "fiu":
            raise ParameterError(f"A point grid has shape (n, 2); got {array.shape}.")
        if not np.all((array >= 0) & (array <= 1)):
            raise ParameterError("A point grid holds (x, y) as fractions between 0 and 1.")


def _set_floors(values: dict[str, Any]) -> None:
    for stem, margin in FLOOR_MARGIN.items():
        threshold, floor = values[f"{stem}_thresh"], values[f"{stem}_floor"]
        if floor is None:
            values[f"{stem}_floor"] = max(0.0, threshold - margin)
        elif floor > threshold:
            raise ParameterError(
                f"{stem}_floor={floor} is above {stem}_thresh={threshold}; lower it."
            )
