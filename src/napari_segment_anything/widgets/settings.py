"""The plugin's settings in napari, under the API's parameter names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

from ..errors import ParameterError
from ..parameters import EVERYTHING

PLUGIN = "segment-anything-napari"
SettingsSection = Literal["engine", "prompt", "everything", "project"]
_MULTIMASK = {"auto": "auto", "three": True, "one": False}


class PluginSettings:
    """The plugin's settings, which napari shows in its preferences and keeps in a file.

    If napari has none for this plugin (disabled, or unknown to npe2), values start from the
    manifest's defaults and last as long as this object.

    The file holds plain values only: None, "the model's own value", is stored as -1 for a
    number and as "model" for a choice.
    """

    def __init__(self) -> None:
        stored = _stored()
        self._stored = stored
        self._own: dict[str, dict[str, Any]] = {} if stored is not None else _defaults()

    def plain(self, section: SettingsSection) -> dict[str, Any]:
        """Return a section's values as they are stored."""
        if self._stored is None:
            return dict(self._own[section])
        group = getattr(self._stored, section)
        return {name: getattr(group, name) for name in type(group).model_fields}

    def get(self, section: SettingsSection) -> dict[str, Any]:
        """Return a section's values as the API takes them."""
        return {name: _value(section, name, kept) for name, kept in self.plain(section).items()}

    def set(self, section: SettingsSection, **values: Any) -> None:
        """Store values, given as the API takes them.

        Raises
        ------
        ParameterError
            If there is no such setting, or the value is outside its range.
        """
        known = self.plain(section)
        for name, value in values.items():
            if name not in known:
                raise ParameterError(f"there is no setting {section}.{name}")
            kept = _kept(section, name, value, known[name])
            if kept == known[name]:
                continue
            if self._stored is None:
                self._own[section][name] = kept
                continue
            try:
                setattr(getattr(self._stored, section), name, kept)
            except ValueError as error:
                raise ParameterError(f"{section}.{name} cannot be {value!r}") from error


def _stored() -> Any:
    from napari.settings import get_plugin_settings

    return get_plugin_settings().get(PLUGIN)


def _defaults() -> dict[str, dict[str, Any]]:
    """Read the defaults of the manifest."""
    from npe2 import PluginManifest

    path = files("napari_segment_anything").joinpath("napari.yaml")
    groups: Mapping[str, Any] = PluginManifest.from_file(str(path)).contributions.configurations
    return {
        section: {name: item.default for name, item in group.properties.items()}
        for section, group in groups.items()
    }


def _value(section: str, name: str, kept: Any) -> Any:
    if section == "prompt" and name == "multimask":
        return _MULTIMASK[kept]
    if _may_be_own(section, name):
        number = isinstance(kept, (int, float)) and not isinstance(kept, bool)
        if kept == "model" or (number and kept < 0):
            return None
    if section == "engine" and (name == "window_size" or name.endswith("_directory")):
        return kept or None
    return kept


def _kept(section: str, name: str, value: Any, before: Any) -> Any:
    if section == "prompt" and name == "multimask":
        return next(word for word, meant in _MULTIMASK.items() if meant is value or meant == value)
    if value is None:
        return {"engine": "" if isinstance(before, str) else 0}.get(
            section, "model" if isinstance(before, str) else -1
        )
    return value


def _may_be_own(section: str, name: str) -> bool:
    if section == "prompt":
        return name == "min_mask_region_area"
    return section == "everything" and name in EVERYTHING
