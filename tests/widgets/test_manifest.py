"""What the manifest promises: menus that napari shows, commands that import, settings that fit."""

from __future__ import annotations

import importlib
import math

import pytest

from napari_segment_anything.parameters import EVERYTHING

npe2 = pytest.importorskip("npe2", reason="npe2 is not installed (it comes with napari)")
pytestmark = pytest.mark.filterwarnings("default")

NAME = "segment-anything-napari"


@pytest.fixture(scope="module")
def contributions():
    return npe2.PluginManifest.from_distribution(NAME).contributions


def test_commands_import(contributions) -> None:
    for command in contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id


def test_everything_contributed_has_a_command(contributions) -> None:
    known = {command.id for command in contributions.commands}
    groups = (
        contributions.widgets,
        contributions.readers,
        contributions.writers,
        contributions.sample_data,
        [item for items in contributions.menus.values() for item in items],
    )
    used = {item.command for group in groups for item in group}
    assert used == known


def test_menus_are_shown_by_napari(contributions) -> None:
    constants = pytest.importorskip("napari._app_model.constants._menus")
    assert all(constants.is_menu_contributable(menu) for menu in contributions.menus)
    found = {
        menu: [item.command.partition(".")[2] for item in items]
        for menu, items in contributions.menus.items()
    }
    assert found == {
        "napari/layers/segment": [
            "prompt_widget",
            "everything_widget",
            "stack_widget",
            "refine_widget",
        ],
        "napari/layers/track": ["stack_widget"],
        "napari/layers/annotate": ["prompt_widget", "project_widget", "refine_label"],
        "napari/file/io_utilities": [
            "recover_session",
            "export_records",
            "export_labels",
            "export_table",
        ],
    }


def test_widgets(contributions) -> None:
    names = [widget.display_name for widget in contributions.widgets]
    assert names == [
        "Segment Anything",
        "Segment everything",
        "Segment a stack",
        "Refine objects",
        "Annotate a series",
    ]


def test_settings_are_the_parameters_of_everything_mode(contributions) -> None:
    kept = contributions.configurations["everything"].properties
    wanted = {name for name, item in EVERYTHING.items() if item.kind is not object}
    assert set(kept) - {"mode", "region", "policy"} == wanted
    for name in wanted:
        parameter, setting = EVERYTHING[name], kept[name]
        assert parameter.help in setting.description
        if parameter.kind is str:
            assert setting.enum == ["model", *parameter.choices]
            assert setting.default == "model"
            continue
        assert setting.type == {int: "integer", float: "number"}[parameter.kind]
        assert setting.default == setting.minimum == -1
        if math.isfinite(parameter.high):
            assert setting.maximum == parameter.high


def test_defaults_are_those_of_the_api(contributions) -> None:
    from napari_segment_anything.bridge import ViewerSession

    groups = contributions.configurations
    shared = set(ViewerSession.OPTIONS) & set(groups["prompt"].properties)
    assert shared >= {"overwrite", "multimask", "min_mask_region_area"}
    for name in ("overwrite", "multimask"):
        assert groups["prompt"].properties[name].default == ViewerSession.OPTIONS[name]
    for name in ("device", "precision"):
        assert groups["engine"].properties[name].default == ViewerSession.OPTIONS[name]
