"""What an ablation changes: read from TOML, and turned into configurations of training runs."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ParameterError
from ..evaluation import PROTOCOLS, PromptSettings
from ..reading import convert, read_toml
from ..training import TrainingConfig
from ..training.config import StageConfig
from ..training.toml import read_config

BASELINE = "baseline"
_SET_KEYS = ("share", "limit")
_STAGE_KEYS = frozenset(f.name for f in fields(StageConfig)) - {"name"}


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """On which images the variants are measured, and how.

    Parameters
    ----------
    images : tuple of str
        Files and folders, as for `find_entries`; relative to the plan's folder.
    labels : str
        Their labels, if they lie elsewhere.
    split, split_file : str
        Only images of this part of a split.
    limit : int
        At most so many images of each set; 0 for all.
    protocols : tuple of str
        Of `evaluation.PROTOCOLS`.
    objects_per_image : int
        Prompted objects of an image; 0 for all.
    """

    images: tuple[str, ...]
    labels: str = ""
    split: str = ""
    split_file: str = ""
    limit: int = 0
    protocols: tuple[str, ...] = ("everything", "boxes", "points")
    objects_per_image: int = 10

    def __post_init__(self) -> None:
        unknown = sorted(set(self.protocols) - set(PROTOCOLS))
        if unknown or not self.protocols:
            raise ParameterError(f"protocols are some of {', '.join(PROTOCOLS)}; not {unknown}")
        if "instances" in self.protocols:
            raise ParameterError(
                "[evaluate]: the protocol instances needs a detector's boxes, which plans lack; "
                "measure the trained models with `napari-sam evaluate --detections`"
            )
        if not self.images:
            raise ParameterError("[evaluate] names no images")
        if bool(self.split) != bool(self.split_file):
            raise ParameterError("[evaluate]: 'split' and 'split_file' go together")
        PromptSettings(self.objects_per_image)


@dataclass(frozen=True, slots=True)
class Ablation:
    """One thing that is changed, and its values.

    Parameters
    ----------
    name : str
        For the table and the plot.
    change : str
        A key of the configuration, with dots for tables ("ema", "crop.size", "encoder.widths"),
        of every stage if the configuration has stages. Of the sets: "share" and "limit". "sets" and
        "stages" keep those of these names.
    values : tuple
        What it is set to.
    """

    name: str
    change: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.change or not self.values:
            raise ParameterError("an [[ablation]] has a name, a change, and at least one value")


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One training run of an ablation.

    Parameters
    ----------
    key : str
        Name of its folder.
    ablation, value : str
        What is changed, and to what; "baseline" and "" for the configuration as it is.
    seed : int
    config : TrainingConfig
    """

    key: str
    ablation: str
    value: str
    seed: int
    config: TrainingConfig


@dataclass(frozen=True, slots=True, eq=False)
class AblationPlan:
    """Variants of one configuration, and the images to measure them on.

    Parameters
    ----------
    folder : Path
        Of the plan, from which its paths start.
    data : Path
        Folder that the paths of the configuration's sets start from.
    evaluate : EvaluationPlan
    ablations : tuple of Ablation
    variants : tuple of Variant
        The baseline first; each with every seed.
    """

    folder: Path
    data: Path
    evaluate: EvaluationPlan
    ablations: tuple[Ablation, ...]
    variants: tuple[Variant, ...] = field(default=())


def read_plan(path: str | Path) -> AblationPlan:
    """Read an ablation's plan.

    Parameters
    ----------
    path : str or Path
        TOML with ``config`` (the training configuration that all variants have in common),
        perhaps ``data`` and ``seeds``, a table ``[evaluate]`` and tables ``[[ablation]]``.

    Raises
    ------
    ParameterError
        If a file cannot be read, a key is unknown, or a value does not fit the configuration.
    """
    path = Path(path).expanduser()
    raw = read_toml(path, "plan of an ablation")
    unknown = sorted(set(raw) - {"config", "data", "seeds", "evaluate", "ablation"})
    if unknown:
        raise ParameterError(f"{path}: unknown keys {', '.join(unknown)}")
    if "config" not in raw or "evaluate" not in raw:
        raise ParameterError(f"{path} needs 'config', and a table [evaluate]")
    where = f"{path}: "
    base = path.parent / convert(raw["config"], str, f"{where}config", ParameterError)
    configuration = read_toml(base)
    own = int(configuration.get("seed", TrainingConfig().seed))
    seeds = convert(raw.get("seeds", [own]), tuple[int, ...], f"{where}seeds", ParameterError)
    evaluate: EvaluationPlan = convert(
        raw["evaluate"], EvaluationPlan, f"{where}[evaluate]", ParameterError
    )
    ablations: tuple[Ablation, ...] = convert(
        raw.get("ablation", []), tuple[Ablation, ...], f"{where}[[ablation]]", ParameterError
    )
    data = raw.get("data")
    folder = (
        base.parent if data is None else path.parent / convert(data, str, where, ParameterError)
    )
    variants = [
        Variant(_key(name, number, seed), name, value, seed, config)
        for number, (name, value, changed) in enumerate(_changes(configuration, ablations))
        for seed in seeds
        for config in [read_config({**changed, "seed": seed}, base.parent)]
    ]
    if len({variant.key for variant in variants}) < len(variants):
        raise ParameterError(f"{path}: two ablations have names that are alike")
    return AblationPlan(path.parent, folder, evaluate, ablations, tuple(variants))


def changed(configuration: Mapping[str, Any], change: str, value: Any) -> dict[str, Any]:
    """Return a configuration, as read from TOML, with one thing changed; see `Ablation`.

    Raises
    ------
    ParameterError
        If it names a set or stage that is not there.
    """
    made = copy.deepcopy(dict(configuration))
    if change in ("sets", "stages"):
        key, names = ("data" if change == "sets" else "stages"), _names(change, value)
        titles = [_title(table) for table in made.get(key, [])]
        missing = [name for name in names if name not in titles]
        if missing:
            raise ParameterError(
                f"the configuration has no {change} called {', '.join(missing)}; it has "
                f"{', '.join(titles) or 'none'}"
            )
        made[key] = [table for table in made[key] if _title(table) in names]
    elif change in _SET_KEYS:
        for table in made.get("data", []):
            if "generated" not in table:
                table[change] = value
    else:
        *outer, last = change.split(".")
        of_stage = (not outer and last in _STAGE_KEYS) or outer[:1] == ["crop"]
        tables = made["stages"] if of_stage and made.get("stages") else [made]
        for table in tables:
            for key in outer:
                table = table.setdefault(key, {})
            table[last] = value
    return made


def _changes(
    configuration: Mapping[str, Any], ablations: tuple[Ablation, ...]
) -> list[tuple[str, str, dict[str, Any]]]:
    """(ablation, value in words, configuration) of each variant, the baseline first."""
    found = [(BASELINE, "", dict(configuration))]
    for ablation in ablations:
        found += [
            (ablation.name, _words(value), changed(configuration, ablation.change, value))
            for value in ablation.values
        ]
    return found


def _names(change: str, value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return list(value)
    raise ParameterError(f"the values of '{change}' are lists of names, not {value!r}")


def _title(table: Mapping[str, Any]) -> str:
    for key in ("name", "kind" if "generated" in table else "folder", "images", "records"):
        if table.get(key):
            return Path(str(table[key])).name
    return "generated"


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _key(name: str, number: int, seed: int) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "ablation"
    return f"{number:02d}-{plain[:40]}-seed{seed}"
