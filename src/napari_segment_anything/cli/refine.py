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
    images: options.ImagesArgument,
    prompts: Annotated[
        str | None,
        options.option(
            OBJECTS,
            "Boxes or outlines as CSV, COCO JSON or GeoJSON, shapes saved from napari as CSV, or a "
            "label image: TIFF, PNG, NPY, NPZ or OME-Zarr. For several images a folder of files "
            "with their names, or COCO JSON.",
            metavar="FILE|DIR",
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
    resume: options.ResumeOption = False,
    report: options.Reporting,
) -> None:
    """Refine the objects that another program found, in an image or in each of several.

    Every box, mask or label prompts the model, and keeps its id, class and score.

    Writes NAME_labels.tif, NAME_masks.json, NAME_table.csv, NAME_overlay.png and NAME_review.csv:
    where the two disagree, what is most worth a look first. If objects have classes, also
    NAME_coco.json.

    Examples:

    napari-sam refine cells.tif --prompts stardist.tif -o out/

    napari-sam refine cells.tif --prompts detections.json -o out/ --prompt box

    napari-sam refine slide.ome.zarr --prompts nuclei.geojson -o slide_refined.ome.zarr

    napari-sam refine raw/ --prompts stardist/ -o out/ --resume
    """
    from ..errors import ParameterError, PromptError
    from .batch import Batch, Place, places_of
    from .cache import make_predictor
    from .inputs import Input, open_input
    from .output import MORE, ImageOutput, Result
    from .prompt_matching import missing, prompts_of
    from .refine_output import StoreOutput, image_result
    from .report import Show, progress_bar

    if prompts is None:
        raise PromptError("there is nothing to refine: give --prompts")
    places = places_of(images)
    given = prompts_of(places, prompts)
    stored = output is not None and output.suffix.lower() == ".zarr"
    if stored and (len(places) > 1 or resume):
        raise ParameterError("a store takes the labels of one image: write to a folder")
    if stored and output is not None:
        store = StoreOutput(
            output, label, overwrite, report, open_input(places[0].source, view, plane)
        )
    else:
        batch = Batch(places, ImageOutput(output, overwrite, report), resume, tuple(MORE))
        batch.check(view, plane)

    from ..progress import finish
    from ..refining import Refined, refine_steps

    with progress_bar(report.quiet) as show:
        loaded = network.load(show)
        predictor = make_predictor(loaded, cache)

        def refined(place: Place, opened: Input, step: Show) -> Refined:
            objects = given[place]
            if objects is None:
                raise missing(prompts, place)
            steps = refine_steps(
                opened.image, objects, loaded, predictor=predictor,
                image_name=Path(opened.source).name, **opened.engine_options, **parameters,
            )  # fmt: skip
            return finish(steps, step)

        def work(place: Place, opened: Input, step: Show) -> Result:
            began = time.perf_counter()
            found = refined(place, opened, step)
            used = {**parameters, "prompt": found.prompt}
            return image_result(found, opened, loaded, began, used)

        if stored:
            began = time.perf_counter()
            store.write(refined(places[0], store.image, show), loaded, began, show)
        else:
            batch.run(loaded, view, plane, show, work)
