"""`napari-sam segment`: the objects under points and boxes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..engine import Predictor, Prompts
    from ..formats import RLE
    from ..progress import Progress

PROMPTS = "Prompts (row, column) in pixels"
MASK_BYTES = 2**28


def segment(
    image: options.ImageArgument,
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROW,COL",
            help="A point in the object; repeat for more points of the same object.",
            rich_help_panel=PROMPTS,
        ),
    ] = None,
    negative: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROW,COL", help="A point outside of the object.", rich_help_panel=PROMPTS
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="R0,C0,R1,C1",
            help="A box around an object; repeat for more objects.",
            rich_help_panel=PROMPTS,
        ),
    ] = None,
    each_point: Annotated[
        bool,
        typer.Option(
            "--each-point",
            help="Every --point is an object of its own.",
            rich_help_panel=PROMPTS,
        ),
    ] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV with columns object,kind,row,col,label,row_min,col_min,row_max,col_max, "
            "or points or shapes saved from napari as CSV, or a JSON list of objects.",
            rich_help_panel=PROMPTS,
        ),
    ] = None,
    axes: options.AxesOption = None,
    plane: options.PlaneOption = None,
    channel_axis: options.ChannelAxisOption = None,
    channels: options.ChannelsOption = None,
    contrast_limits: options.ContrastOption = "auto",
    model: options.ModelOption = "default",
    device: options.DeviceOption = "auto",
    precision: options.PrecisionOption = options.Precision.auto,
    cache: options.CacheOption = False,
    multimask: Annotated[
        bool,
        typer.Option(
            "--multimask/--single-mask",
            help="The best of three masks (whole, part, subpart), or the network's single one.",
            rich_help_panel=options.MODEL,
        ),
    ] = True,
    min_mask_region_area: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Fill holes and drop islands of a mask smaller than this, in pixels. "
            "By default what the model carries; published masks stay as they are.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Outline the objects under points and boxes.

    All --point and --negative together describe one object; each --box is an object; points
    and a single box describe one object together. Files hold any number of objects.

    Writes NAME_labels.tif, NAME_masks.json, NAME_table.csv and NAME_overlay.png.

    Examples:

    napari-sam segment sample:coins -o out/ --point 54,44

    napari-sam segment sample:coins -o out/ --point 54,44 --negative 54,100

    napari-sam segment sample:coins -o out/ --box 33,21,75,68 --box 37,79,75,122

    napari-sam segment cells.tif -o out/ --prompts clicks.csv
    """
    from ..errors import PromptError
    from ..reading import require_file
    from . import output as results
    from . import prompt_files
    from .cache import make_predictor
    from .inputs import open_input
    from .report import progress_bar

    objects = prompt_files.from_options(point or [], negative or [], box or [], each_point)
    if prompts is not None:
        if objects:
            raise PromptError("give prompts as options or in a file, not both")
        objects = prompt_files.read_prompts(require_file(prompts, "file of prompts", PromptError))
    if not objects:
        raise PromptError("nothing to segment: give --point, --box or --prompts")
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

    import numpy as np

    from ..automatic.overlaps import priority, resolve_overlaps
    from ..automatic.regions import remove_small_regions
    from ..engine import Prompts, load_model, prompted_parts
    from ..formats.records import ImageRecords, MaskRecord
    from ..formats.rle import encode
    from ..progress import Progress, finish

    asked = Prompts.from_objects(
        {key: value for key, value in each.items() if key != "id"} for each in objects
    )
    with progress_bar(quiet) as show:
        show(Progress(0, 1, message="loading the model"))
        loaded = load_model(model, device, str(precision), progress=show)
        predictor = make_predictor(loaded, cache)
        began = time.perf_counter()
        masks, scores, shape = finish(
            _predict(predictor, opened.image, opened.engine_options, asked, multimask), show
        )
        if min_mask_region_area is None:
            carried = loaded.everything_defaults("grid")
            min_mask_region_area = float(carried.get("min_mask_region_area", 0))
        if min_mask_region_area > 0:
            masks = [
                remove_small_regions(mask, min_mask_region_area)[0] if mask.area else mask
                for mask in masks
            ]
        if loaded.prompted_parts_only:
            masks = [
                encode(prompted_parts(mask.decode(), *_places(each)))
                for mask, each in zip(masks, objects, strict=True)
            ]
    areas = np.array([mask.area for mask in masks], np.int64)
    # whatever was asked for stays, however little of it the others leave visible
    painted = resolve_overlaps(
        masks, priority("score", areas, scores), shape, min_visible=0, min_piece=0
    )
    numbers = [each["id"] for each in objects]
    lookup = np.array([0, *numbers], np.min_scalar_type(max(numbers)))
    seconds = time.perf_counter() - began
    result = results.Result(
        image=opened,
        model=loaded,
        labels=lookup[painted.labels],
        records=ImageRecords(
            width=shape[1],
            height=shape[0],
            records=tuple(
                MaskRecord.from_mask(
                    mask,
                    id=each["id"],
                    predicted_iou=float(score),
                    point_coords=tuple((col, row) for row, col in each.get("points", ())),
                )
                for mask, score, each in zip(masks, scores, objects, strict=True)
            ),
            file_name=opened.source,
        ),
        seconds=seconds,
        facts={"prompted": len(objects)},
        parameters={"multimask": multimask, "min_mask_region_area": min_mask_region_area},
        prompts=objects,
    )
    target.finish(result, files)


def _places(each: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Points, their labels and the box of an object, as `prompted_parts` takes them."""
    return each.get("points", ()), each.get("labels"), each.get("box")


def _predict(
    predictor: Predictor,
    image: Any,
    image_options: dict[str, Any],
    prompts: Prompts,
    multimask: bool,
) -> Generator[Progress, None, tuple[list[RLE], Any, tuple[int, int]]]:
    """Embed once, then decode a batch of objects at a time, so that few masks are in memory."""
    import numpy as np

    from ..engine import Views, predict_in_focus
    from ..formats import encode_many
    from ..progress import Progress

    yield Progress(0, 1, message="encoding")
    views = Views(predictor, image, **image_options)
    yield Progress(1, 1, message="encoding")
    rows, cols = views.shape
    masks: list[RLE | None] = [None] * len(prompts)
    scores = np.zeros(len(prompts), np.float32)
    size = max(1, min(64, MASK_BYTES // (3 * rows * cols)))
    done = 0
    for start in range(0, len(prompts), size):
        yield Progress(done, len(prompts), message="decoding")
        batch = prompts[start : start + size]
        for which, found, _ in predict_in_focus(predictor, views, batch, multimask):
            best = np.zeros((len(which), rows, cols), bool)
            best[(slice(None), *found.window.slices)] = found.best()
            for index, mask, score in zip(
                which, encode_many(best), found.scores.max(axis=1), strict=True
            ):
                masks[start + index], scores[start + index] = mask, score
            done += len(which)
            yield Progress(done, len(prompts), message="decoding")
    return [mask for mask in masks if mask is not None], scores, views.shape
