"""`napari-sam project audit`: how far off the masks of a project still are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import AUDIT
from . import options
from .generated import generated

if TYPE_CHECKING:
    from ..projects import Audit, AuditFigures, Project

DRAW, ANSWER = "Drawing an audit", "Answers and report"


@generated((AUDIT, DRAW))
def audit(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")],
    reporting: options.Reporting,
    name: Annotated[
        str,
        options.option(
            ANSWER, "Name of the audit, which is drawn if there is none; the last one by default."
        ),
    ] = "",
    new: Annotated[bool, options.option(DRAW, "Draw another audit.", "--new")] = False,
    images: Annotated[
        list[str] | None,
        options.option(DRAW, "Only these images; repeatable.", "--image", metavar="KEY"),
    ] = None,
    truth: Annotated[
        Path | None,
        options.option(
            ANSWER,
            "Labels of all objects, named like the images: answer what was drawn by them.",
            metavar="DIR|FILE",
        ),
    ] = None,
    by: Annotated[
        str, options.option(ANSWER, "Who drew these labels.", "--by", metavar="NAME")
    ] = "labels",
    level: Annotated[float, options.option(ANSWER, "Confidence level of the intervals.")] = 0.95,
    parameters: dict[str, Any] | None = None,
) -> None:
    """Draw an audit of a project's automatic masks, and report what its answers say.

    Masks and fields are drawn at random. A person corrects the masks and looks for missed objects
    in the fields, in napari; or labels drawn elsewhere answer. The report has the share of masks
    with an IoU above .75 and .90, and count, area and density of the objects with confidence
    intervals: audits/NAME/report.json, and methods.md for a paper.

    Examples:

    napari-sam project audit cells

    napari-sam project audit cells --new --masks 200 --image a1 --image a2

    napari-sam project audit cells --truth corrected/
    """
    from ..errors import ParameterError
    from ..projects import Audit, Project, audit_names

    opened = Project.open(project)
    names = audit_names(opened)
    drawing = new or not names or bool(name and name not in names)
    if not drawing and (parameters or images):
        raise ParameterError(
            f"the audit {name or names[-1]} is drawn already; --new draws another one"
        )
    if drawing:
        found = Audit.draw(opened, name, images=images, **(parameters or {}))
    else:
        found = Audit.open(opened, name)
    unused = _answer(opened, found, truth, by, reporting) if truth is not None else ()
    answers = (len(found.masks), len(found.fields))
    figures = None
    if min(answers[0] or not found.sample.masks, answers[1]) > 0:
        figures = found.figures(level)
        found.write_report(level)
    _tell(found, figures, answers, unused, reporting)


def _answer(
    project: Project, audit: Audit, truth: Path, by: str, reporting: options.Reporting
) -> tuple[str, ...]:
    """Answer by labels; return names among them that no image of the audit has."""
    from ..errors import ParameterError
    from ..progress import Progress
    from ..projects.importing import find_annotations
    from .report import progress_bar

    pairs, unknown = find_annotations(project, truth)
    covered = {image.key for image in audit.sample.images if not image.complete}
    pairs = [pair for pair in pairs if pair[1].key in covered]
    if not pairs:
        raise ParameterError(f"{truth} has no labels of images of the audit {audit.name}")
    with progress_bar(reporting.quiet) as show:
        for number, (item, image) in enumerate(pairs, start=1):
            read = item.read(image)
            classes = {entry.id: entry.class_name for entry in read.objects if entry.class_name}
            audit.answer_from(image.key, read.labels, classes=classes or None, by=by)
            show(Progress(number, len(pairs), message="answering"))
    return unknown


def _tell(
    audit: Audit,
    figures: AuditFigures | None,
    answers: tuple[int, int],
    unknown: tuple[str, ...],
    reporting: options.Reporting,
) -> None:
    from ..projects.audit_report import class_rows, classes_note, figure_rows, report_json
    from .report import print_rows, tell

    sample = audit.sample
    facts: dict[str, object] = {
        "audit": audit.name,
        "masks": f"{answers[0]} of {len(sample.masks)} drawn are answered",
        "fields": f"{answers[1]} of {len(sample.fields)} drawn are answered",
    }
    if unknown:
        facts["not found"] = f"{len(unknown)} names that no image has: {', '.join(unknown[:3])}"
    facts["folder"] = audit.folder

    def document() -> dict[str, Any]:
        held = {"audit": audit.name, "folder": str(audit.folder), "unknown": list(unknown)}
        if figures is None:
            return {**held, "answered": {"masks": answers[0], "fields": answers[1]}}
        return {**held, **report_json(audit.drawn, figures)}

    tell(reporting, facts, document)
    if figures is not None and not (reporting.as_json or reporting.quiet):
        columns = ["", "masks as they are", "estimate", f"{100 * figures.level:g} % interval"]
        print_rows("", columns, figure_rows(figures.figures), wraps=0)
        if figures.classes:
            rows = class_rows(figures)
            print_rows(f"\n{classes_note(figures)}", ["class", *columns], rows, wraps=1)
