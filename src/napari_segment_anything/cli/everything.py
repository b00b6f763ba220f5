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
    from .batch import Batch, places_of
    from .cache import make_predictor
    from .output import ImageOutput, Result
    from .report import progress_bar, within

    target = ImageOutput(output, overwrite, report)
    batch = Batch(places_of(images), target, resume)
    batch.check(view, plane)

    from ..automatic import generate_candidates
    from ..progress import finish

    policy = parameters.pop("policy", RUN["policy"].default)
    with progress_bar(report.quiet) as show:
        loaded = network.load(show, instance_decoder)
        predictor = make_predictor(loaded, cache)
        for number, place in enumerate(batch.places):
            with batch.attempt(place):
                found = batch.open(place, view, plane)
                if found is None:
                    continue
                opened, files = found
                began = time.perf_counter()
                table = finish(
                    generate_candidates(
                        opened.image,
                        loaded,
                        predictor=predictor,
                        **opened.engine_options,
                        **parameters,
                    ),
                    within(show, number, len(batch.places)),
                )
                result = Result(
                    image=opened,
                    model=loaded,
                    labels=table.to_labels(policy),
                    records=table.image_records(opened.source),
                    seconds=time.perf_counter() - began,
                    facts={"mode": table.mode, "candidates": len(table.candidates)},
                    parameters=dict(table.parameters),
                )
                batch.keep(place, result, files)
    batch.close(loaded)
