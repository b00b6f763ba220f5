"""Parameters of everything mode as options, for every verb that runs it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIND = "Finding candidates"
DENSE = "Modes proposals and instances"
KEEP = "Keeping or dropping them"
PAINT = "Painting the label image"


class Mode(StrEnum):
    """How candidates are found."""

    auto = "auto"
    grid = "grid"
    proposals = "proposals"
    instances = "instances"


class Overlap(StrEnum):
    """What overlap of two masks is measured on."""

    box = "box"
    mask = "mask"


class CropChoice(StrEnum):
    """Which crop layers' masks stay."""

    all = "all"
    best = "best"


class ProposalPrompt(StrEnum):
    """What the decoder is given at a proposal."""

    point = "point"
    box = "box"
    both = "both"


class Policy(StrEnum):
    """Who wins a pixel that several masks cover."""

    small = "small"
    score = "score"
    large = "large"


def _tune(text: str, default: str, panel: str) -> Any:
    return typer.Option(
        help=f"{text} ({default})",
        rich_help_panel=panel,
        show_default=False,
    )


PointsPerSide = Annotated[int | None, _tune("Points along one side of the grid.", "32", FIND)]
PointsPerBatch = Annotated[
    int | None, _tune("Prompts decoded at once; more needs more memory.", "64", FIND)
]
PointGrids = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON: a list of (x, y) in 0..1 for the image and each crop layer, instead of a grid.",
        rich_help_panel=FIND,
    ),
]
CropLayers = Annotated[
    int | None, _tune("Also run on crops: layer n has 2^n x 2^n of them.", "0", FIND)
]
ReducedLayers = Annotated[
    int | None,
    _tune("Also run on the image reduced: layer n 2^n times, for objects that fill it.", "0", FIND),
]
Symmetries = Annotated[
    int | None,
    _tune(
        "Average dense maps over so many mirrored and turned views; time grows with it.", "1", FIND
    ),
]
CropChoiceOption = Annotated[
    CropChoice | None,
    _tune(
        "Masks of all crop layers together, or of the one layer that explains most of the image.",
        "all",
        KEEP,
    ),
]
CropOverlap = Annotated[
    float | None, _tune("Overlap of crops in the first layer, of the shorter side.", "0.341", FIND)
]
CropDownscale = Annotated[
    int | None, _tune("Divide points-per-side by this for each crop layer.", "1", FIND)
]
StabilityOffset = Annotated[
    float | None,
    _tune("Shift of the logit threshold that stability is measured with.", "1.0", FIND),
]
ProposalPrompted = Annotated[
    ProposalPrompt | None, _tune("How the decoder is prompted at a proposal.", "point", DENSE)
]
Foreground = Annotated[
    float | None, _tune("Least foreground probability of a pixel of an object.", "0.5", DENSE)
]
Peak = Annotated[
    float | None,
    _tune("Least height of a peak of the interior map that proposes an object.", "0.4", DENSE),
]
PeakNms = Annotated[
    float | None, _tune("Largest overlap (IoU) of two proposals' predicted boxes.", "0.35", DENSE)
]
Agreement = Annotated[
    float | None,
    _tune("Least IoU of a pixel's own predicted box with that of its object.", "0.2", DENSE),
]
Merge = Annotated[
    float | None,
    _tune(
        "Join neighbours where the interior map between them reaches this part of their peaks.",
        "0.85",
        DENSE,
    ),
]
CenterDistance = Annotated[
    float | None, _tune("Seeds lie nearer to a predicted centre than this.", "0.5", DENSE)
]
BoundaryDistance = Annotated[
    float | None, _tune("Seeds lie farther inside a predicted boundary than this.", "0.5", DENSE)
]
ForegroundSmoothing = Annotated[
    float | None, _tune("Gaussian smoothing of the foreground, in frame pixels.", "1.0", DENSE)
]
DistanceSmoothing = Annotated[
    float | None, _tune("Gaussian smoothing of the distances, in frame pixels.", "1.6", DENSE)
]
PredIou = Annotated[
    float | None, _tune("Masks must have a predicted IoU above this.", "0.88", KEEP)
]
Stability = Annotated[
    float | None, _tune("Masks must have at least this stability score.", "0.95", KEEP)
]
BoxNms = Annotated[
    float | None, _tune("Largest overlap (IoU) of two masks found in the same crop.", "0.7", KEEP)
]
CropNms = Annotated[
    float | None, _tune("Largest overlap (IoU) of two masks from different crops.", "0.7", KEEP)
]
Nms = Annotated[
    Overlap | None,
    _tune("Whether overlap is that of the boxes (as published) or of the masks.", "box", KEEP),
]
RegionArea = Annotated[
    int | None, _tune("Fill holes and drop islands with fewer pixels.", "0", KEEP)
]
MinArea = Annotated[int | None, _tune("Drop masks with fewer pixels.", "0", KEEP)]
MaxArea = Annotated[int | None, _tune("Drop masks with more pixels.", "none", KEEP)]
ModeOption = Annotated[
    Mode,
    typer.Option(
        metavar="MODE",
        help="auto, grid, proposals or instances. grid: the paper's. proposals: prompts at "
        "the model's own proposals. instances: read off the model's dense output. "
        "auto: what the model does best.",
        rich_help_panel=FIND,
    ),
]
PolicyOption = Annotated[
    Policy,
    typer.Option(
        help="Which mask wins a pixel: the smaller (parts stay visible on wholes), the one "
        "with the better score, or the larger.",
        rich_help_panel=PAINT,
    ),
]
TUNING: dict[str, Any] = {
    "points_per_side": PointsPerSide,
    "points_per_batch": PointsPerBatch,
    "point_grids": PointGrids,
    "crop_n_layers": CropLayers,
    "crop_overlap_ratio": CropOverlap,
    "crop_n_points_downscale_factor": CropDownscale,
    "stability_score_offset": StabilityOffset,
    "proposal_prompt": ProposalPrompted,
    "foreground_thresh": Foreground,
    "peak_thresh": Peak,
    "peak_nms_thresh": PeakNms,
    "agreement_thresh": Agreement,
    "merge_thresh": Merge,
    "center_distance_thresh": CenterDistance,
    "boundary_distance_thresh": BoundaryDistance,
    "foreground_smoothing": ForegroundSmoothing,
    "distance_smoothing": DistanceSmoothing,
    "pred_iou_thresh": PredIou,
    "stability_score_thresh": Stability,
    "box_nms_thresh": BoxNms,
    "crop_nms_thresh": CropNms,
    "reduced_n_layers": ReducedLayers,
    "symmetries": Symmetries,
    "crop_choice": CropChoiceOption,
    "nms": Nms,
    "min_mask_region_area": RegionArea,
    "min_area": MinArea,
    "max_area": MaxArea,
}
"""Type of each parameter's option; None, left out, is the model's own default."""


def tuned(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb an option for every parameter of everything mode.

    Those that were given reach it as `parameters`, by name, ready for the engine.
    """
    own = inspect.signature(verb)
    hints = get_type_hints(verb, include_extras=True)
    kept = [p.replace(annotation=hints[p.name]) for p in own.parameters.values() if p.name in hints]
    kept = [p for p in kept if p.name != "parameters"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in TUNING.items()
    ]

    @functools.wraps(verb)
    def with_options(**values: Any) -> None:
        given = {name: values.pop(name) for name in TUNING}
        if given["point_grids"] is not None:
            given["point_grids"] = _read_grids(given["point_grids"])
        parameters = {
            name: str(value) if isinstance(value, StrEnum) else value
            for name, value in given.items()
            if value is not None
        }
        verb(**values, parameters=parameters)

    positional = [p for p in kept if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    rest = [p for p in kept if p.kind is inspect.Parameter.KEYWORD_ONLY]
    with_options.__signature__ = own.replace(parameters=[*positional, *added, *rest])  # type: ignore[attr-defined]
    with_options.__annotations__ = {
        **{p.name: p.annotation for p in (*kept, *added)},
        "return": None,
    }
    del with_options.__wrapped__
    return with_options


def _read_grids(path: Path) -> list[NDArray[Any]]:
    import numpy as np

    from ..errors import ParameterError
    from ..reading import read_json

    kind = list[list[tuple[float, float]]]
    try:
        grids = read_json(path, kind, what="list of point grids", error=ParameterError)
    except ParameterError as error:
        raise ParameterError(f"{error}. It holds a list of grids, each a list of [x, y]") from None
    return [np.asarray(grid, dtype=float).reshape(-1, 2) for grid in grids]
