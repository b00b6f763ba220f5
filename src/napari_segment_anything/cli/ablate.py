"""`napari-sam ablate`: what each part of a training is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def ablate(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="What is changed, to what.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            rich_help_panel=options.RESULT,
            help="Folder of all runs. The same command again goes on where it stopped.",
        ),
    ],
    plots: Annotated[
        bool,
        typer.Option(
            "--plots/--no-plots",
            rich_help_panel=options.RESULT,
            help="Draw a plot (needs matplotlib).",
        ),
    ] = True,
    device: options.DeviceOption = "auto",
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Train and measure variants of a configuration, each with one thing changed.

    The plan names a training configuration, the images to measure on, and tables [[ablation]]:
    the share of the data, the sets or stages used, the encoder's size, the rounds of prompts, or
    any other key of the configuration. Writes ablation.md, ablation.csv and ablation.png.

    Examples:

    napari-sam ablate plan.toml -o ablation/
    """
    from ..ablation import ablate_steps, read_plan
    from ..ablation.report import write_ablation
    from ..evaluation.report import require_plots
    from ..progress import finish
    from . import report

    if plots:
        require_plots()
    wanted = read_plan(plan)
    with report.progress_bar(quiet) as show:
        result = finish(ablate_steps(wanted, output, device=device), show)
    path = write_ablation(result, plots=plots)
    if as_json:
        from dataclasses import asdict

        variants = [asdict(variant) for variant in result.variants]
        report.print_json({"report": str(path), "variants": variants})
    elif not quiet:
        report.print_facts("", {"variants": len(result.variants), "report": path})
