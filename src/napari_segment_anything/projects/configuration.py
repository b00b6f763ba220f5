"""``project.toml``: read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..datasets.sources import ImageSource
from ..errors import FormatError, ParameterError
from ..parameters import PROJECT, check_names, check_values
from ..reading import convert, read_toml
from .classes import ObjectClass, as_classes
from .files import write_text

FILE = "project.toml"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Configuration:
    """What ``project.toml`` holds.

    Parameters
    ----------
    version : int
        Of the file.
    name : str
    model : str
        As `load_model` takes it, or one of the project's versions.
    images : tuple of ImageSource
    classes : tuple of ObjectClass
    settings : dict of str to object
        Those that are not at their default.
    """

    version: int
    name: str = ""
    model: str = "default"
    images: tuple[ImageSource, ...] = ()
    classes: tuple[ObjectClass, ...] = ()
    settings: dict[str, bool | int | float | str] = field(default_factory=dict)


def read_configuration(folder: Path) -> Configuration:
    """Read a project's ``project.toml``.

    Raises
    ------
    FormatError
        If it is missing, damaged, or of a later version.
    """
    path = folder / FILE
    if not path.exists():
        raise FormatError(
            f"{folder} is not a project: it has no {FILE}; make one with `napari-sam project new`"
        )
    try:
        raw = read_toml(path, "project")
    except ParameterError as error:
        raise FormatError(str(error)) from error
    if "version" not in raw:
        raise FormatError(f"{path} lacks the line `version = {VERSION}`")
    if raw["version"] != VERSION:
        raise FormatError(f"{path} is of version {raw['version']!r}; this program reads {VERSION}")
    for name in ("classes", "images"):
        raw.setdefault(name, [])
    try:
        _check_keys(raw)
        found: Configuration = convert(raw, Configuration, str(path))
        check_settings(found.settings)
        classes = as_classes(found.classes)
    except ParameterError as error:
        raise FormatError(f"{path}: {error}") from error
    return Configuration(
        found.version, found.name, found.model, found.images, classes, found.settings
    )


def _check_keys(raw: Mapping[str, Any]) -> None:
    """Refuse what would be ignored, such as a misspelt pixel size."""
    check_names(raw, _names(Configuration))
    for name, kind in (("classes", ObjectClass), ("images", ImageSource)):
        items = raw[name] if isinstance(raw[name], list) else []
        for item in items:
            if isinstance(item, dict):
                check_names(item, _names(kind))


def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def write_configuration(folder: Path, configuration: Configuration) -> None:
    """Write a project's ``project.toml``.

    Raises
    ------
    FormatError
        If it cannot be written.
    """
    write_text(folder / FILE, configuration_text(configuration))


def configuration_text(configuration: Configuration) -> str:
    """Return a configuration as TOML."""
    own = {"version": VERSION, "name": configuration.name, "model": configuration.model}
    parts = [_table("", own)]
    if configuration.settings:
        parts.append(_table("[settings]", configuration.settings))
    defaults = asdict(ImageSource("."))
    for item in configuration.classes:
        parts.append(_table("[[classes]]", {k: v for k, v in asdict(item).items() if v != ""}))
    for source in configuration.images:
        values = {k: v for k, v in asdict(source).items() if k == "path" or v != defaults[k]}
        parts.append(_table("[[images]]", values))
    return "\n".join(parts)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check settings against their table.

    Raises
    ------
    ParameterError
        If one is unknown or out of range.
    """
    check_values(PROJECT, settings)


def _table(title: str, values: Mapping[str, Any]) -> str:
    lines = [title] if title else []
    lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        # a TOML string is a JSON string, but for this character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
