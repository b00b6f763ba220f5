"""`napari-sam everything`: find and outline every object."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from . import options, tuning

if TYPE_CHECKING:
    from ..automatic import CandidateTable
    from ..formats.records import ImageRecords


@tuning.tuned
def everything(
    image: options.ImageArgument,
    output: options.OutputOption = None,
    overwrite: options.OverwriteOption = False,
    mode: tuning.ModeOption = tuning.Mode.auto,
    policy: tuning.PolicyOption = tuning.Policy.small,
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
    *,
    parameters: dict[str, Any],
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
