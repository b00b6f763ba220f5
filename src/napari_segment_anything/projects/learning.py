"""Learn from a project: fine-tune its model on what is annotated, as a new version.

Learning works on copies of the annotation in ``models/.learning``, so that people may go on
annotating. It can be stopped at any time, also by a kill, and resumed from there.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ParameterError
from ..formats.locking import exclusive
from ..parameters import LEARNING, check_values
from ..progress import Progress, mapped
from ..reading import read_json
from .files import write_text
from .learning_data import Annotated, choose_parts, copy_annotation, read_copies
from .learning_options import default_steps, options_for
from .learning_status import LOCK, StatusWriter, work_folder
from .project import Project
from .versions import CARD, LEARNED, MODEL, ModelVersion

if TYPE_CHECKING:
    from ..evaluation import Evaluation
    from ..training import TrainingConfig

REQUEST = "request.json"
_RUN = "run"
FIGURES = {
    "ap50": ("everything", "ap50"),
    "ap": ("everything", "ap"),
    "point": ("points", "best_of_three"),
    "box": ("boxes", "iou"),
}
"""Measures before and after: AP at an IoU of .50, mean AP, best of three masks for a click, box."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be learned; settled when learning starts.

    Parameters
    ----------
    version : int
        Of the file.
    base : str
        The version started from, "v2", or "" for a model from elsewhere.
    model : str
        Name or path of the model started from.
    fingerprint : str
        Hash of its weights.
    steps : int
        Training steps.
    train : {"whole", "decoder", "lora"}
        What is trained.
    options : dict of str to object
        Of the training stage.
    images : tuple of Annotated
        To learn from, and to measure on.
    note : str
        About the images held out.
    started : str
        ISO 8601, UTC.
    """

    version: Literal[1]
    base: str
    model: str
    fingerprint: str
    steps: int
    train: Literal["whole", "decoder", "lora"]
    options: dict[str, Any]
    images: tuple[Annotated, ...]
    note: str
    started: str


def learn_steps(
    project: Project,
    *,
    model: str | None = None,
    steps: int | None = None,
    train: str | None = None,
    device: str = "auto",
    restart: bool = False,
) -> Generator[Progress, None, ModelVersion]:
    """Fine-tune a project's model on what is annotated, as a generator of `Progress`.

    Where an image is not labelled completely, nothing but its labelled objects, a ring around each,
    complete regions and negative clicks has a loss; from half of the steps on, so does what the
    model has become confident of (see `training.assumed`). Closing the generator stops; the next
    call goes on with what was learned from, and ignores annotation made since.

    Parameters
    ----------
    project : Project
    model : str, optional
        Version or model to start from; the project's by default.
    steps : int, optional
        Training steps; by default 70, and one for each object, up to 300.
    train : {"whole", "decoder", "lora"}, optional
        What is trained; by default "whole" for models with a dense head, "decoder" for others.
    device : str
        "auto" takes CUDA, MPS or the CPU, in this order.
    restart : bool
        Begin anew, with the present annotation, in place of resuming.

    Yields
    ------
    Progress
        `partial` is an `Estimate` of time and memory before the first step (message "predicted"),
        then a `StepReport`.

    Returns
    -------
    ModelVersion
        The project goes on using its model until `Project.set_model`.

    Raises
    ------
    ParameterError
        If nothing is annotated, or an argument is invalid.
    ResourceError
        If another process is learning from the project, or memory does not suffice.
    FormatError, ImageError
        If an image or a file of the project is missing or damaged.
    """
    check_values(LEARNING, {"steps": steps, "train": train})
    folder = work_folder(project.folder)

    def busy() -> str:
        return f"another process is learning from {project.name}: wait for it, or cancel it"

    with exclusive(folder / LOCK, busy), StatusWriter(folder) as status:
        asked = {"model": model, "steps": steps, "train": train}

        def noted(step: Progress) -> Progress:
            status.note(step)
            return step

        version = yield from mapped(_learn(project, folder, asked, device, restart), noted)
        status.finished(version.name)
        return version


def can_resume(project: Project) -> bool:
    """Whether learning was stopped or killed, and can go on."""
    return (work_folder(project.folder) / REQUEST).is_file()


def _learn(
    project: Project, folder: Path, asked: Mapping[str, Any], device: str, restart: bool
) -> Generator[Progress, None, ModelVersion]:
    from ..training import train_steps
    from ..training.estimate import Estimate

    began = time.perf_counter()
    path = folder / REQUEST
    if restart:
        _clear(folder)
    resumed = path.is_file()
    if resumed:
        request: Request = read_json(path, Request, what="record of learning")
    else:
        _clear(folder)
        request = yield from _prepare(project, folder, asked)
    held = [image for image in request.images if image.part == "held_out"]
    before = after = None
    training = train_steps(
        _configuration(project, request),
        images=read_copies(folder, request.images, "train"),
        held_out=read_copies(folder, request.images, "held_out"),
        output=folder / _RUN,
        device=device,
    )
    try:
        while True:
            try:
                step = next(training)
            except StopIteration as stop:
                result = stop.value
                break
            if isinstance(step.partial, Estimate) and step.message == "predicted":
                yield replace(step, partial=_with_measuring(step.partial, held))
                if held:
                    before = yield from _measure(folder, "before", request.model, device)
            else:
                yield step
    except ParameterError as error:
        if not resumed:
            raise
        raise ParameterError(
            "learning that was stopped cannot go on, since its model or a file in "
            f"{folder} has changed: begin anew (restart)"
        ) from error
    finally:
        training.close()
    if held:
        before = before or (yield from _measure(folder, "before", request.model, device))
        after = yield from _measure(folder, "after", str(result.model), device)
    yield Progress(request.steps, request.steps, message="writing the version")
    seconds = time.perf_counter() - began
    version = _write(project, folder, request, result.card, (before, after), seconds)
    _clear(folder)
    return version


def _prepare(
    project: Project, folder: Path, asked: Mapping[str, Any]
) -> Generator[Progress, None, Request]:
    """Choose the images, copy them, and settle what is learned."""
    from ..engine import load_model
    from ..training.initial import trainable

    yield Progress(0, 1, message="loading the model")
    base = asked["model"] or project.model
    known = {version.name: str(version.path) for version in project.versions}
    source = known.get(base, base)
    loaded = load_model(source, device="cpu")
    network = trainable(loaded.network, loaded.name)
    chosen, note = choose_parts(project)
    images = []
    for number, (image, part) in enumerate(chosen):
        yield Progress(number, len(chosen), message=f"reading {image.key}")
        images.append(copy_annotation(image, part, folder, network))
    count = sum(len(image.objects) for image in images if image.part == "train")
    train, options = options_for(network, asked["train"])
    request = Request(
        1,
        base if base in known else "",
        source,
        loaded.fingerprint,
        asked["steps"] or default_steps(count),
        train,
        options,
        tuple(images),
        note,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_text(folder / REQUEST, json.dumps(asdict(request), indent=1) + "\n")
    return request


def _configuration(project: Project, request: Request) -> TrainingConfig:
    from ..training import TrainingConfig

    return TrainingConfig(
        model=request.model,
        train=request.train,
        options={**request.options, "steps": request.steps},
        validate_every=max(request.steps // 3, 1),
        validation_images=2,
        save_every=20,
        log_every=5,
        name=project.name,
    )


def _with_measuring(estimate: Any, held: list[Annotated]) -> Any:
    """Add the time of measuring on held-out images, before and after."""
    each = 10 * estimate.per_step
    files = sum(len(image.files) for image in held)
    return replace(estimate, seconds=estimate.seconds + 2 * each * files)


def _measure(
    folder: Path, name: str, model: str, device: str
) -> Generator[Progress, None, Evaluation]:
    from ..engine import load_model
    from ..evaluation import PromptSettings, evaluate, find_entries

    measuring = evaluate(
        find_entries([folder / "held_out"]),
        load_model(model, device=device),
        folder / name,
        protocols=("everything", "points", "boxes"),
        settings=PromptSettings(objects_per_image=10),
    )
    return (
        yield from mapped(
            measuring,
            lambda step: replace(step, message=f"measuring {name} learning: {step.message}"),
        )
    )


def figures_of(evaluation: Evaluation | None) -> dict[str, float]:
    """The measures of `FIGURES`, by name; empty without held-out images."""
    from ..evaluation import summarise

    if evaluation is None:
        return {}
    found = {
        (figure.method.partition(":")[0], figure.measure): figure.interval.value
        for figure in summarise(evaluation.records, resamples=1)
    }
    return {name: round(found[key], 4) for name, key in FIGURES.items() if key in found}


def _write(
    project: Project,
    folder: Path,
    request: Request,
    card: str,
    measured: tuple[Evaluation | None, Evaluation | None],
    seconds: float,
) -> ModelVersion:
    """Make the version; nothing is left of it if that fails."""
    before, after = measured
    learned = {
        "version": 1,
        "base": request.base,
        "model": request.model,
        "fingerprint": request.fingerprint,
        "train": request.train,
        "steps": request.steps,
        "options": request.options,
        "started": request.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "note": request.note,
        "images": [
            {k: v for k, v in asdict(image).items() if k != "files"} for image in request.images
        ],
        "before": figures_of(before),
        "after": figures_of(after),
    }
    with project.new_version() as made:
        shutil.copyfile(folder / _RUN / MODEL, made / MODEL)
        for name in ("finetune-train.csv", "finetune-validation.csv"):
            if (folder / _RUN / name).exists():
                shutil.copyfile(folder / _RUN / name, made / name.removeprefix("finetune-"))
        if before is not None and after is not None:
            _draw(folder, made / "pictures", before, after)
        (made / CARD).write_text(card, "utf-8")
        (made / LEARNED).write_text(json.dumps(learned, indent=1) + "\n", "utf-8")
        name = made.name
    return next(version for version in project.versions if version.name == name)


def _draw(folder: Path, pictures: Path, before: Evaluation, after: Evaluation) -> None:
    """Draw each held-out image with the outlines that both models find."""
    from ..evaluation import find_entries
    from ..evaluation.gallery import draw_result
    from ..evaluation.run import label_path, planes_of
    from ..formats.labels import read_labels
    from ..formats.overlay import save_overlay

    pictures.mkdir()
    methods = {
        record["image"]: record["protocol"]
        for record in before.records
        if record["protocol"].startswith("everything")
    }
    for entry in find_entries([folder / "held_out"]):
        for plane in planes_of(entry, before.header):
            found = [
                read_labels(label_path(each.folder, plane.name, methods[plane.name]))
                for each in (before, after)
            ]
            save_overlay(pictures / f"{entry.stem}.png", draw_result(plane, *found))


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, the request first, so that it cannot be half resumed."""
    (folder / REQUEST).unlink(missing_ok=True)
    for name in (_RUN, "train", "held_out", "before", "after"):
        shutil.rmtree(folder / name, ignore_errors=True)


def sample_pictures(version: ModelVersion) -> Iterator[Path]:
    """Pictures of held-out images, with the outlines before and after, side by side."""
    yield from sorted((version.folder / "pictures").glob("*.png"))
