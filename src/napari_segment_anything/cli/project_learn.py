"""`napari-sam project learn`: fine-tune a project's model on what is annotated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..parameters import LEARNING
from . import options
from .generated import generated

if TYPE_CHECKING:
    from ..projects import Project
    from ..projects.learning_status import LearningStatus
    from ..projects.versions import ModelVersion

PANEL = "Learning"
_SPOKEN = {"ap50": "AP at .50", "ap": "mean AP", "point": "point, best of 3", "box": "box"}


@generated((LEARNING, PANEL))
def learn(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")],
    reporting: options.Reporting,
    model: Annotated[
        str | None,
        options.option(
            PANEL, "Version or model to start from; the project's else.", metavar="NAME"
        ),
    ] = None,
    device: options.DeviceOption = "auto",
    restart: Annotated[
        bool,
        options.option(
            PANEL,
            "Begin anew with the present annotation, in place of resuming what was stopped.",
            "--restart",
        ),
    ] = False,
    use: Annotated[
        bool,
        options.option(options.RESULT, "Make the new version the project's model.", "--use"),
    ] = False,
    background: Annotated[
        bool,
        options.option(
            PANEL, "Learn in a process of its own, at low priority, and return.", "--background"
        ),
    ] = False,
    status: Annotated[
        bool, options.option(options.TALK, "Show how far learning is, and return.", "--status")
    ] = False,
    cancel: Annotated[
        bool, options.option(PANEL, "Stop learning; the same command resumes it.", "--cancel")
    ] = False,
    parameters: dict[str, Any] | None = None,
) -> None:
    """Fine-tune a project's model on what is annotated, as a new version of it.

    Images need not be complete: what nobody has looked at has no loss. Once four images are
    complete, some are held out, and the new version is measured on them. Earlier versions are kept.

    Examples:

    napari-sam project learn cells --use

    napari-sam project learn cells --background; napari-sam project learn cells --status
    """
    from ..errors import ParameterError
    from ..progress import finish
    from ..projects import Project
    from ..projects.learning import learn_steps
    from ..projects.learning_process import cancel_learning, learning_status, start_learning
    from .train import training_display

    given = dict(parameters or {})
    if sum((background, status, cancel, use)) > 1:
        raise ParameterError("give one of --background, --status, --cancel and --use")
    found = Project.open(project)
    if cancel:
        cancel_learning(project)
    if background:
        start_learning(project, model=model, device=device, restart=restart, **given)
    if background or status or cancel:
        _tell_status(learning_status(project), reporting)
        return
    threads = given.pop("threads", None)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    steps = learn_steps(found, model=model, device=device, restart=restart, **given)
    with training_display(reporting.quiet or reporting.as_json, []) as show:
        version = finish(steps, show)
    if use:
        found.set_model(version.name)
    _tell(found, version, reporting)


def _tell_status(status: LearningStatus | None, reporting: options.Reporting) -> None:
    from dataclasses import asdict

    from .report import tell
    from .train import duration_words

    if status is None:
        tell(reporting, {"learning": "never started"}, lambda: {"state": "never started"})
        return
    facts: dict[str, object] = {"learning": status.state, "at": status.message}
    if status.total:
        facts["steps"] = f"{status.done} of {status.total}"
    if status.predicted_seconds:
        facts["predicted"] = duration_words(status.predicted_seconds)
    if status.version:
        facts["version"] = status.version
    tell(reporting, facts, lambda: asdict(status))


def _tell(project: Project, version: ModelVersion, reporting: options.Reporting) -> None:
    from .report import tell
    from .train import duration_words

    learned = version.learned()
    trained = [image for image in learned["images"] if image["part"] == "train"]
    facts: dict[str, object] = {
        "version": version.name,
        "learned from": f"{sum(len(image['objects']) for image in trained)} objects in "
        f"{len(trained)} images",
        "time": duration_words(learned["seconds"]),
        "held out": learned["note"],
    }
    for name, value in learned["after"].items():
        facts[f"held out, {_SPOKEN[name]}"] = f"{learned['before'][name]:.3f} -> {value:.3f}"
    facts["the project uses"] = project.model
    facts["model"] = version.path
    tell(reporting, facts, lambda: {"name": version.name, "path": str(version.path), **learned})
