"""Clicks and commits faster than masks arrive: every object is its own."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")

from napari_segment_anything.session.session import Session
from napari_segment_anything.widgets.prompt import PromptWidget

from .conftest import Window, at_rest, picture

pytestmark = pytest.mark.filterwarnings("default")

DISKS = [(row, col) for row in (24, 72, 120) for col in (24, 72, 120)]


def place(qtbot, viewer, loaded: bool) -> tuple[Window, object, PromptWidget]:
    layer = viewer.add_image(picture(), name="disks")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    viewer.reset_view()
    if loaded:
        qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    return Window(viewer, qtbot), layer, widget


def settled(widget) -> bool:
    session = widget.session
    return session.is_loaded and not session.busy and not session.queue.users


def is_disk(labels: np.ndarray, label: int, at: tuple[int, int]) -> bool:
    truth = np.hypot(*(np.mgrid[:160, :160] - np.array(at)[:, None, None])) < 15
    mask = labels == label
    return (mask & truth).sum() / (mask | truth).sum() > 0.6


@pytest.mark.parametrize("loaded", [True, False], ids=["model there", "model still loading"])
def test_eight_quick_clicks_and_enters_are_eight_objects(qtbot, viewer, loaded) -> None:
    window, layer, widget = place(qtbot, viewer, loaded)
    window.native.setFocus()
    for at in DISKS[:8]:
        window.click(layer, at)
        window.press("Return")
    qtbot.waitUntil(lambda: settled(widget) and len(widget.session.objects) == 8)
    labels = np.asarray(widget.session.target.data)
    assert all(is_disk(labels, number, at) for number, at in enumerate(DISKS[:8], start=1))
    points = [item.prompts.points for item in widget.session.objects.values()]
    assert all(len(own) == 1 for own in points)
    assert np.allclose([own[0] for own in points], DISKS[:8], atol=1)
    assert "call update" not in widget.status.text
    assert widget.session.draft is None


def test_an_object_joined_by_a_quick_negative_click(qtbot, viewer) -> None:
    window, layer, widget = place(qtbot, viewer, True)
    window.native.setFocus()
    window.click(layer, DISKS[0])
    window.click(layer, (48, 48), right=True)
    window.press("Return")
    window.click(layer, DISKS[4])
    qtbot.waitUntil(lambda: settled(widget) and len(widget.session.objects) == 1)
    assert len(widget.session.objects[1].prompts.points) == 2
    assert len(widget.session.draft.points) == 1


def test_escape_drops_what_was_asked_for_last(qtbot, viewer) -> None:
    window, layer, widget = place(qtbot, viewer, True)
    window.native.setFocus()
    window.click(layer, DISKS[0])
    window.press("Return")
    window.click(layer, DISKS[4])
    assert widget.session.queue.users
    window.press("Escape")
    qtbot.waitUntil(lambda: settled(widget) and len(widget.session.objects) == 1)
    assert widget.session.draft is None


def test_undo_in_order(qtbot, viewer) -> None:
    window, layer, widget = place(qtbot, viewer, True)
    window.native.setFocus()
    for at in DISKS[:2]:
        window.click(layer, at)
        window.press("Return")
    window.press("Alt+Z")  # takes the second commit back
    qtbot.waitUntil(lambda: settled(widget) and widget.session.draft is not None)
    assert list(widget.session.objects) == [1]


def test_a_late_commit_that_fails_does_not_catch_the_next_click(qtbot, viewer) -> None:
    window, layer, widget = place(qtbot, viewer, True)
    window.native.setFocus()
    for at in (DISKS[0], DISKS[0], DISKS[4]):
        window.click(layer, at)
        window.press("Return")
    qtbot.waitUntil(lambda: settled(widget) and len(widget.session.objects) >= 2)
    points = [item.prompts.points for item in widget.session.objects.values()]
    assert all(len(own) == 1 for own in points)
    assert np.allclose(points[-1][0], DISKS[4], atol=1)


def test_a_decode_that_fails_is_said_and_nothing_is_stuck(qtbot, viewer, monkeypatch) -> None:
    window, layer, widget = place(qtbot, viewer, True)
    window.native.setFocus()

    def broken(self, request, cancelled=None):
        raise MemoryError("no memory for this test")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Session, "decode", broken)
        window.click(layer, DISKS[0])
        window.press("Return")
        window.click(layer, DISKS[4])
        qtbot.waitUntil(lambda: "no memory" in widget.status.text)
        assert not widget.session.queue.users
    window.press("Escape")
    window.click(layer, DISKS[4])
    window.press("Return")
    qtbot.waitUntil(lambda: settled(widget) and len(widget.session.objects) == 1)


def test_a_script_commits_before_the_mask_is_there(qtbot, viewer) -> None:
    _, _, widget = place(qtbot, viewer, True)
    widget.session.add_point(DISKS[0])
    assert widget.session.commit() == (1,)
