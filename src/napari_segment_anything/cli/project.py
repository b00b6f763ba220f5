"""`napari-sam project`: a series of images that is annotated with a model's help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import PROJECT
from . import (
    options,
    project_audit,
    project_exchange,
    project_learn,
    project_report,
    project_suggest,
)
from .generated import generated

if TYPE_CHECKING:
    from ..projects import ObjectClass, Project

SETTINGS = "Settings"

app = typer.Typer(
    name="project",
    help="""Annotate a series of images with a model's help: in napari, and the same here.

    A project is a folder: napari-sam project new cells raw/ --class cell
    """,
    no_args_is_help=True,
)
ProjectArgument = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")]


@generated((PROJECT, SETTINGS))
def new(
    project: ProjectArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Folders, files, patterns in quotes ('raw/**/*.tif'), tables (CSV or TSV with a "
            "column 'path'), OME-Zarr images or plates, sample:NAME.",
        ),
    ],
    reporting: options.Reporting,
    name: Annotated[
        str | None, options.option(SETTINGS, "What the project is called; its folder's name else.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        options.option(
            SETTINGS,
            "A class of objects, perhaps with its colour; repeatable. The first nine get the keys "
            "1 to 9.",
            "--class",
            metavar="NAME[=#RRGGBB]",
        ),
    ] = None,
    axes: options.AxesOption = None,
    channels: options.ChannelsOption = None,
    planes: Annotated[
        str,
        options.option(
            options.INPUT,
            "Planes of stacks and time-lapses, an image of the project each.",
            metavar="all|I|I:J:STEP|T=I:J,Z=K",
        ),
    ] = "all",
    pixel_size: Annotated[
        str | None,
        options.option(
            options.INPUT,
            "Size of a pixel, in place of that in the files.",
            metavar="ROW,COL[,UNIT]",
        ),
    ] = None,
    model: options.ModelOption = "default",
    parameters: dict[str, Any] | None = None,
) -> None:
    """Make a project of images, which stay where they are.

    Examples:

    napari-sam project new cells raw/ --class cell --class "dead cell=#ee6677"

    napari-sam project new divisions movie.tif --planes 0:90:10
    """
    from ..projects import ImageSource, Project

    wanted = _source_options(axes, channels, planes, pixel_size)
    sources = [ImageSource(path, **wanted) for path in images]
    made = Project.create(
        project,
        sources,
        name=name,
        classes=[_class(text) for text in classes or ()],
        model=model,
        **(parameters or {}),
    )
    _tell(made, reporting)


@generated()
def add(
    project: ProjectArgument,
    reporting: options.Reporting,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGES...]",
            help="As for `new`. Without any, new files in the project's folders are added.",
        ),
    ] = None,
    axes: options.AxesOption = None,
    channels: options.ChannelsOption = None,
    planes: Annotated[
        str, options.option(options.INPUT, "As for `new`.", metavar="all|I|I:J:STEP|T=I:J,Z=K")
    ] = "all",
    pixel_size: Annotated[
        str | None, options.option(options.INPUT, "As for `new`.", metavar="ROW,COL[,UNIT]")
    ] = None,
) -> None:
    """Add images to a project.

    Example: napari-sam project add cells raw2/
    """
    from ..projects import ImageSource, Project
    from .report import tell

    found = Project.open(project)
    wanted = _source_options(axes, channels, planes, pixel_size)
    if images:
        fresh = found.add_images([ImageSource(path, **wanted) for path in images])
    else:
        fresh = found.refresh()
    keys = [image.key for image in fresh]
    facts = {"added": len(keys), "images": len(found.images)}
    tell(reporting, facts, lambda: {"added": keys, "images": len(found.images)})


@generated()
def status(
    project: ProjectArgument,
    reporting: options.Reporting,
    images: Annotated[bool, options.option(options.TALK, "List every image.", "--images")] = False,
) -> None:
    """Show how far a project is: images and objects by state, time, models.

    Example: napari-sam project status cells --images
    """
    from ..projects import Project

    _tell(Project.open(project), reporting, images)


app.command("new")(new)
app.command("add")(add)
app.command("status")(status)
app.command("suggest")(project_suggest.suggest)
app.command("learn")(project_learn.learn)
app.command("export")(project_exchange.export)
app.command("import")(project_exchange.import_)
app.command("audit")(project_audit.audit)
app.command("report")(project_report.report)


def _source_options(
    axes: str | None, channels: str | None, planes: str, pixel_size: str | None
) -> dict[str, Any]:
    from ..errors import ParameterError
    from . import values

    found: dict[str, Any] = {
        "axes": axes or "",
        "channels": values.indices(channels, "--channels") or (),
        "planes": planes,
    }
    if pixel_size is not None:
        row, _, rest = pixel_size.partition(",")
        col, _, unit = rest.partition(",")
        try:
            found |= {"pixel_size": (float(row), float(col)), "unit": unit.strip()}
        except ValueError:
            raise ParameterError(
                f"--pixel-size is ROW,COL or ROW,COL,UNIT, such as 0.5,0.5,micrometer; got "
                f"{pixel_size!r}"
            ) from None
    return found


def _class(text: str) -> ObjectClass:
    from ..projects import ObjectClass

    name, _, colour = text.partition("=")
    return ObjectClass(name.strip(), colour.strip())


def _tell(project: Project, reporting: options.Reporting, images: bool = False) -> None:
    from .report import print_rows, tell

    rows = [_image_facts(image) for image in project.images]
    objects = sum(row["objects"] for row in rows)
    seconds = sum(row["seconds"] for row in rows)
    counts = dict(project.counts())
    states = {state.replace("_", " "): count for state, count in counts.items() if count}
    facts = {
        "project": project.name,
        "images": ", ".join(
            [str(len(rows)), *(f"{count} {state}" for state, count in states.items())]
        ),
        "objects": objects,
        "time": f"{seconds / 60:.0f} min",
        "classes": ", ".join(item.name for item in project.classes) or "none",
        "model": project.model,
        "versions": ", ".join(version.name for version in project.versions) or "none",
        "folder": project.folder,
    }
    document = {
        "project": project.name,
        "folder": str(project.folder),
        "counts": counts,
        "objects": objects,
        "seconds": round(seconds, 1),
        "classes": [item.name for item in project.classes],
        "model": project.model,
        "versions": [version.name for version in project.versions],
        "settings": dict(project.settings),
        "images": rows,
    }
    tell(reporting, facts, lambda: document)
    if images and not (reporting.as_json or reporting.quiet):
        columns = ["image", "state", "objects", "minutes", "who", "note"]
        table = [
            [
                row["key"],
                row["state"].replace("_", " "),
                str(row["objects"]),
                f"{row['seconds'] / 60:.1f}",
                row["locked_by"] or row["who"],
                row["note"],
            ]
            for row in rows
        ]
        print_rows("", columns, table)


def _image_facts(image: Any) -> dict[str, Any]:
    status = image.status
    return {
        "key": image.key,
        "path": image.path,
        "plane": dict(image.plane),
        "state": status.state,
        "note": status.note,
        "objects": sum(status.objects.values()),
        "complete_regions": len(status.complete_regions),
        "seconds": status.seconds,
        "held_out": status.held_out,
        "who": status.who,
        "locked_by": image.locked_by(),
    }
