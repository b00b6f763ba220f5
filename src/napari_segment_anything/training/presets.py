"""Presets for what a configuration leaves open, and checks of the settled configuration."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from ..errors import ParameterError
from .augment import AugmentConfig
from .config import SCRATCH, StageConfig, TrainingConfig
from .cropping import CropConfig
from .geometry import Geometry, has_dense_head

# weaker than from scratch: images of one set look alike, and the model is trained on others already
_FINE = AugmentConfig(
    invert=0.0,
    gamma=0.4,
    contrast=0.4,
    illumination=0.25,
    colour=0.3,
    shuffle=0.0,
    gray=0.0,
    blur=0.1,
    noise=0.25,
)

DENSE_MEASURES = ("ap50", "ap70", "ap80")
PROMPT_MEASURES = ("point", "point_best", "point_single", "box", "click1", "click2", "click3")

_RATES = {  # decoder, encoder: of the micro encoder, and of the published ones
    "whole": ((2e-4, 2e-4), (5e-5, 1e-5)),
    "decoder": ((3e-4, 0.0), (1e-4, 0.0)),
    "lora": ((2e-4, 1e-3), (1e-4, 3e-4)),
}
_REFINER_RATE = 5e-4


def settled(config: TrainingConfig, network: Any) -> TrainingConfig:
    """Fill in everything that a configuration leaves open.

    Parameters
    ----------
    config : TrainingConfig
    network : Sam
        The network to start from.

    Raises
    ------
    ParameterError
        If a value does not suit the network.
    """
    fresh = config.model == SCRATCH
    micro, refines = has_dense_head(network), network.mask_refiner is not None
    geometry = Geometry.of(network.image_encoder)
    augment = config.augment or (AugmentConfig() if fresh else _FINE)
    if config.stages:
        stages = config.stages
    elif fresh:
        stages = _from_scratch(config)
    else:
        stages = (_fine_tuning(config, geometry, micro, refines),)
    for stage in stages:
        _check(stage, config, geometry, micro, refines)
    _check_watch(config.watch, stages[-1], micro)
    return replace(config, stages=stages, augment=augment, options={})


def _check_watch(watch: str, stage: StageConfig, micro: bool) -> None:
    known: list[str] = []
    if stage.encoder_learning_rate > 0 and micro:
        known += DENSE_MEASURES
    if stage.objects:
        known += PROMPT_MEASURES
    if watch and watch.partition("/")[0] not in known:
        raise ParameterError(f"watch = {watch!r}: the last stage is measured by {', '.join(known)}")


def _fine_tuning(
    config: TrainingConfig, geometry: Geometry, micro: bool, refines: bool
) -> StageConfig:
    decoder, encoder = _RATES[config.train][0 if micro else 1]
    values: dict[str, Any] = {
        "steps": 300,
        "learning_rate": decoder,
        "encoder_learning_rate": encoder,
        "refiner_learning_rate": _REFINER_RATE if refines else 0.0,
        "warmup": 20,
        "weight_decay": 0.01,
        "rounds": 3,
        "ema": 0.98,
    }
    if micro:
        side = min(256, geometry.frame)
        crop = CropConfig(size=side, near=0.7, wide=(0.6, 1.7))
        values |= {"batch_size": 4, "objects": 6}
        values["windows"] = tuple(min(w, side // (4 * geometry.stride)) for w in (20, 20, 32))
    else:
        crop = CropConfig(size=geometry.frame, near=1.0)
        values |= {"batch_size": 1, "objects": 8, "windows": (geometry.cells,)}
        values["views"] = 8 if config.train == "decoder" else 0
    return _stage("finetune", values, crop, config.options)


def _from_scratch(config: TrainingConfig) -> tuple[StageConfig, ...]:
    """The first stages of the default model: encoder and dense head, decoder, all together."""
    options = dict(config.options)
    steps = int(options.pop("steps", 3000))
    crop = CropConfig(size=256)
    first, second = max(round(0.48 * steps), 1), max(round(0.16 * steps), 1)
    parts: tuple[tuple[str, dict[str, Any]], ...] = (
        (
            "encoder",
            {"steps": first, "batch_size": 8, "encoder_learning_rate": 1.5e-3, "warmup": 200},
        ),
        (
            "decoder",
            {"steps": second, "batch_size": 4, "learning_rate": 8e-4, "objects": 6, "rounds": 2},
        ),
        (
            "together",
            {
                "steps": max(steps - first - second, 1),
                "batch_size": 4,
                "learning_rate": 6e-4,
                "encoder_learning_rate": 3e-4,
                "refiner_learning_rate": 1e-3,
                "warmup": 50,
                "objects": 6,
                "rounds": 2,
            },
        ),
    )
    rates = {"learning_rate", "encoder_learning_rate", "refiner_learning_rate"}
    told = (rates | {"objects"}) & set(options)
    if told:
        raise ParameterError(
            f"{', '.join(sorted(told))}: the three stages of a run from scratch have values of "
            "their own; write [[stages]] to change them"
        )
    return tuple(_stage(name, values, crop, options) for name, values in parts)


def _stage(name: str, values: dict[str, Any], crop: CropConfig, options: Any) -> StageConfig:
    given = dict(options)
    crop = replace(crop, **dict(given.pop("crop", {})))
    return StageConfig(name, crop=crop, **{**values, **given})


def _check(
    stage: StageConfig, config: TrainingConfig, geometry: Geometry, micro: bool, refines: bool
) -> None:
    size, frame, widest = stage.crop.size, geometry.frame, max(stage.windows)
    cells = size // (4 * geometry.stride)
    learns = stage.encoder_learning_rate > 0
    wrong = {
        f"crops of {size} pixels are larger than the model's frame of {frame}": size > frame,
        f"this image encoder is trained on whole frames: crop.size = {frame}, not {size}": (
            not micro and size != frame
        ),
        f"windows of {widest} cells do not fit crops of {size} pixels, which have {cells}": (
            stage.objects and widest > cells
        ),
        "without 'objects' nothing is trained": not micro and not stage.objects,
        "train = 'decoder' leaves the encoder as it is, but its learning rate is "
        f"{stage.encoder_learning_rate}": config.train == "decoder" and learns,
        "this model has no mask refiner for refiner_learning_rate to train": (
            stage.refiner_learning_rate > 0 and not refines
        ),
        "'assume' needs an image encoder with a dense head, and a learning rate for it": (
            stage.assume > 0 and not (micro and learns)
        ),
        "views keep embeddings, which change when the encoder is trained": stage.views and learns,
    }
    for message, applies in wrong.items():
        if applies:
            raise ParameterError(f"{stage.name}: {message}")


def summary(stage: StageConfig) -> dict[str, Any]:
    """Values of a stage that differ from the defaults, for the model card."""
    plain = {f.name: f.default for f in fields(StageConfig)}
    values = {k: v for k, v in asdict(stage).items() if k != "crop" and v != plain.get(k)}
    return {**values, "crop size": stage.crop.size}
