"""`napari-sam pretrain`: pre-train an image encoder on images without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import options
from .train import (
    ConfigArgument,
    DataOption,
    OverwriteRunOption,
    RunOption,
    ThreadsOption,
    result_facts,
    tell_result,
    training_display,
    use_threads,
)

if TYPE_CHECKING:
    from ..training.estimate import Estimate


def pretrain(
    config: ConfigArgument,
    output: RunOption = None,
    data: DataOption = None,
    overwrite: OverwriteRunOption = False,
    device: options.DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Pre-train the image encoder of a model on images without labels.

    Parts of each image are masked, and the encoder learns to predict them (a masked autoencoder).
    The configuration names the images and the model to start from. Memory and time are predicted
    before the first step. Writes model.safetensors, from which `napari-sam train` starts: as its
    model, or as its encoder_weights.

    Example:

    napari-sam pretrain unlabelled.toml -o pretrained/
    """
    from ..training import pretrain as run
    from . import report

    use_threads(threads)
    predicted: list[Estimate] = []
    with training_display(quiet, predicted) as show:
        result = run(
            config,
            output=output,
            data=data,
            device=device,
            overwrite=overwrite,
            on_progress=show,
        )
    if as_json:
        report.print_json(result_facts(result, predicted))
    elif not quiet:
        tell_result(result)
