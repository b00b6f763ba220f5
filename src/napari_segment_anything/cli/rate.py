"""`napari-sam rate`: people rate masks without knowing where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options

app = typer.Typer(
    name="rate",
    help="Have people rate masks of several sources, without knowing which is which.",
    no_args_is_help=True,
)


@app.command("make")
def make(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES...", help="Folders, patterns or files of single planes."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            rich_help_panel=options.RESULT,
            help="A new folder, with for-raters/ to hand out and key.json to keep.",
        ),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="NAME=DIR",
            rich_help_panel=options.INPUT,
            help="Label images of one source, named like the images; or a folder below labels/ of "
            "an evaluation. Repeatable.",
        ),
    ] = None,
    truth: Annotated[
        bool,
        typer.Option(
            "--truth",
            rich_help_panel=options.INPUT,
            help="Rate the images' own labels too, as 'ground truth': those that evaluate finds.",
        ),
    ] = False,
    count: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=options.RESULT, help="Objects to draw.")
    ] = 100,
    min_area: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", rich_help_panel=options.RESULT, help="Smaller ones are not drawn."
        ),
    ] = 25,
    seed: Annotated[
        int, typer.Option(rich_help_panel=options.RESULT, help="Seed of what is drawn.")
    ] = 0,
    overwrite: options.OverwriteOption = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Draw objects at random, and write a sheet on which people rate their masks from 1 to 10.

    for-raters/ has sheet.html, which needs no program but a browser, and ratings.csv to fill in
    by hand instead. key.json says what each number of the sheet is: keep it to yourself.

    Examples:

    napari-sam rate make images/ --source a=out/labels/instances --source b=cellpose/ -o rating/

    napari-sam rate make cells/images --truth --source model=found/ -o rating/ --count 200
    """
    from ..errors import ParameterError
    from ..evaluation.rating_sheet import FOR_RATERS, KEY, SHEET, TRUTH, make_rating_sheet
    from ..progress import finish
    from . import report
    from .values import assignment

    given = [assignment(item, "--source") for item in source or []]
    sources: dict[str, Path | None] = {name: Path(folder) for name, folder in given}
    if len(sources) < len(given) or (truth and TRUTH in sources):
        raise ParameterError("two sources have the same name")
    if truth:
        sources[TRUTH] = None
    with report.progress_bar(quiet) as show:
        steps = make_rating_sheet(
            [str(image) for image in images],
            sources,
            output,
            count=count,
            min_area=min_area,
            seed=seed,
            overwrite=overwrite,
        )
        sheet = finish(steps, show)
    facts: dict[str, Any] = {
        "objects": sheet.items,
        "masks": len(sheet.masks),
        "sheet": sheet.folder / FOR_RATERS / SHEET,
        "key": sheet.folder / KEY,
    }
    _tell(facts, as_json, quiet)


@app.command("report")
def report_ratings(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `make` wrote.")],
    ratings: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CSV...]",
            help="Filled-in tables; by default for-raters/ratings*.csv.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            rich_help_panel=options.RESULT,
            help="Folder for the report; by default report/ in the sheet's.",
        ),
    ] = None,
    level: Annotated[
        float,
        typer.Option(rich_help_panel=options.RESULT, help="Confidence level of the intervals."),
    ] = 0.95,
    plots: Annotated[
        bool,
        typer.Option(
            "--plots/--no-plots",
            rich_help_panel=options.RESULT,
            help="Draw the figure (needs matplotlib).",
        ),
    ] = True,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Say what the ratings of a sheet mean: mean rating of each source, and paired differences.

    Example:

    napari-sam rate report rating/ ratings-ana.csv ratings-ben.csv
    """
    from ..evaluation.figure_table import number
    from ..evaluation.ratings import analyse_ratings, write_rating_report

    result = analyse_ratings(folder, ratings or (), level=level)
    path = write_rating_report(result, output, plots=plots)
    facts: dict[str, Any] = {each.source: number(each.interval) for each in result.sources}
    for each in result.differences:
        facts[f"{each.first} minus {each.second}"] = f"{number(each.interval)}, p {each.p:.2g}"
    _tell({**facts, "report": path}, as_json, quiet)


def _tell(facts: dict[str, Any], as_json: bool, quiet: bool) -> None:
    from . import report

    if as_json:
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in facts.items()}
        report.print_json(plain)
    elif not quiet:
        report.print_facts("", facts)
