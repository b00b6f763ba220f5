"""`napari-sam everything`: find and outline every object."""

from __future__ import annotations

import time
from typing import Any

from ..parameters import RUN
from . import options
from .generated import generated


@generated(*options.FINDING)
def everything(
    image: options.ImageArgument,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    *,
    parameters: dict[str, Any],
    network: options.ModelOptions,
    instance_decoder: options.DecoderOption = None,
    cache: options.CacheOption = False,
    plane: options.PlaneOption = None,
    view: options.ImageOptions,
    report: options.Reporting,
) -> None:
    """Find and outline every object in an image.

    Writes NAME_labels.tif, NAME_masks.json, NAME_table.csv and NAME_overlay.png. Parameters that
    are not given have the values that the model recommends, else the defaults shown here.

    Examples:

    napari-sam everything sample:coins -o out/

    napari-sam everything cells.tif -o out/ --min-area 40 --policy score

    napari-sam everything stack.tif --plane 12 -o out/ --mode grid --points-per-side 48

    napari-sam everything cells.tif --json > masks.json
    """
    from .cache import make_predictor
    from .inputs import open_input
    from .output import ImageOutput, Result
    from .report import progress_bar

    target = ImageOutput(output, overwrite, report)
    opened = open_input(image, view, plane)
    files = target.files(opened.name)

    from ..automatic import generate_candidates
    from ..progress import finish

    policy = parameters.pop("policy", RUN["policy"].default)
    with progress_bar(report.quiet) as show:
        loaded = network.load(show, instance_decoder)
        began = time.perf_counter()
        predictor = make_predictor(loaded, cache)
        table = finish(
            generate_candidates(
                opened.image, loaded, predictor=predictor, **opened.engine_options, **parameters
            ),
            show,
        )
    labels = table.to_labels(policy)
    target.finish(
        Result(
            image=opened,
            model=loaded,
            labels=labels,
            records=table.image_records(opened.source),
            seconds=time.perf_counter() - began,
            facts={"mode": table.mode, "candidates": len(table.candidates)},
            parameters=dict(table.parameters),
        ),
        files,
    )
