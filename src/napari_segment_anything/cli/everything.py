"""`napari-sam everything`: find and outline every object."""

from __future__ import annotations

import time
from typing import Any

from ..parameters import RUN
from . import options
from .generated import generated


@generated(*options.FINDING)
def everything(
    images: options.ImagesArgument,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    resume: options.ResumeOption = False,
    *,
    parameters: dict[str, Any],
    network: options.ModelOptions,
    instance_decoder: options.DecoderOption = None,
    cache: options.CacheOption = False,
    plane: options.PlaneOption = None,
    view: options.ImageOptions,
    report: options.Reporting,
) -> None:
    """Find and outline every object in an image, or in each of several.

    Writes NAME_labels.tif, NAME_masks.json, NAME_table.csv and NAME_overlay.png, and for several
    images summary.csv. Parameters that are not given have the values that the model recommends,
    else the defaults shown here.

    Examples:

    napari-sam everything sample:coins -o out/

    napari-sam everything cells.tif -o out/ --min-area 40 --policy score

    napari-sam everything stack.tif --plane 12 -o out/ --mode grid --points-per-side 48

    napari-sam everything cells.tif --json > masks.json

    napari-sam everything raw/ -o out/ --resume
    """
    from .batch import Batch, Place, places_of
    from .cache import make_predictor
    from .inputs import Input
    from .output import ImageOutput, Result
    from .report import Show, progress_bar

    target = ImageOutput(output, overwrite, report)
    batch = Batch(places_of(images), target, resume)
    batch.check(view, plane)

    from ..automatic import generate_candidates
    from ..progress import finish

    policy = parameters.pop("policy", RUN["policy"].default)
    with progress_bar(report.quiet) as show:
        loaded = network.load(show, instance_decoder)
        predictor = make_predictor(loaded, cache)

        def segment(place: Place, opened: Input, step: Show) -> Result:
            began = time.perf_counter()
            steps = generate_candidates(
                opened.image, loaded, predictor=predictor, **opened.engine_options, **parameters
            )
            table = finish(steps, step)
            facts = {"mode": table.mode, "candidates": len(table.candidates)}
            return Result.of_table(table, policy, opened, loaded, began, facts)

        batch.run(loaded, view, plane, show, segment)
