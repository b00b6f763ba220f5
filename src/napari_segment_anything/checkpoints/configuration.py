"""Configurations of networks as JSON, in the header of our own files."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from ..errors import CheckpointError
from ..limits import NETWORK_SIDE
from ..network.instance_decoder import InstanceDecoderConfig
from ..network.micro import MicroConfig
from ..network.promptable import FrameFit
from ..network.sam import SamConfig
from ..network.tiny_vit import TinyViTConfig
from ..network.vit import ViTConfig
from ..reading import convert, decode_json

_HEADER = "the checkpoint's header is damaged"
_MAY_BE_NONE = (
    "classes", "global_blocks", "pixel_mean", "positions", "refiner_width", "text_width",
    "transposed",
)  # fmt: skip
# What differs from SAM in few models: stored only where it does, for earlier versions.
_RARE: dict[str, Any] = {
    "frame_fit": FrameFit,
    "pixel_mean": tuple[float, float, float],
    "pixel_std": tuple[float, float, float],
    "text_width": int,
}
_LAYERS = 512
_LONGEST = 64
_ENCODERS: dict[str, type] = {"vit": ViTConfig, "tiny_vit": TinyViTConfig, "micro": MicroConfig}


def config_to_json(config: SamConfig | InstanceDecoderConfig) -> str:
    """Write a configuration as JSON.

    Raises
    ------
    CheckpointError
        If the type of the image encoder cannot be stored.
    """
    if isinstance(config, SamConfig) and type(config.encoder) not in _ENCODERS.values():
        raise CheckpointError(
            f"an image encoder of type {type(config.encoder).__name__} cannot be stored by name"
        )
    values = asdict(config)
    if isinstance(config, SamConfig):
        values["encoder"]["kind"] = next(
            kind for kind, made in _ENCODERS.items() if type(config.encoder) is made
        )
        rare = _rare(config)
        values = {k: v for k, v in values.items() if k not in _RARE or k in rare}
    return json.dumps(values)


def preparation(config: SamConfig) -> str | None:
    """Describe how a network takes images, where that differs from SAM; None where it does not."""
    rare = _rare(config)
    return json.dumps(rare, sort_keys=True) if rare else None


def _rare(config: SamConfig) -> dict[str, Any]:
    usual, values = SamConfig(config.encoder), {name: getattr(config, name) for name in _RARE}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def config_from_json(text: str) -> SamConfig:
    """Read what `config_to_json` wrote.

    Raises
    ------
    CheckpointError
        If it is damaged, or contains something this version does not know.
    """
    values: dict[str, Any] = decode_json(text, dict[str, Any], _HEADER, CheckpointError)
    encoder = values.get("encoder")
    if not isinstance(encoder, dict):
        raise CheckpointError("the checkpoint's header has no image encoder")
    kind = encoder.get("kind")
    made = _ENCODERS.get(str(kind))
    if made is None:
        raise CheckpointError(
            f"the checkpoint has an image encoder of kind {kind!r}, which this version does not "
            f"support (it supports {', '.join(_ENCODERS)}); a newer version may"
        )
    stored = {key: value for key, value in encoder.items() if key != "kind"}
    values["encoder"] = {}
    _check_keys(SamConfig, values)
    # validated without the encoder, whose type is a protocol
    rest: dict[str, Any] = {
        key: convert(value, _RARE.get(key, int), f"{_HEADER}: {key}", CheckpointError)
        for key, value in values.items()
        if key != "encoder"
    }
    config = SamConfig(_make(made, stored), **rest)
    check_config(config)
    return config


def decoder_config_from_json(text: str) -> InstanceDecoderConfig:
    """Read the configuration of an instance decoder.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    values = decode_json(text, dict[str, Any], _HEADER, CheckpointError)
    return _make(InstanceDecoderConfig, values)  # type: ignore[no-any-return]


def _make(made: type, values: dict[str, Any]) -> Any:
    _check_keys(made, values)
    config = convert(values, made, _HEADER, CheckpointError)
    check_config(config)
    return config


def check_config(config: Any) -> None:
    """Check that sizes are valid, before memory is allocated for the network.

    Parameters
    ----------
    config : SamConfig, InstanceDecoderConfig, or an image encoder's

    Raises
    ------
    CheckpointError
        If a size is too small or too large, or sizes are inconsistent.
    """
    if isinstance(config, SamConfig):
        check_config(config.encoder)
        _bounded({f.name: getattr(config, f.name) for f in fields(config) if f.name != "encoder"})
        return
    _bounded(asdict(config))
    fault = _impossible(config)
    if fault:
        raise CheckpointError(f"its configuration is inconsistent: {fault}")


def _check_keys(made: type, values: dict[str, Any]) -> None:
    unknown = sorted(set(values) - {field.name for field in fields(made)})
    if unknown:
        raise CheckpointError(
            f"the checkpoint's configuration has {', '.join(unknown)}, which this version does "
            "not know; a newer version may"
        )


def _bounded(values: dict[str, Any]) -> None:
    for name, value in values.items():
        least = 0 if name in _MAY_BE_NONE else 1
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, str):
                continue
            NETWORK_SIDE.check(number, f"it has {name} {number}", CheckpointError)
            if number < least and not isinstance(number, bool):
                raise CheckpointError(f"it has {name} {value}, which must be at least {least}")
        if isinstance(value, tuple) and len(value) > _LONGEST:
            raise CheckpointError(f"it has {len(value)} values of {name}")
    layers = sum(
        sum(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name in ("depth", "depths", "attention_blocks")
    )
    if layers > _LAYERS:
        raise CheckpointError(f"it has {layers} layers; at most {_LAYERS} are supported")


def _impossible(config: Any) -> str:
    """Why sizes are inconsistent; "" if they are not."""
    pairs: list[tuple[int, int]] = []
    if isinstance(config, ViTConfig):
        if config.image_size % config.patch_size:
            return f"image_size {config.image_size} is no multiple of {config.patch_size}"
        pairs = [(config.width, config.heads)]
    elif isinstance(config, MicroConfig):
        if config.image_size % 16:
            return f"image_size {config.image_size} is no multiple of 16"
        if config.norm not in ("batch", "folded"):
            return f"norm {config.norm!r}"
        pairs = [(config.widths[-1], config.heads)]
    elif isinstance(config, TinyViTConfig):
        counts = {len(each) for each in (config.widths, config.depths, config.heads)}
        if counts != {len(config.windows)} or len(config.widths) < 2:
            return "widths, depths, heads and windows differ in number"
        if max(config.windows) > _LONGEST:
            return f"windows {config.windows}"
        if config.image_size % config.stride:
            return f"image_size {config.image_size} is no multiple of {config.stride}"
        pairs = list(zip(config.widths[1:], config.heads[1:], strict=True))
    elif isinstance(config, InstanceDecoderConfig) and len(config.widths) != 4:
        return f"{len(config.widths)} widths instead of 4"
    return next((f"width {w} for {h} heads" for w, h in pairs if w % h), "")
