"""Run an ablation: train and evaluate each variant; a stopped one is resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datasets import Entry, find_entries, select_split, spread
from ..engine import load_model
from ..errors import FormatError, ParameterError
from ..evaluation import PromptSettings, evaluate, summarise
from ..formats.atomic import replacing
from ..measures import Interval
from ..progress import Progress, in_series, mapped
from ..reading import read_json
from ..training import train_steps
from .plan import AblationPlan, EvaluationPlan, Variant

DONE = "figures.json"
MEASURES = {
    "ap50": ("everything", "ap50", "AP at .50"),
    "ap": ("everything", "ap", "AP"),
    "point": ("points", "chosen", "one point"),
    "best": ("points", "best_of_three", "best of three"),
    "box": ("boxes", "iou", "box"),
    "clicks": ("clicks", "click9", "nine clicks"),
    "edges": ("edges", "ods", "edges, ODS"),
}
"""For each measure its protocol, its name there, and its title."""


@dataclass(frozen=True, slots=True)
class VariantFigures:
    """What became of one variant.

    Parameters
    ----------
    key, ablation, value : str
    seed : int
    model : str
        Path of the trained model.
    images : int
        Images trained on, planes of stacks counted singly.
    steps : int
        Training steps.
    seconds : float
        Of training and evaluation, in all calls.
    figures : dict of str to [value, low, high]
        Of `MEASURES`, those that were measured.
    """

    key: str
    ablation: str
    value: str
    seed: int
    model: str
    images: int
    steps: int
    seconds: float
    figures: dict[str, list[float | None]] = field(default_factory=dict)

    def interval(self, measure: str) -> Interval | None:
        """A figure with its interval; None if it was not measured."""
        held = self.figures.get(measure)
        if held is None:
            return None
        value, low, high = (float("nan") if each is None else each for each in held)
        return Interval(value, low, high, self.images)


@dataclass(frozen=True, slots=True)
class AblationResult:
    """The figures of all variants, the baseline first.

    Parameters
    ----------
    folder : Path
    variants : tuple of VariantFigures
    """

    folder: Path
    variants: tuple[VariantFigures, ...]


def ablate_steps(
    plan: AblationPlan, output: str | Path, *, device: str = "auto"
) -> Generator[Progress, None, AblationResult]:
    """Train and evaluate all variants of a plan, one after the other.

    Closing the generator stops; the next call with the same folder goes on where it was.

    Parameters
    ----------
    plan : AblationPlan
        From `read_plan`.
    output : str or Path
        Folder, with a folder for each variant.
    device : str
        As for `train`.

    Yields
    ------
    Progress
        `done` and `total` count hundredths of variants; the message begins with the variant.

    Returns
    -------
    AblationResult

    Raises
    ------
    ParameterError
        If a variant's folder holds another run, or no image is left to evaluate.
    FormatError, ImageError, CheckpointError, ResourceError
        As `train` and `evaluate`.
    """
    folder = Path(output).expanduser()
    entries = _entries(plan.evaluate, plan.folder)
    count = len(plan.variants)
    found: list[VariantFigures] = []
    for number, variant in enumerate(plan.variants):
        place = folder / variant.key
        known = _known(place, variant)
        if known is None:
            steps = _one(plan, variant, place, entries, device)
            known = yield from mapped(steps, in_series(number, count, variant.key))
        found.append(known)
    yield Progress(100 * count, 100 * count, message="done")
    return AblationResult(folder, tuple(found))


def _one(
    plan: AblationPlan, variant: Variant, place: Path, entries: list[Entry], device: str
) -> Generator[Progress, None, VariantFigures]:
    began = time.perf_counter()

    def training(step: Progress) -> Progress:
        return Progress(step.done, max(2 * step.total, 1), step.partial, f"train, {step.message}")

    def measuring(step: Progress) -> Progress:
        total = max(step.total, 1)
        return Progress(total + step.done, 2 * total, step.partial, f"evaluate, {step.message}")

    result = yield from mapped(
        train_steps(variant.config, output=place / "run", data=plan.data, device=device), training
    )
    model = load_model(result.model, device=device)
    wanted = plan.evaluate
    evaluated = yield from mapped(
        evaluate(
            entries,
            model,
            place / "evaluation",
            protocols=wanted.protocols,
            settings=PromptSettings(objects_per_image=wanted.objects_per_image),
        ),
        measuring,
    )
    if not evaluated.records:
        reasons = "; ".join(evaluated.failures.values())
        raise ParameterError(f"no image could be evaluated: {reasons}")
    summary = summarise(evaluated.records)
    figures: dict[str, list[float | None]] = {}
    for figure in summary:
        for name, (protocol, measure, _) in MEASURES.items():
            own = figure.method.partition(":")[0] == protocol and figure.measure == measure
            if own and figure.group == summary[0].group and name not in figures:
                interval = figure.interval
                figures[name] = [_plain(v) for v in (interval.value, interval.low, interval.high)]
    record = read_json(place / "run" / "config.json", dict[str, Any], what="record of a run")
    made = VariantFigures(
        variant.key,
        variant.ablation,
        variant.value,
        variant.seed,
        str(result.model),
        sum(image.get("part") == "train" for image in record.get("data", [])),
        sum(result.steps.values()),
        round(time.perf_counter() - began, 1),
        figures,
    )
    with replacing(place / DONE) as temporary:
        temporary.write_text(json.dumps(_record(made, variant), indent=1) + "\n", "utf-8")
    return made


def _record(made: VariantFigures, variant: Variant) -> dict[str, Any]:
    values = {name: getattr(made, name) for name in VariantFigures.__dataclass_fields__}
    return {"version": 1, "config": json.loads(json.dumps(variant.config.to_dict())), **values}


def _known(place: Path, variant: Variant) -> VariantFigures | None:
    """What is done already; None if nothing is, or it was another configuration."""
    path = place / DONE
    if not path.exists():
        return None
    held = read_json(path, dict[str, Any], what="figures of a variant")
    if held.pop("version", None) != 1:
        raise FormatError(f"{path} is of another version of this program; remove it")
    if held.pop("config", None) != json.loads(json.dumps(variant.config.to_dict())):
        raise ParameterError(
            f"{place} holds another variant; choose another folder, or remove that one"
        )
    try:
        return VariantFigures(**held)
    except TypeError as error:
        raise FormatError(f"{path} is damaged; remove it to run the variant again") from error


def _entries(plan: EvaluationPlan, folder: Path) -> list[Entry]:
    sources = [folder / Path(each).expanduser() for each in plan.images]
    labels = folder / Path(plan.labels).expanduser() if plan.labels else None
    entries = find_entries(sources, labels)
    if plan.split:
        entries = select_split(entries, plan.split, folder / plan.split_file)
    return spread(entries, plan.limit or None)


def _plain(value: float) -> float | None:
    return None if value != value else round(value, 5)
