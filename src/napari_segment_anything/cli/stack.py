"""`napari-sam stack`: volumes and time-lapses, everything in them or what is clicked on."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, tuning

if TYPE_CHECKING:
    from ..engine import Model
    from ..formats import ImageData
    from .report import Show

LINKING, FOLLOWING = "From plane to plane: everything", "From plane to plane: prompted objects"


class Link(StrEnum):
    """How planes are joined."""

    overlap = "overlap"
    track = "track"


class Direction(StrEnum):
    """Where prompted objects are followed to."""

    both = "both"
    forward = "forward"
    backward = "backward"


def _link(text: str, metavar: str | None = None) -> Any:
    return typer.Option(help=text, metavar=metavar, rich_help_panel=LINKING, show_default=False)


def _follow(text: str, metavar: str | None = None) -> Any:
    return typer.Option(help=text, metavar=metavar, rich_help_panel=FOLLOWING, show_default=False)


@tuning.tuned
def stack(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE",
            help="TIFF, NPY, NPZ, Zarr or OME-Zarr with planes; or a built-in sample:NAME.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR|STORE",
            help="Folder for labels (TIFF) and tables; or an OME-Zarr store (NAME.zarr), new or "
            "existing, that labels are written to as they come: for volumes larger than memory. "
            "Everything in a volume: the same command again goes on where a run was stopped.",
            rich_help_panel=options.RESULT,
        ),
    ] = None,
    label: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the labels in the store.",
            rich_help_panel=options.RESULT,
        ),
    ] = "segment_anything",
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the tables, where labels go to a store.",
            rich_help_panel=options.RESULT,
        ),
    ] = None,
    overwrite: options.OverwriteOption = False,
    axis: Annotated[
        str | None,
        typer.Option(
            metavar="LETTER|N",
            help="Axis to go along: Z, T, or its number; Z where there is one, else T.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="I[,J]",
            help="Prompted objects: which stack of a volume with more axes, such as the time.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    link: Annotated[
        Link | None, _link("overlap (volumes), or track (time-lapses, with divisions).")
    ] = None,
    link_thresh: Annotated[
        float | None,
        _link("Least overlap of an object on two planes, relative to a ball's (0.3)."),
    ] = None,
    max_gap: Annotated[
        int | None, _link("Planes in between that an object may be missing from (1).", "N")
    ] = None,
    min_extent: Annotated[
        int | None, _link("Drop objects on fewer planes (2; 1 with --link track).", "N")
    ] = None,
    anisotropy: Annotated[
        float | None,
        _link(
            "Distance of two planes in pixels; by default what the file says. With --point, --box "
            "or --labels: the larger, the sooner objects end."
        ),
    ] = None,
    max_distance: Annotated[
        float | None,
        _link("track: pixels an object may move in a frame; found from the data.", "PIXELS"),
    ] = None,
    divisions: Annotated[
        bool | None, typer.Option("--divisions/--no-divisions", rich_help_panel=LINKING)
    ] = None,
    point: Annotated[
        list[str] | None,
        _follow("A point in the object to follow; repeat for more.", "PLANE,ROW,COL"),
    ] = None,
    negative: Annotated[
        list[str] | None, _follow("A point outside of it.", "PLANE,ROW,COL")
    ] = None,
    box: Annotated[
        list[str] | None,
        _follow("A box around an object; each an object of its own.", "PLANE,R0,C0,R1,C1"),
    ] = None,
    each_point: Annotated[
        bool,
        typer.Option(
            "--each-point",
            help="Every --point is an object of its own.",
            rich_help_panel=FOLLOWING,
        ),
    ] = False,
    labels: Annotated[
        Path | None,
        _follow(
            "Label image with the stack's shape: follow its objects from the planes it has "
            "them on.",
            "FILE",
        ),
    ] = None,
    direction: Annotated[
        Direction, _follow("both, forward or backward from the planes with prompts (both).")
    ] = Direction.both,
    overlap_thresh: Annotated[
        float | None, _follow("It ends where it overlaps less with the plane before.")
    ] = None,
    max_area_change: Annotated[
        float | None, _follow("It ends where its area changes by more than this factor.")
    ] = None,
    stiffness: Annotated[
        float | None,
        _follow("How much the outline on other planes counts against what is seen on this one."),
    ] = None,
    mode: tuning.ModeOption = tuning.Mode.auto,
    policy: tuning.PolicyOption = tuning.Policy.small,
    model: options.ModelOption = "default",
    instance_decoder: options.DecoderOption = None,
    device: options.DeviceOption = "auto",
    precision: options.PrecisionOption = options.Precision.auto,
    cache: options.CacheOption = False,
    axes: options.AxesOption = None,
    channel_axis: options.ChannelAxisOption = None,
    channels: options.ChannelsOption = None,
    contrast_limits: Annotated[
        str,
        typer.Option(
            metavar="auto|percentile|plane|LO,HI",
            help="Intensities shown as black and white, the same on all planes; plane: each its "
            "own.",
            rich_help_panel=options.INPUT,
        ),
    ] = "auto",
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
    *,
    parameters: dict[str, Any],
) -> None:
    """Segment a volume or follow a time-lapse.

    Everything in it, plane by plane, joined through the planes; or, with --point, --box or
    --labels, those objects only, followed from the planes they are prompted on.

    Writes NAME_labels.tif and NAME_table.csv to a folder, and NAME_tracks.csv with --link track.

    Examples:

    napari-sam stack embryo.tif -o out/

    napari-sam stack embryo.tif -o out/ --point 31,120,88

    napari-sam stack movie.tif -o out/ --axis T --link track

    napari-sam stack embryo.ome.zarr -o embryo.ome.zarr --axis Z
    """
    from ..errors import ParameterError
    from . import values
    from .cache import make_predictor
    from .inputs import read_source
    from .report import progress_bar
    from .stack_output import Place

    prompted = bool(point or negative or box or labels)
    joining = {
        "link": None if link is None else str(link),
        "link_thresh": link_thresh,
        "max_gap": max_gap,
        "min_extent": min_extent,
        "anisotropy": None if prompted else anisotropy,
        "max_distance": max_distance,
        "divisions": divisions,
    }
    following = {
        "at": at,
        # the same name, and the same meaning, for masks of either kind
        "pred_iou_thresh": parameters.pop("pred_iou_thresh", None) if prompted else None,
        "overlap_thresh": overlap_thresh,
        "max_area_change": max_area_change,
        "stiffness": stiffness,
        "anisotropy": anisotropy if prompted else None,
        "direction": None if direction is Direction.both else str(direction),
    }
    _refuse(prompted, {**joining, **parameters}, following)
    place = Place(output, tables, overwrite, as_json)
    data = read_source(image, axes)
    place.check(data.name)
    chosen: dict[str, Any] = {
        "axis": _axis(axis),
        "channel_axis": channel_axis,
        "channels": values.indices(channels, "--channels"),
        "contrast_limits": (
            "plane" if contrast_limits == "plane" else values.contrast_limits(contrast_limits)
        ),
        "output": place.store,
        "label": label,
        "overwrite": overwrite,
    }
    given = {**joining, "mode": str(mode), "policy": str(policy), **parameters}
    if prompted:
        given = {**following, "at": values.indices(at, "--at")}
    chosen |= {name: value for name, value in given.items() if value is not None}

    from ..engine import load_model
    from ..progress import Progress

    with progress_bar(quiet) as show:
        show(Progress(0, 1, message="loading the model"))
        loaded = load_model(
            model, device, str(precision), instance_decoder=instance_decoder, progress=show
        )
        chosen["predictor"] = make_predictor(loaded, cache)
        began = time.perf_counter()
        if prompted:
            seeds = _seeds(point or [], negative or [], box or [], each_point, labels, data, chosen)
            result = _propagate(data, seeds, loaded, show, chosen)
        else:
            result = _everything(data, loaded, show, chosen)
    if len(result["table"]["label"]) == 0 and not prompted and result.get("failed"):
        raise ParameterError("no object was found, and some planes could not be read")
    result["seconds"] = time.perf_counter() - began
    place.finish(result, data, loaded, quiet=quiet, source=image)


def _refuse(prompted: bool, everything: dict[str, Any], following: dict[str, Any]) -> None:
    """An option that would do nothing is an error."""
    from ..errors import ParameterError

    idle = everything if prompted else following
    names = [name for name, value in idle.items() if value is not None]
    if names:
        option = "--" + names[0].replace("_", "-")
        what = "prompted objects" if prompted else "everything; give --point, --box or --labels"
        raise ParameterError(f"{option} has no effect on {what}")


def _axis(text: str | None) -> int | str | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text


def _seeds(
    points: list[str],
    negatives: list[str],
    boxes: list[str],
    each_point: bool,
    labels: Path | None,
    data: ImageData,
    chosen: dict[str, Any],
) -> dict[int, Any]:
    """Prompts by plane, as `propagate` takes them."""
    from ..errors import PromptError

    if labels is not None:
        if points or negatives or boxes:
            raise PromptError("give prompts as options or in a label image, not both")
        return _label_seeds(labels, data, chosen)
    if each_point and (negatives or boxes):
        raise PromptError("--each-point goes with --point only")
    if boxes and (points or negatives) and len(boxes) > 1:
        raise PromptError("points and several boxes do not say which belong together")
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for inside, texts, option in ((1, points, "--point"), (0, negatives, "--negative")):
        for number, text in enumerate(texts, start=1):
            plane, place = _placed(text, 2, option, "PLANE,ROW,COL, such as 31,120,88")
            item = found.setdefault(plane, {}).setdefault(number if each_point else 1, {})
            item.setdefault("points", []).append(place)
            item.setdefault("labels", []).append(inside)
    for number, text in enumerate(boxes, start=1):
        plane, place = _placed(text, 4, "--box", "PLANE,R0,C0,R1,C1, such as 31,10,20,60,90")
        found.setdefault(plane, {}).setdefault(number, {})["box"] = place
    return found


def _placed(text: str, count: int, option: str, shape: str) -> tuple[int, list[float]]:
    from ..errors import PromptError
    from .values import numbers

    first, *place = numbers(text, count + 1, option, shape)
    if first != int(first) or first < 0:
        raise PromptError(f"{option} {text}: the plane is a whole number, counted from 0")
    return int(first), place


def _label_seeds(path: Path, data: ImageData, chosen: dict[str, Any]) -> dict[int, Any]:
    import numpy as np

    from ..errors import PromptError
    from ..formats import read_labels
    from ..stacks import Volume

    names = ("axis", "channel_axis", "channels", "contrast_limits")
    volume = Volume.of(data, **{name: chosen[name] for name in names})
    stack = volume.check_stack(chosen.get("at", ()))
    array = read_labels(path)
    if array.shape == volume.shape:
        pick = [volume.index(plane, stack) for plane in range(volume.count)]
    else:
        raise PromptError(f"--labels {path} has the shape {array.shape}, the stack {volume.shape}")
    planes = {plane: np.asarray(array[index]) for plane, index in enumerate(pick)}
    seeds = {plane: labels for plane, labels in planes.items() if labels.any()}
    if not seeds:
        raise PromptError(f"--labels {path} holds no object")
    return seeds


def _everything(
    data: ImageData, model: Model, show: Show, chosen: dict[str, Any]
) -> dict[str, Any]:
    from ..stacks import segment_stack

    found = segment_stack(data, model, on_progress=show, **chosen)
    return {
        "labels": found.labels,
        "table": dict(found.table),
        "tracks": found.tracks,
        "path": found.path,
        "failed": {str(where): why for where, why in found.failed.items()},
    }


def _propagate(
    data: ImageData, seeds: dict[int, Any], model: Model, show: Show, chosen: dict[str, Any]
) -> dict[str, Any]:
    from ..stacks import propagate

    found = propagate(data, seeds, model, on_progress=show, **chosen)
    return {
        "labels": found.labels,
        "table": found.table,
        "tracks": None,
        "path": found.path,
        "scores": found.scores,
        "ends": found.ends,
    }
