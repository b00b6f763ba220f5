"""`napari-sam project export` and `import`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..wording import counted
from . import options
from .generated import generated

WHAT = "What is exchanged"


@generated()
def export(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")],
    output: Annotated[
        Path, options.option(options.RESULT, "A new folder.", "-o", "--output", metavar="DIR")
    ],
    reporting: options.Reporting,
    format: Annotated[
        Literal["labels", "sa1b", "coco", "training"],
        options.option(
            WHAT,
            "Label images; a JSON file of masks for each image (SA-1B); one for all (COCO); or "
            "images, labels and a configuration for `napari-sam train`.",
        ),
    ] = "labels",
    states: Annotated[
        list[str] | None,
        options.option(
            WHAT,
            "Export images in this state; repeatable. By default complete ones, for training also "
            "those in progress.",
            "--state",
            metavar="STATE",
        ),
    ] = None,
    with_images: Annotated[
        bool, options.option(WHAT, "Write pixels as well.", "--with-images")
    ] = False,
    overwrite: Annotated[
        bool, options.option(options.RESULT, "Replace the folder.", "--overwrite")
    ] = False,
) -> None:
    """Export annotations with their provenance.

    Every export has a table of objects and `provenance.json`: who and which model made what, from
    which image.

    Examples:

    napari-sam project export cells -o coco/ --format coco

    napari-sam project export cells -o set/ --format training
    """
    from ..progress import finish
    from ..projects import Project
    from ..projects.exporting import export_project
    from .report import progress_bar, tell

    found = Project.open(project)
    with progress_bar(reporting.quiet) as show:
        steps = export_project(
            found, output, format, states=states, with_images=with_images, overwrite=overwrite
        )
        result = finish(steps, show)
    facts = {"images": len(result.images), "objects": result.objects, "folder": result.folder}
    left = Counter(
        image.state.replace("_", " ")
        for image in found.images
        if image.has_labels and image.key not in result.images
    )
    others = ", ".join(f"{count} {state}" for state, count in left.items())
    tell(
        reporting,
        {**facts, "left out": f"labels of {others}; see --state"} if left else facts,
        lambda: {**facts, "images": list(result.images), "folder": str(result.folder)},
    )


@generated()
def import_(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Label images, JSON of masks as in SA-1B or COCO, or what `export` wrote.",
        ),
    ],
    reporting: options.Reporting,
    format: Annotated[
        Literal["auto", "labels", "sa1b", "coco"], options.option(WHAT, "Format of the source.")
    ] = "auto",
    state: Annotated[
        str | None,
        options.option(
            WHAT,
            "State that the images get. By default that in an export, else in_progress.",
            metavar="STATE",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        options.option(options.RESULT, "Replace labels that images have.", "--overwrite"),
    ] = False,
) -> None:
    """Import annotations for images of a project, found by their keys or file names.

    Example: napari-sam project import cells labels/ --state complete
    """
    from ..progress import finish
    from ..projects import Project
    from ..projects.importing import import_annotations
    from .report import progress_bar, tell

    found = Project.open(project)
    with progress_bar(reporting.quiet) as show:
        steps = import_annotations(found, source, format, state=state, overwrite=overwrite)
        result = finish(steps, show)
    facts: dict[str, object] = {"images": len(result.images), "objects": result.objects}
    if result.hidden:
        facts["hidden"] = f"{counted(result.hidden, 'mask')} left out, covered by smaller ones"
    if result.unknown:
        names = ", ".join(result.unknown[:3])
        facts["not found"] = f"{len(result.unknown)} names that no image has: {names}"
    tell(
        reporting,
        facts,
        lambda: {
            "images": list(result.images),
            "objects": result.objects,
            "hidden": result.hidden,
            "unknown": list(result.unknown),
        },
    )
