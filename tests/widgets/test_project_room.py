"""The widget "Annotate a series" in a window of 1280 x 720, and the keys that it takes."""

from __future__ import annotations

import pytest

from napari_segment_anything.widgets import project_keys
from napari_segment_anything.widgets.sections import Fold

from .test_project import project, ready
from .test_room import cut, size

__all__ = ["project"]
pytestmark = pytest.mark.filterwarnings("default")


def test_nothing_is_cut_at_any_stage(qtbot, viewer, window, project) -> None:
    viewer.window.resize(1280, 720)
    widget = window.add("Annotate a series")
    widget.suggestions.automatic.value = False
    found = {"start": cut(widget)}
    widget.open(project)
    ready(qtbot, widget, "im0")
    for theme in ("dark", "light"):
        viewer.theme = theme
        for stage in ("annotate", "learn", "review", "audit"):
            widget.stage.button(stage).click()
            for fold in widget.findChildren(Fold):
                fold.opened = True
            qtbot.wait(100)
            assert size(viewer) == (1280, 720), stage
            found[f"{theme} {stage}"] = cut(widget)
    assert not {where: what for where, what in found.items() if what}
    assert widget.width() <= 380


def test_no_key_is_taken_from_napari(viewer, window) -> None:
    from napari.utils.shortcuts import default_shortcuts

    widget = window.add("Annotate a series")
    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    ours = {key.replace("-", "+") for key, _ in project_keys.bindings(widget)}
    assert not ours & taken
