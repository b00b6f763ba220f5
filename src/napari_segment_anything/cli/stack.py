"""`napari-sam stack`: segment or follow objects in volumes and time-lapses."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import FOLLOWING, LINKING, RUN
from . import options
from .generated import generated, option_name

if TYPE_CHECKING:
    from ..engine import Model
    from ..formats import ImageData
    from .report import Show

LINKED = "From plane to plane: everything"
FOLLOWED = "From plane to plane: prompted objects"


def _prompt(text: str, metavar: str) -> Any:
    return options.option(FOLLOWED, text, metavar=metavar, show_default=False)


@generated(
    (LINKING, LINKED),
    (FOLLOWING, FOLLOWED),
    *options.FINDING,
)
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
        options.option(
            options.RESULT,
            "Folder for labels (TIFF) and tables; or an OME-Zarr store (NAME.zarr), new or "
            "existing, that labels are written to as they are computed, for volumes larger "
            "than memory. Without prompts, an interrupted run into a store can be continued.",
            "-o",
            "--output",
            metavar="DIR|STORE",
        ),
    ] = None,
    label: Annotated[
        str, options.option(options.RESULT, "Name of the labels in the store.", metavar="NAME")
    ] = "segment_anything",
    tables: Annotated[
        Path | None,
        options.option(
            options.RESULT,
            "Folder for the tables, if labels are written to a store.",
            metavar="DIR",
        ),
    ] = None,
    overwrite: options.OverwriteOption = False,
    axis: Annotated[
        str | None,
        options.option(
            options.INPUT,
            "Axis to go along: Z, T, or its number; Z where there is one, else T.",
            metavar="LETTER|N",
        ),
    ] = None,
    at: Annotated[
        str | None,
        options.option(
            options.INPUT,
            "Prompted objects: index along each further axis, such as the time.",
            metavar="I[,J]",
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        _prompt("A point inside the object to follow; can be repeated.", "PLANE,ROW,COL"),
    ] = None,
    negative: Annotated[
        list[str] | None, _prompt("A point outside the object.", "PLANE,ROW,COL")
    ] = None,
    box: Annotated[
        list[str] | None,
        _prompt(
            "A box around an object; can be repeated, for an object each.", "PLANE,R0,C0,R1,C1"
        ),
    ] = None,
    each_point: Annotated[
        bool, options.option(FOLLOWED, "Treat every --point as a separate object.", "--each-point")
    ] = False,
    labels: Annotated[
        Path | None,
        _prompt(
            "Label image with the stack's shape, whose objects are followed from the planes "
            "they are on.",
            "FILE",
        ),
    ] = None,
    objects: Annotated[
        str | None, _prompt("Follow only the objects with these numbers.", "N[,N...]")
    ] = None,
    *,
    parameters: dict[str, Any],
    network: options.ModelOptions,
    instance_decoder: options.DecoderOption = None,
    cache: options.CacheOption = False,
    view: options.StackOptions,
    report: options.Reporting,
) -> None:
    """Segment a volume or follow a time-lapse.

    Without prompts, every object is found in 3-D, or plane by plane and linked (--link). With
    --point, --box or --labels, only those objects are followed, from the planes they are given on.

    Writes NAME_labels.tif and NAME_table.csv to a folder, and NAME_tracks.csv with --link track.

    Examples:

    napari-sam stack embryo.tif -o out/

    napari-sam stack embryo.tif -o out/ --point 31,120,88

    napari-sam stack movie.tif -o out/ --axis T --link track

    napari-sam stack embryo.ome.zarr -o embryo.ome.zarr --axis Z
    """
    from ..datasets.opening import read_source
    from ..errors import ParameterError
    from . import values
    from .cache import make_predictor
    from .report import progress_bar
    from .stack_output import StackOutput

    prompted = bool(point or negative or box or labels)
    if at is not None:
        parameters["at"] = values.indices(at, "--at")
    if objects is not None:
        parameters["objects"] = values.indices(objects, "--objects")
    _refuse_idle(parameters, prompted)
    target = StackOutput(output, tables, overwrite, report)
    data = read_source(image, view.axes)
    target.check(data.name)
    chosen: dict[str, Any] = {
        "axis": _axis(axis),
        **view.read(),
        "output": target.store,
        "label": label,
        "overwrite": overwrite,
        **parameters,
    }
    with progress_bar(report.quiet) as show:
        loaded = network.load(show, instance_decoder)
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
    target.finish(result, data, loaded, image)


def _refuse_idle(given: Iterable[str], prompted: bool) -> None:
    """Raise `ParameterError` for an option without effect."""
    from ..errors import ParameterError

    acting = {*FOLLOWING, "at", "objects"} if prompted else {*LINKING, *RUN, *options.CANDIDATES}
    for name in given:
        if name not in acting:
            why = "on prompted objects" if prompted else "without --point, --box or --labels"
            raise ParameterError(f"{option_name(name)} has no effect {why}")


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
            raise PromptError("give prompts either as options or in a label image, not both")
        return _label_seeds(labels, data, chosen)
    if each_point and (negatives or boxes):
        raise PromptError("--each-point can only be combined with --point")
    if boxes and (points or negatives) and len(boxes) > 1:
        raise PromptError("with points and several boxes, it is unclear which belong together")
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
    from .stack_output import linked

    return linked(segment_stack(data, model, on_progress=show, **chosen))


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
