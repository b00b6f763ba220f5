"""`napari-sam project report`: what a project's masks are like, beside other data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .generated import generated

COMPARE = "Comparison"


@generated()
def report(
    project: Annotated[
        Path,
        typer.Argument(
            metavar="PROJECT",
            help="The project's folder; or a COCO file, SA-1B files or label images.",
        ),
    ],
    output: Annotated[
        Path,
        options.option(
            options.RESULT, "Folder for tables and plots.", "-o", "--output", metavar="DIR"
        ),
    ],
    reporting: options.Reporting,
    beside: Annotated[
        list[Path] | None,
        options.option(
            COMPARE,
            "Another project, COCO file, folder of SA-1B files or of label images; repeatable.",
            "--beside",
            metavar="DIR|FILE",
        ),
    ] = None,
    plots: Annotated[
        bool,
        options.option(options.RESULT, "Draw plots (needs matplotlib).", "--plots/--no-plots"),
    ] = True,
    overwrite: options.OverwriteOption = False,
) -> None:
    """Describe the masks of a project: per image, by size, concavity and place; and their times.

    Writes report.md, figures.csv, images.csv, masks.csv and plots.

    Examples:

    napari-sam project report cells -o report/

    napari-sam project report cells -o report/ --beside other/ --beside coco.json
    """
    from ..evaluation.report import require_plots
    from ..progress import finish
    from ..projects.describe import describe_dataset
    from ..projects.describe_report import write_description
    from .output import check_folder, check_free
    from .report import print_rows, progress_bar, tell

    if plots:
        require_plots()
    check_folder(output)
    check_free([output / "report.md"], overwrite)
    with progress_bar(reporting.quiet) as show:
        described = [
            finish(describe_dataset(source), show) for source in (project, *(beside or ()))
        ]
    path = write_description(output, described, plots=plots)
    rows = [
        [each.name, str(len(each.images)), str(len(each.size)), *map(_median, each.medians)]
        for each in described
    ]
    tell(
        reporting,
        {"report": path},
        lambda: {
            "report": str(path),
            "datasets": [
                {
                    "name": each.name,
                    "images": len(each.images),
                    "masks": len(each.size),
                    "classes": dict(each.classes),
                    "medians": dict(zip(("masks", "size", "concavity"), each.medians, strict=True)),
                }
                for each in described
            ],
        },
    )
    if not (reporting.as_json or reporting.quiet):
        print_rows("", ["", "images", "masks", "per image", "size", "concavity"], rows)


def _median(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
