"""`napari-sam large`: everything mode on an image, stack or plate of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import TILING
from . import options
from .generated import generated

if TYPE_CHECKING:
    from ..large import LargeResult
    from .report import Show

TILED = "Tiles and workers"


@generated((TILING, TILED), *options.FINDING)
def large(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE",
            help="OME-Zarr, Zarr, TIFF or any other image, or a URL of a Zarr image; also a whole "
            "OME-Zarr plate; or a built-in sample:NAME.",
        ),
    ],
    output: Annotated[
        str | None,
        options.option(
            options.RESULT,
            "OME-Zarr store, new or existing, whose labels/ the result goes to; by default "
            "the image's own.",
            "-o",
            "--output",
            metavar="STORE",
        ),
    ] = None,
    label: Annotated[
        str, options.option(options.RESULT, "Name of the label image.", metavar="NAME")
    ] = "segment_anything",
    overwrite: Annotated[
        bool,
        options.option(
            options.RESULT, "Replace labels of that name and start over.", "--overwrite"
        ),
    ] = False,
    tables: Annotated[
        str | None,
        options.option(
            options.RESULT,
            "Also write objects.csv, seams.csv and failed.csv to this folder.",
            metavar="DIR",
        ),
    ] = None,
    plan: Annotated[
        bool,
        options.option(
            TILED, "Only estimate time, memory and disk space, from one timed tile.", "--plan"
        ),
    ] = False,
    *,
    parameters: dict[str, Any],
    network: options.ModelOptions,
    instance_decoder: options.DecoderOption = None,
    view: options.ImageOptions,
    report: options.Reporting,
) -> None:
    """Segment everything in an image of any size, tile by tile.

    Labels are written to an OME-Zarr store as they are computed; every plane of a stack is
    segmented separately. An interrupted run continues when the same command is run again. With a
    Dask scheduler, tiles are computed on a cluster. Exit code 3: finished, but some tiles failed;
    the same command tries them again.

    Examples:

    napari-sam large slide.ome.zarr

    napari-sam large slide.tif -o slide_labels.ome.zarr --tile 1024 --plan

    napari-sam large plate.ome.zarr --scheduler tcp://head:8786 --worker-resources GPU=1
    """
    from ..datasets.opening import SAMPLE
    from .report import print_json, progress_bar

    source: Any = image
    chosen = {"axes": view.axes, **view.read(), **parameters}
    if image.startswith(SAMPLE):
        from ..samples import sample

        built_in = sample(image.removeprefix(SAMPLE))
        source = built_in.image
        chosen["axes"] = view.axes or built_in.axes
    if plan:
        _plan(source, network, instance_decoder, chosen, as_json=report.as_json)
        return
    chosen |= {
        "label": label,
        "overwrite": overwrite,
        "device": network.device,
        "precision": str(network.precision),
        "instance_decoder": instance_decoder,
    }
    results = []
    with progress_bar(report.quiet) as show:
        for title, place, target in _images(source, output, image):
            found = _segment(place, target, network.model, title, chosen, show, report.quiet)
            results.append((title, found))
    if tables is not None:
        _write_tables(results, tables)
    facts = [_facts(title, result) for title, result in results]
    if report.as_json:
        print_json(facts if len(facts) > 1 else facts[0])
    elif not report.quiet:
        _tell(results)
    if any(result.failed for _, result in results):
        raise typer.Exit(3)


def _images(source: Any, output: str | None, name: str) -> list[tuple[str, Any, str | None]]:
    """Title, image and store of each image: a single one, or all fields of a plate."""
    if not isinstance(source, str):
        return [(name, source, output)]
    from ..formats.ome_zarr import plate_images

    fields = plate_images(source)
    if not fields:
        return [(name, source, output)]
    if output is not None:
        from ..errors import ParameterError

        raise ParameterError("the labels of a plate are written to its own images: omit --output")
    return [(f"{field.well} {field.field}", field.path, None) for field in fields]


def _segment(
    image: Any,
    output: str | None,
    model: str,
    title: str,
    chosen: dict[str, Any],
    show: Show,
    quiet: bool,
) -> LargeResult:
    from ..large import segment_large
    from ..progress import Progress

    told: list[Any] = []

    def tell(step: Progress) -> None:
        plan = getattr(step.partial, "plan", None)
        if plan is not None and plan.seconds is not None and not told:
            told.append(plan)
            if not quiet:
                from rich.console import Console

                for line in plan.describe():
                    Console(stderr=True, soft_wrap=True).print(
                        f"{title}: {line}", highlight=False, markup=False
                    )
        show(step)

    return segment_large(image, output, model, on_progress=tell, **chosen)


def _plan(
    image: Any,
    network: options.ModelOptions,
    instance_decoder: str | None,
    chosen: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from ..large import plan_large
    from .report import print_json

    loaded = network.load(lambda step: None, instance_decoder)
    idle = TILING.keys() - {"tile", "overlap", "region", "workers"} | {"policy"}
    found = plan_large(
        image, loaded, **{name: value for name, value in chosen.items() if name not in idle}
    )
    if as_json:
        print_json(asdict(found))
        return
    for line in found.describe():
        typer.echo(line)


def _facts(title: str, result: LargeResult) -> dict[str, Any]:
    import numpy as np

    kinds, counts = np.unique(result.seams.get("kind", np.zeros(0, "U1")), return_counts=True)
    return {
        "image": title,
        "labels": result.path,
        "objects": result.count,
        "tiles": int(result.status.size),
        "empty": int((result.status == 2).sum()),
        "failed": [
            {"plane": f.plane, "window": [f.window.row, f.window.col, *f.window.shape],
             "reason": f.reason}
            for f in result.failed
        ],
        "seams": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        "seconds": round(result.seconds, 2),
    }  # fmt: skip


def _tell(results: list[tuple[str, LargeResult]]) -> None:
    from .report import print_facts

    for title, result in results:
        facts = _facts(title, result)
        shown = {
            "objects": facts["objects"],
            "tiles": f"{facts['tiles']}, of these {facts['empty']} empty",
            "seams": ", ".join(f"{n} {kind}" for kind, n in facts["seams"].items()) or "none",
            "labels": facts["labels"],
            "time": f"{facts['seconds']:.1f} s",
        }
        for failure in result.failed[:5]:
            where = f"rows {failure.window.row}+, columns {failure.window.col}+"
            shown[f"failed tile {failure.index}"] = f"{where}: {failure.reason}"
        if len(result.failed) > 5:
            shown["failed tiles"] = f"{len(result.failed)} in all"
        print_facts(title, shown)


def _write_tables(results: list[tuple[str, LargeResult]], folder: str) -> None:
    from pathlib import Path

    from ..formats import write_table

    place = Path(folder).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    several = len(results) > 1
    for title, result in results:
        prefix = f"{title.replace('/', '').replace(' ', '_')}_" if several else ""
        write_table(place / f"{prefix}objects.csv", result.table)
        seams = dict(result.seams)
        for column, names in (("labels", ("label_a", "label_b")), ("box", _BOX)):
            values = seams.pop(column, None)
            if values is not None:
                seams |= {name: values[:, i] for i, name in enumerate(names)}
        write_table(place / f"{prefix}seams.csv", seams)
        if result.failed:
            write_table(
                place / f"{prefix}failed.csv",
                {
                    "tile": [f.index for f in result.failed],
                    "plane": [" ".join(map(str, f.plane)) for f in result.failed],
                    "row": [f.window.row for f in result.failed],
                    "col": [f.window.col for f in result.failed],
                    "height": [f.window.height for f in result.failed],
                    "width": [f.window.width for f in result.failed],
                    "reason": [f.reason for f in result.failed],
                },
            )


_BOX = ("row_min", "col_min", "row_max", "col_max")
