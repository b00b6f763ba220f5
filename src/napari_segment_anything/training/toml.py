"""Read the configuration of a run from TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from ..errors import ParameterError
from ..network.micro import MicroConfig
from ..reading import convert, read_toml, require
from .augment import AugmentConfig
from .config import DataConfig, LoraConfig, StageConfig, TrainingConfig
from .cropping import CropConfig
from .masking import MaskingConfig


def read_config(
    source: str | Path | Mapping[str, Any], folder: Path | None = None
) -> TrainingConfig:
    """Read the configuration of a run.

    Parameters
    ----------
    source : path or mapping
        A TOML file, or its contents. ``[[data]]`` tables are the sets, ``[[stages]]`` tables the
        stages; without stages, values of a stage may be given at the top level. ``sets`` is the
        path of another TOML file of ``[[data]]`` tables; values above them hold for all of them.
        Its path and that of every ``split`` are relative to the file that names them.
    folder : Path, optional
        Where such paths of a mapping start; the current one by default.

    Raises
    ------
    ParameterError
        When a file cannot be read, a key is unknown, or a value is of the wrong kind.
    """
    if isinstance(source, Mapping):
        raw, where, folder = dict(source), "the configuration", folder or Path()
    else:
        hint = "give the path of a TOML file, or a mapping"
        require(source, (str, Path), "a configuration", hint)
        raw, where, folder = read_toml(source), str(source), Path(source).parent
    try:
        return _config(raw, folder)
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from None


def _config(raw: dict[str, Any], folder: Path) -> TrainingConfig:
    given: dict[str, Any] = {}
    given["stages"] = tuple(_stage(table) for table in _tables(raw, "stages"))
    data = [_set(table, folder) for table in _tables(raw, "data")]
    if "sets" in raw:
        path = folder / convert(raw.pop("sets"), str, "sets", ParameterError)
        shared = read_toml(path)
        data += [_set({**shared, **table}, path.parent) for table in _tables(shared, "data")]
    given["data"] = tuple(data)
    if "augment" in raw:
        given["augment"] = _made(AugmentConfig, raw.pop("augment"))
    if "encoder" in raw:
        given["encoder"] = _made(MicroConfig, {"norm": "batch", **raw.pop("encoder")})
    if "masking" in raw:
        given["masking"] = _made(MaskingConfig, raw.pop("masking"))
    if "lora" in raw:
        given["lora"] = _made(LoraConfig, raw.pop("lora"))
    own = {f.name for f in fields(TrainingConfig)} - {"options"}
    stage = {f.name for f in fields(StageConfig)} - own - {"name"}
    options = {key: raw.pop(key) for key in list(raw) if key in stage}
    if "crop" in options:
        options["crop"] = _values(CropConfig, options["crop"])
    options = _values(StageConfig, options, skip=("crop",))
    return TrainingConfig(options=options, **given, **_values(TrainingConfig, raw, more=stage))


def _tables(raw: dict[str, Any], key: str) -> list[dict[str, Any]]:
    tables = raw.pop(key, [])
    if not isinstance(tables, list | tuple) or not all(isinstance(t, Mapping) for t in tables):
        raise ParameterError(f"'{key}' are tables: write [[{key}]] above each")
    return [dict(table) for table in tables]


def _set(table: dict[str, Any], folder: Path) -> DataConfig:
    if isinstance(table.get("split"), str) and table["split"]:
        table["split"] = str(folder / table["split"])
    made: DataConfig = _made(DataConfig, table)
    return made


def _stage(table: dict[str, Any]) -> StageConfig:
    for key in ("name", "steps"):
        if key not in table:
            raise ParameterError(f"a [[stages]] table lacks '{key}'")
    crop = _made(CropConfig, table.pop("crop", {}))
    return StageConfig(crop=crop, **_values(StageConfig, table))


def _made(kind: type, table: Any) -> Any:
    return kind(**_values(kind, table))


def _values(
    kind: type, table: Any, *, skip: tuple[str, ...] = (), more: set[str] | None = None
) -> dict[str, Any]:
    """Convert the values of a table to the types of a dataclass's fields.

    Parameters
    ----------
    kind : type
        The dataclass.
    table : mapping
        As read from TOML; lists become tuples.
    skip : tuple of str
        Keys whose values are not converted.
    more : set of str
        Further known keys, for the message.
    """
    if not isinstance(table, Mapping):
        raise ParameterError(f"expected a table of values, not {table!r}")
    hints = get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        known = ", ".join(sorted(set(hints) | (more or set())))
        raise ParameterError(f"unknown keys {', '.join(unknown)}; known: {known}")
    values = {}
    for key, value in table.items():
        if key in skip:
            values[key] = value
            continue
        try:
            values[key] = convert(value, hints[key], "", ParameterError)
        except ParameterError as error:
            raise ParameterError(f"{key} = {value!r} is of the wrong kind: {error}") from None
    return values
