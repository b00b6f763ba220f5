"""`napari-sam everything`: find and outline every object."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..automatic import CandidateTable
    from ..formats.records import ImageRecords

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
PolicyOption = Annotated[
    Policy,
    typer.Option(
        help="Which mask wins a pixel: the smaller (parts stay visible on wholes), the one "
        "with the better score, or the larger.",
        rich_help_panel=PAINT,
    ),
]


def everything(
    image: options.ImageArgument,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    mode: Annotated[
        Mode,
        typer.Option(
            metavar="MODE",
            help="auto, grid, proposals or instances. grid: the paper's. proposals: prompts at "
            "the model's own proposals. instances: read off the model's dense output. "
            "auto: what the model does best.",
            rich_help_panel=FIND,
        ),
    ] = Mode.auto,
    points_per_side: PointsPerSide = None,
    points_per_batch: PointsPerBatch = None,
    point_grids: PointGrids = None,
    crop_n_layers: CropLayers = None,
    crop_overlap_ratio: CropOverlap = None,
    crop_n_points_downscale_factor: CropDownscale = None,
    stability_score_offset: StabilityOffset = None,
    proposal_prompt: ProposalPrompted = None,
    foreground_thresh: Foreground = None,
    peak_thresh: Peak = None,
    peak_nms_thresh: PeakNms = None,
    agreement_thresh: Agreement = None,
    merge_thresh: Merge = None,
    center_distance_thresh: CenterDistance = None,
    boundary_distance_thresh: BoundaryDistance = None,
    foreground_smoothing: ForegroundSmoothing = None,
    distance_smoothing: DistanceSmoothing = None,
    pred_iou_thresh: PredIou = None,
    stability_score_thresh: Stability = None,
    box_nms_thresh: BoxNms = None,
    crop_nms_thresh: CropNms = None,
    crop_choice: CropChoiceOption = None,
    nms: Nms = None,
    min_mask_region_area: RegionArea = None,
    min_area: MinArea = None,
    max_area: MaxArea = None,
    policy: PolicyOption = Policy.small,
    model: options.ModelOption = "default",
    instance_decoder: options.DecoderOption = None,
    device: options.DeviceOption = "auto",
    precision: options.PrecisionOption = options.Precision.auto,
    cache: options.CacheOption = False,
    axes: options.AxesOption = None,
    plane: options.PlaneOption = None,
    channel_axis: options.ChannelAxisOption = None,
    channels: options.ChannelsOption = None,
    contrast_limits: options.ContrastOption = "auto",
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Find and outline every object in an image.

    Writes NAME_labels.tif, NAME_masks.json, NAME_table.csv and NAME_overlay.png. Parameters that
    are left out have the model's own defaults, else those in parentheses.

    Examples:

    napari-sam everything sample:coins -o out/

    napari-sam everything cells.tif -o out/ --min-area 40 --policy score

    napari-sam everything stack.tif --plane 12 -o out/ --mode grid --points-per-side 48

    napari-sam everything cells.tif --json > masks.json
    """
    given: dict[str, Any] = {
        "points_per_side": points_per_side,
        "points_per_batch": points_per_batch,
        "point_grids": None if point_grids is None else _read_grids(point_grids),
        "crop_n_layers": crop_n_layers,
        "crop_overlap_ratio": crop_overlap_ratio,
        "crop_n_points_downscale_factor": crop_n_points_downscale_factor,
        "stability_score_offset": stability_score_offset,
        "proposal_prompt": proposal_prompt,
        "foreground_thresh": foreground_thresh,
        "peak_thresh": peak_thresh,
        "peak_nms_thresh": peak_nms_thresh,
        "agreement_thresh": agreement_thresh,
        "merge_thresh": merge_thresh,
        "center_distance_thresh": center_distance_thresh,
        "boundary_distance_thresh": boundary_distance_thresh,
        "foreground_smoothing": foreground_smoothing,
        "distance_smoothing": distance_smoothing,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
        "box_nms_thresh": box_nms_thresh,
        "crop_nms_thresh": crop_nms_thresh,
        "crop_choice": crop_choice,
        "nms": nms,
        "min_mask_region_area": min_mask_region_area,
        "min_area": min_area,
        "max_area": max_area,
    }
    from . import output as results
    from .cache import make_predictor
    from .inputs import open_input
    from .report import progress_bar

    target = results.Target(output, overwrite=overwrite, as_json=as_json, quiet=quiet)
    opened = open_input(
        image,
        axes=axes,
        plane=plane,
        channel_axis=channel_axis,
        channels=channels,
        contrast_limits=contrast_limits,
    )
    files = target.files(opened.name)

    from ..automatic import generate_candidates
    from ..engine import load_model
    from ..progress import Progress, finish

    parameters = {
        name: str(value) if isinstance(value, StrEnum) else value
        for name, value in given.items()
        if value is not None
    }
    with progress_bar(quiet) as show:
        show(Progress(0, 1, message="loading the model"))
        loaded = load_model(
            model, device, str(precision), instance_decoder=instance_decoder, progress=show
        )
        began = time.perf_counter()
        table = finish(
            generate_candidates(
                opened.image,
                loaded,
                mode=str(mode),
                predictor=make_predictor(loaded, cache),
                **opened.engine_options,
                **parameters,
            ),
            show,
        )
    labels = table.to_labels(str(policy))
    seconds = time.perf_counter() - began
    result = results.Result(
        image=opened,
        model=loaded,
        labels=labels,
        records=_records(table, opened.source),
        seconds=seconds,
        facts={"mode": table.mode, "candidates": len(table.candidates)},
        parameters=dict(table.parameters),
    )
    target.finish(result, files)


def _records(table: CandidateTable, source: str) -> ImageRecords:
    """Masks with their scores, each with the id it has in the label image."""
    from ..formats.records import ImageRecords, MaskRecord

    rows, cols = table.shape
    pairs = zip(table.masks, table.to_records("coco_rle"), strict=True)
    keys = ("predicted_iou", "stability_score", "point_coords", "crop_box")
    records = [
        MaskRecord.from_mask(mask, id=number, **{key: record[key] for key in keys})
        for number, (mask, record) in enumerate(pairs, start=1)
    ]
    return ImageRecords(cols, rows, tuple(records), file_name=source)


def _read_grids(path: Path) -> list[NDArray[Any]]:
    import json

    import numpy as np

    from ..errors import ParameterError

    try:
        return [np.asarray(grid, dtype=float) for grid in json.loads(path.read_text("utf-8"))]
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"{path.name} must hold a list of grids, each a list of [x, y]: {error}"
        ) from None
