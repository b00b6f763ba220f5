"""`napari-sam train`: train or fine-tune a model on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..progress import Progress
from . import options

if TYPE_CHECKING:
    from ..training import TrainingResult
    from ..training.estimate import Estimate

_MEASURES = ("ap50", "point", "point_best", "box", "reconstruction")
_LOSSES = (
    "reconstruction",
    "foreground",
    "interior",
    "point_first",
    "point_last",
    "box_first",
    "iou_error",
)


ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG.toml", help="Configuration of the run.")
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        rich_help_panel=options.RESULT,
        help="Folder of the run, in place of the configuration's 'output'. The same command again "
        "resumes a stopped run.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=options.INPUT,
        help="Folder that paths in the configuration start from, in place of its own.",
    ),
]
OverwriteRunOption = Annotated[
    bool,
    typer.Option(
        "--overwrite", rich_help_panel=options.RESULT, help="Remove a run that the folder holds."
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=options.MODEL, help="Processor threads to use."),
]


def train(
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
    """Train or fine-tune a model on labelled images.

    The configuration names the images, the model to start from, and what is trained: all weights,
    the decoder, or low-rank additions (LoRA). Memory and time are predicted before the first step.
    Writes model.safetensors (for --model), a model card and training curves.

    Examples:

    napari-sam train cells.toml

    napari-sam train cells.toml -o runs/second --device cuda
    """
    from ..training import train as run
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


def use_threads(threads: int | None) -> None:
    """Limit torch to so many threads.

    Raises
    ------
    ParameterError
        If that is no number of threads.
    """
    if threads is None:
        return
    import torch

    from ..errors import ParameterError
    from ..limits import THREADS

    if threads < 1:
        raise ParameterError(f"--threads is at least 1, not {threads}")
    THREADS.check(threads, "--threads is too large", ParameterError)
    torch.set_num_threads(threads)


@contextmanager
def training_display(
    quiet: bool, predicted: list[Estimate]
) -> Iterator[Callable[[Progress], object]]:
    """Show a progress bar with the latest losses and validation below it."""
    from ..training.estimate import Estimate
    from ..training.trainer import StepReport

    def note(step: Progress) -> None:
        if isinstance(step.partial, Estimate):
            predicted[:] = [step.partial]

    if quiet:
        yield note
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar
    from rich.text import Text

    console = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task("", total=1)
    lines: dict[str, str] = {}

    try:
        with Live(Group(bar), console=console, refresh_per_second=4) as live:

            def show(step: Progress) -> None:
                note(step)
                title = step.message
                if isinstance(step.partial, StepReport):
                    title = step.partial.stage
                    losses, measures = step.partial.losses, step.partial.validation
                    if losses:
                        lines["losses"] = _words(losses, _LOSSES)
                    if measures:
                        lines["held out"] = _words(measures, _MEASURES)
                    if step.message.startswith("stopped"):
                        console.print(step.message.split("  ")[0], highlight=False, markup=False)
                elif isinstance(step.partial, Estimate) and step.message == "predicted":
                    console.print(_prediction(step.partial), highlight=False, markup=False)
                bar.update(task, description=title, completed=step.done, total=max(step.total, 1))
                rows = [Text(f"{name:<9} {text}") for name, text in lines.items()]
                live.update(Group(bar, *rows))

            yield show
    finally:
        if not console.is_interactive:  # Live leaves out the final line break there
            console.print()


def _words(values: dict[str, float], names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {values[name]:.3f}" for name in names if name in values)


def _prediction(estimate: Estimate) -> str:
    from .report import size

    free = "" if estimate.available is None else f" ({size(estimate.available)} free)"
    return (
        f"predicted: {duration_words(estimate.seconds)}, {estimate.per_step:.2f} s a step, "
        f"{size(estimate.memory)} of memory{free}"
    )


def duration_words(seconds: float) -> str:
    """A duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def tell_result(result: TrainingResult) -> None:
    """Print what a training made, and where it is."""
    from . import report

    steps = ", ".join(f"{name} {count}" for name, count in result.steps.items())
    facts: dict[str, object] = {"steps": steps, "time": duration_words(result.seconds)}
    for name in _MEASURES:
        if name in result.after:
            was = f"{result.before[name]:.3f} -> " if name in result.before else ""
            facts[f"held out, {name}"] = f"{was}{result.after[name]:.3f}"
    curves = result.folder / "curves.png"
    missing = "not drawn, which needs matplotlib: pip install 'segment-anything-napari[train]'"
    facts["curves"] = curves if curves.exists() else missing
    facts |= {"folder": result.folder, "model": result.model}
    report.print_facts("", facts)


def result_facts(result: TrainingResult, predicted: list[Estimate]) -> dict[str, Any]:
    """Facts about a training, for JSON.

    Parameters
    ----------
    result : TrainingResult
    predicted : list of Estimate
        The prediction, if one was made.
    """
    from dataclasses import asdict

    return {
        "model": str(result.model),
        "folder": str(result.folder),
        "steps": result.steps,
        "before": result.before,
        "after": result.after,
        "seconds": round(result.seconds, 1),
        "predicted": asdict(predicted[0]) if predicted else None,
        "card": result.card,
    }
