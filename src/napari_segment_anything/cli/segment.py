"""`napari-sam segment`: the objects under points and boxes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from ..parameters import PROMPTING
from . import options
from .generated import generated

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..engine import Prompts, Segmenter
    from ..formats import RLE
    from ..progress import Progress
    from .inputs import Input
    from .output import Result
    from .report import Show

PROMPTS = "Prompts (row, column) in pixels"
_MASKS = {name: PROMPTING[name] for name in ("min_mask_region_area", "window_size")}


@generated((_MASKS, options.MODEL))
def segment(
    images: options.ImagesArgument,
    point: Annotated[
        list[str] | None,
        options.option(
            PROMPTS,
            "A point inside the object; can be repeated for the same object.",
            metavar="ROW,COL",
        ),
    ] = None,
    negative: Annotated[
        list[str] | None,
        options.option(PROMPTS, "A point outside the object.", metavar="ROW,COL"),
    ] = None,
    box: Annotated[
        list[str] | None,
        options.option(
            PROMPTS,
            "A box around an object; can be repeated, for an object each.",
            metavar="R0,C0,R1,C1",
        ),
    ] = None,
    words: Annotated[
        str | None,
        options.option(
            PROMPTS,
            "What the object is, for a model that was trained with text prompts; points help "
            "where words are not enough.",
            metavar="TEXT",
        ),
    ] = None,
    each_point: Annotated[
        bool, options.option(PROMPTS, "Treat every --point as a separate object.", "--each-point")
    ] = False,
    prompts: Annotated[
        str | None,
        options.option(
            PROMPTS,
            "CSV with columns object,kind,row,col,label,row_min,col_min,row_max,col_max, "
            "or points or shapes saved from napari as CSV, or a JSON list of objects. For several "
            "images a folder of such files with their names.",
            metavar="FILE|DIR",
        ),
    ] = None,
    *,
    plane: options.PlaneOption = None,
    view: options.ImageOptions,
    network: options.ModelOptions,
    cache: options.CacheOption = False,
    multimask: Annotated[
        bool | None,
        options.option(
            options.MODEL,
            "The best of three masks (whole, part, subpart), or the network's single one. "
            "By default the best of three for a single point, else the single one.",
            "--multimask/--single-mask",
        ),
    ] = None,
    parameters: dict[str, Any],
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    resume: options.ResumeOption = False,
    report: options.Reporting,
) -> None:
    """Outline the objects under points and boxes, in an image or in each of several.

    All --point and --negative options describe one object together, and a single --box as well;
    several boxes are an object each. Files can hold any number of objects. --words are for models
    that were trained with them (prompt = "clip"); to find all objects that words mean, see
    `napari-sam find`.

    Writes NAME_labels.tif, NAME_masks.json, NAME_table.csv and NAME_overlay.png.

    Examples:

    napari-sam segment sample:coins -o out/ --point 54,44

    napari-sam segment sample:coins -o out/ --point 54,44 --negative 54,100

    napari-sam segment sample:coins -o out/ --box 33,21,75,68 --box 37,79,75,122

    napari-sam segment cells.tif -o out/ --prompts clicks.csv

    napari-sam segment raw/ -o out/ --prompts clicks/ --resume
    """
    from ..errors import PromptError
    from ..reading import require_file
    from . import prompt_files
    from .batch import Batch, Place, places_of
    from .cache import make_predictor
    from .output import ImageOutput
    from .prompt_matching import missing, prompts_of
    from .report import progress_bar

    places = places_of(images)
    asked = prompt_files.from_options(point or [], negative or [], box or [], each_point)
    if prompts is not None and asked:
        raise PromptError("give prompts either as options or in a file, not both")
    if words is not None:
        if len(asked) > 1:
            raise PromptError("--words describe one object: give its points with them, or none")
        asked = asked or [{"id": 1}]
    if prompts is None and not asked:
        raise PromptError("there is nothing to segment: give --point, --box, --words or --prompts")
    if asked and len(places) > 1:
        raise PromptError(
            f"prompts of {len(places)} images: give a folder of files with their names, --prompts"
        )
    files = {} if prompts is None else prompts_of(places, prompts, (".csv",), coco=False)

    def objects_of(place: Place) -> list[dict[str, Any]]:
        if prompts is None:
            return asked
        path = files[place]
        if path is None:
            raise missing(prompts, place)
        return prompt_files.read_prompts(require_file(path, "file of prompts", PromptError))

    if len(places) == 1 and prompts is not None:
        asked = objects_of(places[0])
    batch = Batch(places, ImageOutput(output, overwrite, report), resume)
    batch.check(view, plane)

    from ..engine import Segmenter

    with progress_bar(report.quiet) as show:
        loaded = network.load(show)
        text = {} if words is None else {"text": loaded.text_vectors([words])[0]}
        segmenter = Segmenter(
            make_predictor(loaded, cache),
            multimask="auto" if multimask is None else multimask,
            **parameters,
        )

        def work(place: Place, opened: Input, step: Show) -> Result:
            return _result(segmenter, opened, asked or objects_of(place), text, step)

        batch.run(loaded, view, plane, show, work)


def _result(
    segmenter: Segmenter,
    image: Input,
    objects: list[dict[str, Any]],
    text: dict[str, Any],
    show: Show,
) -> Result:
    """Segment the objects of one image."""
    import numpy as np

    from ..automatic.overlaps import priority, resolve_overlaps
    from ..engine import Prompts
    from ..formats.records import ImageRecords, MaskRecord
    from ..progress import finish
    from .output import Result

    asked = Prompts.from_objects(
        {**{key: value for key, value in each.items() if key != "id"}, **text} for each in objects
    )
    began = time.perf_counter()
    masks, scores, shape = finish(
        _segment(segmenter, image.image, image.engine_options, asked), show
    )
    areas = np.array([mask.area for mask in masks], np.int64)
    # every prompted object is kept, however little of it is visible
    painted = resolve_overlaps(
        masks, priority("score", areas, scores), shape, min_visible=0, min_piece=0
    )
    numbers = [each["id"] for each in objects]
    lookup = np.array([0, *numbers], np.min_scalar_type(max(numbers)))
    seconds = time.perf_counter() - began
    return Result(
        image=image,
        model=segmenter.predictor.model,
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
            file_name=image.source,
        ),
        seconds=seconds,
        facts={"prompted": len(objects)},
        parameters={
            "multimask": segmenter.multimask,
            "min_mask_region_area": segmenter.min_mask_region_area,
            "window_size": segmenter.window_size,
        },
        prompts=objects,
    )


def _segment(
    segmenter: Segmenter, image: Any, image_options: dict[str, Any], prompts: Prompts
) -> Generator[Progress, None, tuple[list[RLE], Any, tuple[int, int]]]:
    """Segment all objects; returns masks in the full image, scores, and the image's shape."""
    import numpy as np

    from ..engine import Ask, Views, Window
    from ..formats import encode
    from ..progress import Progress

    yield Progress(0, 1, message="reading the image")
    views = Views(segmenter.predictor, image, **image_options)
    prompts.check(Window.full(views.shape), views.shape)  # views leave out what they do not see
    found = yield from segmenter.steps(views, Ask.each(prompts))
    masks = [
        encode(each.mask.mask).place((each.mask.window.row, each.mask.window.col), views.shape)
        for each in found or []
    ]
    return masks, np.array([each.score for each in found or []], np.float32), views.shape
