"""Configuration of a training run: one TOML file, one frozen dataclass."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .augment import AugmentConfig
from .data import CropConfig


@dataclass(frozen=True)
class StageConfig:
    """One stage of training: what is trained, for how long, on what crops.

    Parameters
    ----------
    name : str
        Names the stage's checkpoint and log.
    steps : int
        Optimiser steps.
    batch_size : int
        Crops a step.
    crop : CropConfig
        How crops are cut.
    learning_rate, encoder_learning_rate : float
        Peak rates of the decoder and of the encoder; 0 freezes that part.
    final_rate : float
        Rate at the end over the peak (cosine).
    warmup : int
        Steps of linear warm-up.
    weight_decay : float
        AdamW, on weights of more than one dimension.
    dense_weight : float
        Weight of the dense head's losses beside the masks'.
    objects : int
        Objects prompted per crop; 0 trains the encoder and its dense head alone.
    rounds : int
        Rounds of prompts an object gets, the first included.
    box_share : float
        Share of objects that start from a box.
    box_point_share : float
        Share of steps in which boxes come with a point of the object.
    windows : tuple of int
        Sides of the decoder's windows in embedding cells, one drawn a step.
    clip : float
        Largest norm of the gradient.
    ema : float
        Decay of the exponential moving average of the weights.
    """

    name: str
    steps: int
    batch_size: int = 8
    crop: CropConfig = field(default_factory=CropConfig)
    learning_rate: float = 0.0
    encoder_learning_rate: float = 0.0
    final_rate: float = 0.02
    warmup: int = 100
    weight_decay: float = 0.02
    dense_weight: float = 1.0
    objects: int = 0
    rounds: int = 3
    box_share: float = 0.5
    box_point_share: float = 0.2
    windows: tuple[int, ...] = (20, 20, 32)
    clip: float = 1.0
    ema: float = 0.998


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run.

    Parameters
    ----------
    stages : tuple of StageConfig
        Run one after the other, each from the averaged weights of the one before.
    seed : int
        Of everything random.
    generated : int
        Generated images to add to the sets.
    augment : AugmentConfig
        Changes of pixel values.
    validate_every, save_every, log_every : int
        Steps between validations, checkpoints and log lines.
    validation_images : int
        Images of the quick validation, taken in turn from every group.
    """

    stages: tuple[StageConfig, ...]
    seed: int = 1
    generated: int = 150
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validate_every: int = 500
    save_every: int = 250
    log_every: int = 20
    validation_images: int = 40

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, for the log and the model card."""
        return asdict(self)


def read_config(path: Path) -> TrainingConfig:
    """Read a run's configuration from a TOML file with a ``[[stages]]`` table for each stage.

    Raises
    ------
    ValueError
        When a key is unknown or a stage lacks its name or its steps.
    """
    raw = tomllib.loads(path.read_text())
    stages = []
    for table in raw.pop("stages", []):
        crop = CropConfig(**_known(CropConfig, table.pop("crop", {}), path))
        stages.append(StageConfig(crop=crop, **_known(StageConfig, table, path)))
    if not stages:
        raise ValueError(f"{path}: no [[stages]] table; a run needs at least one stage")
    augment = AugmentConfig(**_known(AugmentConfig, raw.pop("augment", {}), path))
    return TrainingConfig(
        stages=tuple(stages), augment=augment, **_known(TrainingConfig, raw, path)
    )


def _known(kind: type, table: dict[str, Any], path: Path) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    unknown = sorted(set(table) - names)
    if unknown:
        raise ValueError(
            f"{path}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(names))}"
        )
    return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
