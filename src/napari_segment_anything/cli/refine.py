"""`napari-sam refine`: boxes, masks and labels of another program as prompts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from ..parameters import PROMPTING, REFINING
from . import options
from .generated import generated

OBJECTS = "Objects of another program"
_MASKS = {name: PROMPTING[name] for name in ("min_mask_region_area", "window_size")}


@generated((REFINING, OBJECTS), (_MASKS, options.MODEL))
def refine(
    image: options.ImageArgument,
    prompts: Annotated[
        str | None,
        options.option(
            OBJECTS,
            "Boxes or outlines as CSV, COCO JSON or GeoJSON, shapes saved from napari as CSV, or a "
            "label image: TIFF, PNG, NPY, NPZ or OME-Zarr.",
            metavar="FILE",
        ),
    ] = None,
    *,
    parameters: dict[str, Any],
    plane: options.PlaneOption = None,
    view: options.ImageOptions,
    network: options.ModelOptions,
    cache: options.CacheOption = False,
    output: Annotated[
        Path | None,
        options.option(
            options.RESULT,
            "Folder for labels, masks and tables; or an OME-Zarr store for the labels of an image "
            "of any size, with masks and tables beside it.",
            "-o",
            "--output",
            metavar="DIR|STORE.zarr",
        ),
    ] = None,
    label: Annotated[
        str, options.option(options.RESULT, "Name of the labels in a store.", metavar="NAME")
    ] = "refined",
    overwrite: options.OverwriteOption = False,
    report: options.Reporting,
) -> None:
    """Refine the objects that another program found.

    Every box, mask or label prompts the model, and keeps its id, class and score.

    Writes NAME_labels.tif, NAME_masks.json, NAME_table.csv, NAME_overlay.png and NAME_review.csv:
    where the two disagree, what is most worth a look first. If objects have classes, also
    NAME_coco.json.

    Examples:

    napari-sam refine cells.tif --prompts stardist.tif -o out/

    napari-sam refine cells.tif --prompts detections.json -o out/ --prompt box

    napari-sam refine slide.ome.zarr --prompts nuclei.geojson -o slide_refined.ome.zarr
    """
    from ..errors import PromptError
    from .cache import make_predictor
    from .inputs import open_input
    from .refine_output import RefineOutput
    from .report import progress_bar

    if prompts is None:
        raise PromptError("there is nothing to refine: give --prompts")
    opened = open_input(image, view, plane)
    target = RefineOutput(output, label, overwrite, report, opened)

    from ..progress import finish
    from ..refining import refine_steps

    with progress_bar(report.quiet) as show:
        loaded = network.load(show)
        began = time.perf_counter()
        found = finish(
            refine_steps(
                opened.image,
                prompts,
                loaded,
                predictor=make_predictor(loaded, cache),
                image_name=Path(opened.source).name,
                **opened.engine_options,
                **parameters,
            ),
            show,
        )
        target.finish(found, loaded, began, {**parameters, "prompt": found.prompt}, show)
