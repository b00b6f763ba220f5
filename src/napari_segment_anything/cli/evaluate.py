"""`napari-sam evaluate`: measure a model on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..evaluation import Entry, Evaluation, Figure

ASK = "Protocols"


def evaluate(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGES...",
            help="Files; folders of images (a set each); folders of such folders, perhaps with an "
            "index.json; or built-in images with labels, sample:NAME.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            rich_help_panel=options.RESULT,
            help="Folder for results and report. The same command again resumes an evaluation.",
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            rich_help_panel=options.INPUT,
            help="True labels: files named like the images, perhaps with _labels or _masks added; "
            "or one COCO file. By default: in the NPZ, next to the image, or in a folder 'labels' "
            "or 'masks'.",
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV|JSON",
            rich_help_panel=options.INPUT,
            help="Columns to group images by: a CSV with a column 'file', or an index.json.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            rich_help_panel=options.INPUT,
            help="Only images of this part of a split, such as validation.",
        ),
    ] = None,
    split_file: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            rich_help_panel=options.INPUT,
            help="The split that --split names a part of: {set: {file: part}}.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            rich_help_panel=options.INPUT,
            help="Only images with this value in a column. Repeatable.",
        ),
    ] = None,
    unlabelled: Annotated[
        str,
        typer.Option(
            metavar="skip|error",
            rich_help_panel=options.INPUT,
            help="Leave out images without labels, or stop with an error.",
        ),
    ] = "skip",
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            rich_help_panel=options.INPUT,
            help="At most N images of each set, evenly spread.",
        ),
    ] = None,
    planes: Annotated[
        int,
        typer.Option(rich_help_panel=options.INPUT, help="Planes taken from a stack, at most."),
    ] = 10,
    channel_axis: options.ChannelAxisOption = None,
    channels: options.ChannelsOption = None,
    axes: options.AxesOption = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME...]",
            rich_help_panel=ASK,
            help="points, boxes, clicks, everything, proposals, floors (together: usual), "
            "grid_proposals, edges, single_point, instances; or all but the last.",
        ),
    ] = "usual",
    detections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            rich_help_panel=ASK,
            help="A detector's boxes for --protocol instances: a COCO file for all images, or a "
            "folder with a CSV, COCO or GeoJSON file of each image's name.",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV|JSON",
            rich_help_panel=ASK,
            help="Class of each object, to count proposals by how common it is: a CSV with image, "
            "label and class (such as objects.csv of an export), or a COCO file. By default the "
            "COCO file given as --labels.",
        ),
    ] = None,
    rare: Annotated[
        int,
        typer.Option(metavar="N", rich_help_panel=ASK, help="A class in at most N images is rare."),
    ] = 10,
    common: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=ASK,
            help="One in more images, up to N, is common; in yet more, frequent.",
        ),
    ] = 100,
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE[,MODE...]",
            rich_help_panel=ASK,
            help="Modes of everything mode: auto, grid, proposals, instances; or all.",
        ),
    ] = "auto",
    objects_per_image: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=ASK,
            help="Prompted objects per image, drawn at random; 0 for all.",
        ),
    ] = 20,
    min_object_area: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", rich_help_panel=ASK, help="Smaller objects are not prompted."
        ),
    ] = 10,
    clicks: Annotated[
        int, typer.Option(metavar="N", rich_help_panel=ASK, help="Clicks per object.")
    ] = 9,
    seed: Annotated[
        int, typer.Option(rich_help_panel=ASK, help="Seed of the choice of objects.")
    ] = 0,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            metavar="NAME=VALUE",
            rich_help_panel=ASK,
            help="A parameter of everything mode. Repeatable.",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            rich_help_panel=options.RESULT,
            help="Compare the groups of images that a column of --metadata makes, or 'set': is the "
            "model worse for some? Repeatable.",
        ),
    ] = None,
    plots: Annotated[
        bool,
        typer.Option(
            "--plots/--no-plots",
            rich_help_panel=options.RESULT,
            help="Draw plots (needs matplotlib).",
        ),
    ] = True,
    gallery: Annotated[
        int,
        typer.Option(
            metavar="N",
            rich_help_panel=options.RESULT,
            help="Show the N best and N worst images; 0 for none.",
        ),
    ] = 6,
    overwrite: options.OverwriteOption = False,
    model: options.ModelOption = "default",
    instance_decoder: options.DecoderOption = None,
    device: options.DeviceOption = "auto",
    precision: options.PrecisionOption = options.Precision.auto,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Measure a model on labelled images and write a report.

    Single points, boxes, corrective clicks, everything mode and proposals, with confidence
    intervals for every set and group of images, next to a baseline without a model. Writes
    report.md, figures.csv, images.csv, objects.csv, plots and a gallery.

    Examples:

    napari-sam evaluate sample:nuclei sample:yeast -o out/

    napari-sam evaluate images/ --labels labels/ -o out/

    napari-sam evaluate data/ --split validation --split-file split.json -o out/

    napari-sam evaluate cells.npz -o out/ --protocol points,boxes --objects-per-image 0

    napari-sam evaluate images/ -o out/ --protocol everything --mode all --metadata images.csv

    napari-sam evaluate images/ -o out/ --metadata images.csv --compare stain

    napari-sam evaluate BSDS500/data/images/test -o out/ --protocol edges
    """  # fmt: skip
    from ..datasets import find_entries, read_classes, spread
    from ..evaluation import PROTOCOLS, USUAL, PromptSettings
    from ..evaluation import evaluate as run
    from ..evaluation.report import require_plots, write_report
    from . import report, values

    if plots:
        require_plots()
    settings = PromptSettings(objects_per_image, min_object_area, clicks, seed)
    every = tuple(name for name in PROTOCOLS if name != "instances")
    several = {"all": every, "usual": USUAL}
    chosen = several.get(protocol) or _names(protocol)
    parameters = _parameters(parameter or [])
    entries = find_entries(
        images,
        labels,
        metadata,
        unlabelled=unlabelled,
        where=dict(values.assignment(item, "--where") for item in where or []),
    )
    if classes is None and labels is not None and _has_classes(labels):
        classes = labels
    known = None if classes is None else read_classes(classes, rare, common)
    entries = spread(_split(entries, split, split_file), limit)

    from ..engine import load_model
    from ..progress import Progress, finish

    with report.progress_bar(quiet) as show:
        show(Progress(0, 1, message="loading the model"))
        loaded = load_model(
            model, device, str(precision), instance_decoder=instance_decoder, progress=show
        )
        result = finish(
            run(
                entries,
                loaded,
                output,
                protocols=chosen,
                modes=_names(mode),
                settings=settings,
                parameters=parameters,
                planes=planes,
                axes=axes,
                channel_axis=channel_axis,
                channels=values.indices(channels, "--channels"),
                detections=detections,
                classes=known,
                overwrite=overwrite,
            ),
            show,
        )
        show(Progress(1, 1, message="writing the report"))
        path = write_report(
            result,
            plots=plots,
            gallery=gallery,
            command=_command(),
            images=entries,
            compare=compare or (),
        )
    _tell(result, path, as_json=as_json, quiet=quiet)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _has_classes(file: Path) -> bool:
    """Whether this is a COCO file whose objects have classes."""
    from ..datasets.coco import coco_images

    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    images = coco_images(file) or {}
    return any(mask.category for record in images.values() for mask in record.records)


def _split(entries: Sequence[Entry], part: str | None, file: Path | None) -> list[Entry]:
    from ..datasets import select_split
    from ..errors import ParameterError

    if part is None and file is None:
        return list(entries)
    if part is None or file is None:
        raise ParameterError("--split PART and --split-file JSON go together")
    return select_split(entries, part, file)


def _parameters(items: list[str]) -> dict[str, Any]:
    from ..errors import ParameterError
    from ..parameters import EVERYTHING

    found: dict[str, Any] = {}
    for item in items:
        name, _, text = item.partition("=")
        name = name.strip().replace("-", "_")
        known = EVERYTHING.get(name)
        if "=" not in item or known is None or known.kind not in (int, float, str):
            names = ", ".join(n for n, p in EVERYTHING.items() if p.kind in (int, float, str))
            raise ParameterError(f"--parameter takes NAME=VALUE, not {item!r}; names: {names}")
        try:
            found[name] = known.kind(text)
        except ValueError:
            raise ParameterError(f"--parameter {name} takes a number, not {text!r}") from None
    return found


def _command() -> str:
    import shlex
    import sys

    program = Path(sys.argv[0]).stem
    return shlex.join([program, *sys.argv[1:]]) if program == "napari-sam" else ""


def _tell(result: Evaluation, path: Path, *, as_json: bool, quiet: bool) -> None:
    from ..evaluation import summarise
    from . import report

    if quiet and not as_json:
        return
    figures = summarise(result.records)
    if as_json:
        report.print_json(
            {
                "model": dict(result.header),
                "report": str(path),
                "failures": dict(result.failures),
                "figures": [_plain(figure) for figure in figures],
            }
        )
        return
    columns, rows = _overview(figures)
    report.print_rows("", columns, rows)
    for name, why in result.failures.items():
        report.print_facts("", {f"not read: {name}": why})
    typer.echo(f"report: {path}")


def _overview(figures: Sequence[Figure]) -> tuple[list[str], list[list[str]]]:
    """A row of the main figures for each group of images."""
    held = {(f.group, f.method, f.measure): f for f in figures}
    wanted: list[tuple[str, str, str]] = []
    for method in dict.fromkeys(f.method for f in figures):
        if method.startswith("everything:"):
            mode = method.partition(":")[2]
            wanted += [(method, "ap50", f"{mode} AP50"), (method, "ap", "AP")]
    wanted += [
        ("floors", "ap50", "Otsu AP50"),
        ("points", "best_of_three", "point"),
        ("boxes", "iou", "box"),
        ("clicks", "click3", "3 clicks"),
        ("proposals", "ar1000", "AR@1000"),
    ]
    there = {key[1:] for key in held}
    wanted = [item for item in wanted if item[:2] in there]
    rows = []
    for group in dict.fromkeys(f.group for f in figures):
        cells = [held.get((group, method, measure)) for method, measure, _ in wanted]
        count = max(f.images for f in figures if f.group == group)
        values = ["" if f is None else f"{f.interval.value:.3f}" for f in cells]
        rows.append([group.title, str(count), *values])
    return ["", "n", *(title for _, _, title in wanted)], rows


def _plain(figure: Figure) -> dict[str, Any]:
    import math

    interval = figure.interval
    numbers = (interval.value, interval.low, interval.high)
    value, low, high = (None if math.isnan(v) else round(v, 5) for v in numbers)
    return {
        "group": figure.group.column,
        "value": figure.group.value,
        "method": figure.method,
        "measure": figure.measure,
        "mean": value,
        "low": low,
        "high": high,
        "images": figure.images,
        "objects": figure.objects,
    }
