"""The parameters of everything mode: names, meaning, ranges, and where each applies."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError

MODES = ("grid", "proposals", "instances")
_DECODER = ("grid", "proposals")
_DENSE = ("proposals", "instances")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of everything mode.

    Parameters
    ----------
    default : object
        Value where neither the caller nor the model gives one.
    kind : type
        int, float, str, or object for arrays.
    help : str
        One line for help texts and tooltips.
    low, high : float
        Closed range of numbers.
    modes : tuple of str
        Modes it acts in.
    choices : tuple of str
        The values a str may have.
    filter : bool
        Whether `CandidateTable.refilter` can change it without computing candidates anew.
    head : str
        The dense head of the model that it belongs to; "" for any or none.
    mode_defaults : mapping of str to object
        Other defaults in some modes.
    """

    default: Any
    kind: type
    help: str
    low: float = -math.inf
    high: float = math.inf
    modes: tuple[str, ...] = MODES
    choices: tuple[str, ...] = ()
    filter: bool = False
    head: str = ""
    mode_defaults: Mapping[str, Any] = field(default_factory=dict)


PARAMETERS: dict[str, Parameter] = {
    "points_per_side": Parameter(
        32, int, "Points along one side of the grid.", 1, 1024, modes=("grid",)
    ),
    "points_per_batch": Parameter(
        64, int, "Prompts decoded at once; more needs more memory.", 1, 65536, modes=_DECODER
    ),
    "pred_iou_thresh": Parameter(
        0.88, float, "Masks must have a predicted IoU above this.", 0, 1,
        filter=True, mode_defaults={"instances": 0.0},
    ),
    "stability_score_thresh": Parameter(
        0.95, float, "Masks must have at least this stability score.", 0, 1,
        filter=True, mode_defaults={"instances": 0.0},
    ),
    "stability_score_offset": Parameter(
        1.0, float, "Shift of the logit threshold that stability is measured with.", 0, 100
    ),
    "box_nms_thresh": Parameter(
        0.7, float, "Largest overlap (IoU) of two masks found in the same crop.", 0, 1,
        filter=True, mode_defaults={"instances": 1.0},
    ),
    "crop_n_layers": Parameter(
        0, int, "Also run on crops: layer n has 2^n x 2^n of them.", 0, 6
    ),
    "reduced_n_layers": Parameter(
        0, int, "Also run on the image reduced: layer n 2^n times, for objects that fill it.", 0, 4,
        modes=("instances",),
    ),
    "symmetries": Parameter(
        1, int, "Average dense maps over so many mirrored and turned views; time grows with it.",
        1, 8, modes=_DENSE, head="dense",
    ),
    "crop_nms_thresh": Parameter(
        0.7, float, "Largest overlap (IoU) of two masks from different crops.", 0, 1,
        filter=True, mode_defaults={"instances": 0.5},
    ),
    "crop_choice": Parameter(
        "all", str,
        "Masks of all crop layers together, or of the one layer that explains most of the image.",
        modes=("instances",), choices=("all", "best"), filter=True,
    ),
    "crop_overlap_ratio": Parameter(
        512 / 1500, float, "Overlap of crops in the first layer, of the shorter side.", 0, 0.99
    ),
    "crop_n_points_downscale_factor": Parameter(
        1, int, "Divide points_per_side by this for each crop layer.", 1, 1024, modes=("grid",)
    ),
    "point_grids": Parameter(
        None, object,
        "One array (n, 2) of (x, y) in 0..1 per crop layer, in place of points_per_side.",
        modes=("grid",),
    ),
    "min_mask_region_area": Parameter(
        0, int, "Fill holes and drop islands with fewer pixels.", 0, 2**31, filter=True
    ),
    "min_area": Parameter(0, int, "Drop masks with fewer pixels.", 0, 2**40, filter=True),
    "max_area": Parameter(
        None, int, "Drop masks with more pixels; none by default.", 1, 2**40, filter=True
    ),
    "nms": Parameter(
        "box", str, "Whether overlap is that of the boxes (as published) or of the masks.",
        choices=("box", "mask"), filter=True,
    ),
    "pred_iou_floor": Parameter(
        None, float, "Keep masks down to this predicted IoU for later filtering.", 0, 1,
        modes=_DECODER,
    ),
    "stability_score_floor": Parameter(
        None, float, "Keep masks down to this stability for later filtering.", 0, 1,
        modes=_DECODER,
    ),
    "proposal_prompt": Parameter(
        "point", str, "How the decoder is prompted at a proposal.", modes=("proposals",),
        choices=("point", "box", "both"),
    ),
    "foreground_thresh": Parameter(
        0.5, float, "Least foreground probability of a pixel of an object.", 0.001, 0.999,
        modes=("instances",),
    ),
    "peak_thresh": Parameter(
        0.4, float, "Least height of a peak of the interior map that proposes an object.", 0, 1,
        modes=_DENSE, head="dense",
    ),
    "peak_nms_thresh": Parameter(
        0.35, float, "Largest overlap (IoU) of two proposals' predicted boxes.", 0, 1,
        modes=_DENSE, head="dense",
    ),
    "agreement_thresh": Parameter(
        0.2, float, "Least IoU of a pixel's own predicted box with that of its object.", 0, 1,
        modes=("instances",), head="dense",
    ),
    "merge_thresh": Parameter(
        0.85, float,
        "Join neighbours where the interior map between them reaches this part of their peaks; "
        "1 joins none.", 0, 1,
        modes=("instances",), head="dense",
    ),
    "center_distance_thresh": Parameter(
        0.5, float, "Seeds lie nearer to a predicted centre than this.", 0, 1,
        modes=("instances",), head="distances",
    ),
    "boundary_distance_thresh": Parameter(
        0.5, float, "Seeds lie farther inside a predicted boundary than this.", 0, 1,
        modes=("instances",), head="distances",
    ),
    "foreground_smoothing": Parameter(
        1.0, float, "Gaussian smoothing of the foreground, in frame pixels.", 0, 100,
        modes=("instances",), head="distances",
    ),
    "distance_smoothing": Parameter(
        1.6, float, "Gaussian smoothing of the distances, in frame pixels.", 0, 100,
        modes=("instances",), head="distances",
    ),
}  # fmt: skip

# How far below the thresholds the floors lie where they are not given.
FLOOR_MARGIN = {"pred_iou": 0.2, "stability_score": 0.2}


@dataclass(frozen=True, slots=True)
class Filters:
    """Thresholds that decide which candidates stay; see `PARAMETERS` for their meaning."""

    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    box_nms_thresh: float = 0.7
    crop_nms_thresh: float = 0.7
    min_mask_region_area: int = 0
    min_area: int = 0
    max_area: int | None = None
    nms: str = "box"
    crop_choice: str = "all"


FILTERS = tuple(name for name, parameter in PARAMETERS.items() if parameter.filter)


def applicable(mode: str, head: str = "") -> list[str]:
    """Names of the parameters that act in a mode, with a model that has this dense head."""
    return [
        name
        for name, parameter in PARAMETERS.items()
        if mode in parameter.modes and (not head or parameter.head in ("", head))
    ]


def check(
    mode: str,
    values: Mapping[str, Any],
    head: str = "",
    names: Sequence[str] | None = None,
) -> None:
    """Refuse unknown names, names without effect in `mode`, and values outside their range.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    values : mapping of str to object
        Parameters; None means "not given".
    head : str
        Dense head of the model, "" if it does not matter.
    names : sequence of str, optional
        The names allowed here; all of the mode's by default.

    Raises
    ------
    ParameterError
        Saying what would be right.
    """
    allowed = applicable(mode, head)
    if names is not None:
        allowed = [n for n in allowed if n in names]
    for name, value in values.items():
        if name not in allowed:
            raise ParameterError(_unknown(name, mode, allowed))
        if value is not None:
            _check_value(name, PARAMETERS[name], value)


def resolve(
    mode: str,
    given: Mapping[str, Any],
    carried: Mapping[str, Any] | None = None,
    head: str = "",
) -> dict[str, Any]:
    """All parameters of a mode: what the caller gave, else what the model carries, else ours.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    given : mapping of str to object
        The caller's; None means "not given".
    carried : mapping of str to object, optional
        The model's own defaults for this mode.
    head : str
        The model's dense head, if it has one.

    Returns
    -------
    dict of str to object
        Every parameter of the mode; floors resolved.

    Raises
    ------
    ParameterError
        As `check`; also if points_per_side and point_grids are both given, or a floor lies
        above its threshold.
    """
    check(mode, given, head)
    check(mode, carried or {}, head)
    explicit = {k: v for k, v in given.items() if v is not None}
    if "points_per_side" in explicit and "point_grids" in explicit:
        raise ParameterError("Give points_per_side or point_grids, not both.")
    out: dict[str, Any] = {}
    for name in applicable(mode, head):
        parameter = PARAMETERS[name]
        value = explicit.get(name, (carried or {}).get(name))
        if value is None:
            value = parameter.mode_defaults.get(mode, parameter.default)
        out[name] = value
    if "points_per_side" in explicit:
        out["point_grids"] = None
    elif out.get("point_grids") is not None:
        out["points_per_side"] = None
    if mode == "grid":
        _check_grids(out)
    if mode in _DECODER:
        _set_floors(out)
    return out


def filters(values: Mapping[str, Any]) -> Filters:
    """Pick the part of resolved parameters that `CandidateTable.refilter` works with."""
    return Filters(**{name: values[name] for name in FILTERS if name in values})


def unit_grids(values: Mapping[str, Any]) -> list[NDArray[np.float64]] | None:
    """Turn the caller's point grids into (row, col) fractions; None where there are none."""
    if values.get("point_grids") is None:
        return None
    return [np.asarray(g, np.float64)[:, ::-1] for g in values["point_grids"]]


def _unknown(name: str, mode: str, allowed: Sequence[str]) -> str:
    if name in PARAMETERS:
        if mode not in PARAMETERS[name].modes:
            modes = " and ".join(PARAMETERS[name].modes)
            return f"'{name}' has no effect in mode '{mode}'; it belongs to {modes}."
        if PARAMETERS[name].head and not PARAMETERS[name].filter:
            return f"'{name}' has no effect with this model's dense head."
        return f"'{name}' needs new candidates; without them only {', '.join(allowed)} can change."
    near = difflib.get_close_matches(name, allowed, 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(allowed)}."
    return f"Unknown parameter '{name}': {hint}"


def _check_value(name: str, parameter: Parameter, value: Any) -> None:
    if parameter.kind is object:
        return
    if parameter.kind is str:
        if value not in parameter.choices:
            raise ParameterError(f"{name} is one of {', '.join(parameter.choices)}; got {value!r}.")
        return
    number = isinstance(value, int | float | np.integer | np.floating)
    number = number and not isinstance(value, bool) and math.isfinite(value)
    if not number or (parameter.kind is int and value != int(value)):
        what = "a whole number" if parameter.kind is int else "a number"
        raise ParameterError(f"{name} is {what}; got {value!r}.")
    if not parameter.low <= value <= parameter.high:
        raise ParameterError(
            f"{name} lies between {parameter.low:g} and {parameter.high:g}; got {value!r}."
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
                f"{stem}_floor={floor} lies above {stem}_thresh={threshold}; lower it."
            )
