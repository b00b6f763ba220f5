"""`napari-sam project suggest`: let a project's model go ahead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import RUN
from ..wording import counted
from . import options
from .generated import generated

if TYPE_CHECKING:
    from ..projects import Project, ReviewItem, SeriesReport, TakingReport

PANEL = "Suggestions"
_MODE = {"mode": RUN["mode"]}
# a project records its parameters as plain values
_PLAIN = {
    name: parameter
    for name, parameter in options.CANDIDATES.items()
    if parameter.kind is not object
}


@generated((_MODE, options.FIND), (_PLAIN, options.panel_of))
def suggest(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")],
    reporting: options.Reporting,
    images: Annotated[
        list[str] | None,
        options.option(
            PANEL,
            "Only this image, whatever its state; repeatable. Otherwise all that are to do or in "
            "progress.",
            "--image",
            metavar="KEY",
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        options.option(
            PANEL,
            "Find all like this object; repeatable, for several examples.",
            metavar="KEY:LABEL",
        ),
    ] = None,
    renew: Annotated[
        bool,
        options.option(PANEL, "Also images that have suggestions of this model.", "--renew"),
    ] = False,
    queue: Annotated[
        int,
        options.option(options.TALK, "List so many suggestions, those most worth a look first."),
    ] = 0,
    take: Annotated[
        bool,
        options.option(
            PANEL,
            "Then make labels of all suggestions from the project's score on, without a person; "
            "`audit` says how good they are.",
            "--take",
        ),
    ] = False,
    device: options.DeviceOption = "auto",
    parameters: dict[str, Any] | None = None,
) -> None:
    """Suggest objects for the images that are still to do, with the project's model.

    Suggestions are no labels: in napari, a person takes, corrects or rejects them. A run can be
    stopped; the same command resumes it. After the project's model has changed, suggestions are
    made anew, and decisions stay.

    Examples:

    napari-sam project suggest cells --queue 20

    napari-sam project suggest cells --like a1:7 --like a1:12

    napari-sam project suggest cells --take
    """
    from ..engine import Predictor, load_model
    from ..errors import ParameterError
    from ..progress import finish
    from ..projects import Project, review_queue, suggest_series_steps, take_suggestions_steps
    from .report import progress_bar

    given = dict(parameters or {})
    if like and (renew or take or given):
        raise ParameterError(
            "--like compares candidates that are there already: leave out --renew, --take "
            "and the parameters of everything mode"
        )
    found = Project.open(project)
    examples = [_example(found, text) for text in like or ()]
    with progress_bar(reporting.quiet or reporting.as_json) as show:
        if not examples:
            steps = suggest_series_steps(found, keys=images, renew=renew, device=device, **given)
            report = finish(steps, show)
        else:
            predictor = Predictor(load_model(found.model_path(), device=device))
            report = _similar(found, examples, predictor, images, show)
        taken = finish(take_suggestions_steps(found, keys=images), show) if take else None
    shown = review_queue(found, keys=images)[: max(queue, 0)] if queue > 0 else ()
    _tell(found, report, taken, shown, reporting)


def _similar(
    project: Project,
    examples: list[tuple[str, int]],
    predictor: Any,
    images: list[str] | None,
    show: Any,
) -> SeriesReport:
    from ..progress import finish
    from ..projects import Traits, example_steps, similar_series_steps

    labels: dict[str, list[int]] = {}
    for key, label in examples:
        labels.setdefault(key, []).append(label)
    traits = [
        finish(example_steps(project.image(key), ids, predictor), show)
        for key, ids in labels.items()
    ]
    steps = similar_series_steps(project, Traits.joined(traits), predictor, keys=images)
    return finish(steps, show)


def _example(project: Project, text: str) -> tuple[str, int]:
    """Read KEY:LABEL."""
    from ..errors import ParameterError

    key, _, label = text.rpartition(":")
    if not key or not label.isdecimal():
        raise ParameterError(f"--like is KEY:LABEL, such as a1:7; got {text!r}")
    return project.image(key).key, int(label)


def _tell(
    project: Project,
    report: SeriesReport,
    taken: TakingReport | None,
    queue: tuple[ReviewItem, ...],
    reporting: options.Reporting,
) -> None:
    from dataclasses import asdict

    from .report import print_rows, tell

    facts: dict[str, object] = {
        "images": len(report.made),
        "suggestions": sum(report.made.values()),
        "up to date": len(report.current),
        "model": project.model,
        "seconds": f"{report.seconds:.1f}",
    }
    if report.busy:
        facts["in use"] = ", ".join(f"{key} ({who})" for key, who in report.busy.items())
    for key, reason in report.failed.items():
        facts[f"failed: {key}"] = reason
    if taken is not None:
        facts["taken"] = f"{sum(taken.taken.values())} in {counted(len(taken.taken), 'image')}"
        facts |= {f"not taken: {key}": reason for key, reason in taken.left.items()}
    became = {} if taken is None else asdict(taken)
    document = {
        **asdict(report),
        **became,
        "model": project.model,
        "queue": [asdict(i) for i in queue],
    }
    tell(reporting, facts, lambda: document)
    if queue and not (reporting.as_json or reporting.quiet):
        columns = ["image", "suggestion", "worth a look", "because"]
        rows = [
            [item.key, str(item.id), f"{item.worth:.2f}", ", ".join(item.reasons)] for item in queue
        ]
        print_rows("", columns, rows)
