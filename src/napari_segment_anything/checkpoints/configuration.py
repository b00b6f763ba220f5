"""A SAM's shape as JSON, for the header of our own files."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from ..errors import CheckpointError
from ..network.instance_decoder import InstanceDecoderConfig
from ..network.micro import MicroConfig
from ..network.sam import SamConfig
from ..network.tiny_vit import TinyViTConfig
from ..network.vit import ViTConfig

_ENCODERS: dict[str, type] = {"vit": ViTConfig, "tiny_vit": TinyViTConfig, "micro": MicroConfig}


def config_to_json(config: SamConfig | InstanceDecoderConfig) -> str:
    """Write a configuration as JSON.

    Raises
    ------
    CheckpointError
        If the image encoder is of a kind that no file can name.
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
    return json.dumps(values)


def config_from_json(text: str) -> SamConfig:
    """Read what `config_to_json` wrote.

    Raises
    ------
    CheckpointError
        If it is damaged, or names something this version does not know.
    """
    values = _object(text)
    encoder = values.get("encoder")
    if not isinstance(encoder, dict):
        raise CheckpointError("the checkpoint's header describes no image encoder")
    kind = encoder.get("kind")
    made = _ENCODERS.get(str(kind))
    if made is None:
        raise CheckpointError(
            f"the checkpoint has an image encoder of kind {kind!r}, which this version does not "
            f"know (it knows {', '.join(_ENCODERS)}); a newer version may"
        )
    values["encoder"] = _make(made, encoder, ignore=("kind",))
    return _make(SamConfig, values)  # type: ignore[no-any-return]


def decoder_config_from_json(text: str) -> InstanceDecoderConfig:
    """Read an instance decoder's shape.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    return _make(InstanceDecoderConfig, _object(text))  # type: ignore[no-any-return]


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's header is damaged: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError("the checkpoint's header is damaged: its configuration is no object")
    return values


def _make(made: type, values: dict[str, Any], ignore: tuple[str, ...] = ()) -> Any:
    known = {field.name for field in fields(made)}
    given = {k: _tuples(v) for k, v in values.items() if k in known or k not in ignore}
    unknown = sorted(set(given) - known)
    if unknown:
        raise CheckpointError(
            f"the checkpoint's configuration has {', '.join(unknown)}, which this version does "
            "not know; a newer version may"
        )
    try:
        return made(**given)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint's configuration is damaged: {error}") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
