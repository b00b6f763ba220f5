"""`napari-sam quantize`: a checkpoint in int8, calibrated on images, and how close it stays."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ParameterError
from . import options
from .generated import generated

CALIBRATION = "Calibration and comparison"
_SAMPLES = ("sample:coins", "sample:cell", "sample:nuclei")


@generated()
def quantize(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name, file or URL, as for --model.")
    ] = "default",
    *,
    images: Annotated[
        list[str] | None,
        options.option(
            CALIBRATION,
            "An image like those that the model will see; again for more. Built-in samples if "
            "left out.",
            metavar="FILE",
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        options.option(
            CALIBRATION,
            "True labels of the images, in their order: the report then says how AP changes.",
            metavar="FILE",
        ),
    ] = None,
    largest_error: Annotated[
        float,
        options.option(
            CALIBRATION,
            "Relative error of a linear layer's output above which it stays in floats.",
        ),
    ] = 0.05,
    points_per_side: Annotated[
        int,
        options.option(
            CALIBRATION,
            "Grid of everything mode, in which objects are compared with those of fp32.",
        ),
    ] = 16,
    output: Annotated[
        Path | None,
        options.option(
            options.RESULT,
            "The checkpoint; without it, there is only the report.",
            "-o",
            "--output",
            metavar="FILE.safetensors",
        ),
    ] = None,
    report: options.Reporting,
) -> None:
    """Quantise the linear layers of a model's image encoder to int8, for processors with VNNI.

    Each layer is measured on the images; those that int8 would change too much stay in floats. The
    report compares masks, objects and time with fp32.

    Examples:

    napari-sam quantize vit_b -o vit_b_int8.safetensors --images plate1.tif --images plate2.tif

    napari-sam segment image.tif --point 54,44 --model vit_b_int8.safetensors
    """
    from ..checkpoints import load_checkpoint, save_checkpoint
    from ..engine import Model
    from ..engine.calibration import quantize_steps
    from ..evaluation.fidelity import fidelity_steps
    from ..formats import read_labels
    from ..network import Sam
    from ..progress import finish
    from .inputs import open_input
    from .report import print_facts, print_json, print_rows, progress_bar

    if labels and len(labels) > len(images or ()):
        raise ParameterError("--labels are those of --images, in the same order")
    inputs = [open_input(each, options.ImageOptions()) for each in images or _SAMPLES]
    arrays = [each.display() for each in inputs]
    truth = [read_labels(each) for each in labels or ()]
    with progress_bar(report.quiet) as show:
        checkpoint = load_checkpoint(model, progress=show)
        if output is not None and not isinstance(checkpoint.network, Sam):
            raise ParameterError(
                f"{model} is of another family, whose weights are not saved here; load it with "
                "--precision int8 instead"
            )
        exact = Model.from_checkpoint(checkpoint, "cpu", "fp32")
        made = finish(quantize_steps(exact, arrays, largest_error), show)
        written = None
        if output is not None and isinstance(made.checkpoint.network, Sam):
            written = save_checkpoint(
                made.checkpoint.network,
                output,
                made.checkpoint.metadata,
                instance_decoder=made.checkpoint.instance_decoder,
            )
        fast = Model.from_checkpoint(made.checkpoint, "cpu", "int8")
        other = Model.from_checkpoint(load_checkpoint(model), "cpu", "auto")
        steps = fidelity_steps(
            exact,
            fast,
            arrays,
            truth,
            [] if other.precision == "fp32" else [other],
            mode="grid",
            points_per_side=points_per_side,
        )
        found = finish(steps, show)
    kept = [each for each in made.layers if each.kept]
    smoothed = [each for each in made.layers if each.smoothed and not each.kept]
    facts: dict[str, Any] = {
        "precision": fast.precision,
        "layers": len(made.layers),
        "kept in floats": ", ".join(f"{e.name} ({e.error:.1%})" for e in kept) or "none",
        "smoothed": len(smoothed),
        **asdict(found),
        "checkpoint": None if written is None else str(written),
    }
    if report.as_json:
        print_json({**facts, "errors": {each.name: each.error for each in made.layers}})
        return
    if report.quiet:
        return
    worst = sorted(made.layers, key=lambda each: -each.error)[:5]
    print_rows(
        "Largest errors of layers",
        ["layer", "int8", "without factors"],
        [[e.name, f"{e.error:.2%}", f"{e.plain_error:.2%}"] for e in worst],
    )
    shown = {
        "precision": facts["precision"],
        "layers in int8": f"{len(made.layers) - len(kept)} of {len(made.layers)}",
        "kept in floats": facts["kept in floats"],
        "masks": f"median IoU {found.iou_median:.3f} with fp32, 5th percentile "
        f"{found.iou_low:.3f}, at {found.prompts} points",
        "same best mask": f"{found.same_best:.0%} of the points",
        "objects": f"AP {found.ap:.3f} with those of fp32 as truth",
    }
    if found.true_ap is not None:
        shown["on labels"] = f"AP {found.true_ap[0]:.3f} in fp32, {found.true_ap[1]:.3f} in int8"
    shown["encoder"] = ", ".join(
        f"{times:.2f} times as fast as {name}" for name, times in found.times_faster.items()
    )
    if written is not None:
        shown["checkpoint"] = str(written)
    print_facts("Beside fp32", shown)
