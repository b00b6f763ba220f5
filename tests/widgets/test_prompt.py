"""Click, see the mask, commit: the prompt widget in a real window."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_segment_anything.session import Journal, journal_directory
from napari_segment_anything.widgets.everything import EverythingWidget
from napari_segment_anything.widgets.prompt import PromptWidget

from .conftest import Window, at_rest, picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def opened(qtbot, viewer):
    layer = viewer.add_image(picture(), scale=(0.4, 0.4), rotate=20, units="um", name="disks")
    widget = PromptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment Anything")
    viewer.reset_view()
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    return viewer, layer, widget


def test_click_mask_commit_with_the_mouse_and_the_keyboard(qtbot, opened, window) -> None:
    _viewer, layer, widget = opened
    assert not widget.prompting.commit_button.isEnabled()
    window.click(layer, (72, 72))
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    assert len(widget.session.preview.scores) == 3
    assert widget.prompting.commit_button.isEnabled()
    assert widget.prompting.candidates.value == str(widget.session.preview.chosen)
    first = widget.session.preview.chosen
    widget.prompting.next_candidate()
    qtbot.waitUntil(lambda: widget.session.preview.chosen != first)
    truth = np.hypot(*(np.mgrid[:160, :160] - 72)) < 15
    shown = widget.session.preview
    overlap = [(mask & truth[shown.window.slices]).sum() / (mask | truth[shown.window.slices]).sum()
               for mask in shown.candidates]  # fmt: skip
    best = int(np.argmax(overlap))
    widget.prompting.candidates.button(str(best)).click()
    qtbot.waitUntil(lambda: widget.session.preview.chosen == best)
    window.native.setFocus()
    window.press("Return")
    qtbot.waitUntil(lambda: len(widget.session.objects) == 1)
    target = widget.session.target
    mask = np.asarray(target.data) == 1
    assert (mask & truth).sum() / (mask | truth).sum() > 0.6
    assert widget.targets.value is target
    assert widget.objects.rowCount() == 1
    widget.prompting.undo()
    qtbot.waitUntil(lambda: not (np.asarray(target.data) == 1).any())
    assert widget.objects.rowCount() == 0
    assert widget.session.draft is not None  # the prompts are back
    widget.prompting.redo()
    qtbot.waitUntil(lambda: (np.asarray(target.data) == 1).any())


def test_batch_edit_merge_delete(qtbot, opened) -> None:
    _viewer, _layer, widget = opened
    widget.batch.value = True
    for point in ((24, 24), (24, 72), (72, 24)):
        widget.session.add_point(point)
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    assert len(widget.session.preview.objects) == 3
    widget.prompting.commit()
    assert sorted(widget.session.objects) == [1, 2, 3]
    widget.batch.value = False
    widget.objects.selectRow(0)
    assert widget.objects.selected == [1]
    widget.actions.edit()
    qtbot.waitUntil(lambda: widget.session.draft is not None and widget.session.preview is not None)
    widget.prompting.cancel()
    widget.objects.selectAll()
    assert widget.actions.merge_button.isEnabled()
    widget.actions.merge()
    assert len(widget.session.objects) == 1
    widget.objects.selectRow(0)
    widget.actions.delete()
    assert not widget.session.objects
    assert not np.asarray(widget.session.target.data).any()


def test_what_is_left_when_an_image_is_removed_gets_no_layers_before_a_prompt(qtbot, opened):
    viewer, layer, widget = opened
    window = Window(viewer, qtbot)
    other = viewer.add_image(picture(), name="other")
    names = {each.name for each in viewer.layers} - {layer.name}
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: widget.images.value is other)
    qtbot.wait(50)
    assert {each.name for each in viewer.layers} <= names and not widget.session.working.layers
    assert viewer.layers.selection.active is other
    window.click(other, (72, 72))
    qtbot.waitUntil(lambda: widget.session.preview is not None)
    third = viewer.add_image(picture(), name="third")
    widget.images.value = third  # chosen: its first click need not wait
    qtbot.waitUntil(lambda: bool(widget.session.working.layers))


def test_mistakes_are_said_and_nothing_breaks(qtbot, opened) -> None:
    viewer, layer, widget = opened
    widget.prompting.commit()
    assert "Click" in widget.status.text
    widget.attempt(widget.session.add_point, (500, 500))
    assert "outside" in widget.status.text
    assert widget.session.draft is None
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: not widget.images.layers)
    assert "Open an image" in widget.status.text


def test_parameters_survive_and_a_journal_is_kept(qtbot, opened) -> None:
    viewer, _layer, widget = opened
    widget.tools.qt.button("box").click()
    widget.overwrite.value = True
    widget.session.set_box((57, 57, 87, 87))
    qtbot.waitUntil(lambda: widget.session.preview is not None)
    widget.prompting.commit()
    other = PromptWidget(viewer)
    qtbot.addWidget(other)
    assert other.tools.value == "box" and other.overwrite.value
    assert other.session is widget.session
    other.shut()
    (path,) = journal_directory().glob("*.jsonl")
    _, events = Journal.read(path)
    assert "commit" in {event.action.do for event in events}
    widget.overwrite.value = False
    widget.tools.qt.button("points").click()


def test_keys_are_given_back_and_no_thread_stays(qtbot, viewer) -> None:
    before = dict(viewer.keymap)
    viewer.add_image(picture())
    widget = PromptWidget(viewer)
    second = EverythingWidget(viewer)
    viewer.window.add_dock_widget(widget)
    viewer.window.add_dock_widget(second)
    widget.session.when_loaded(lambda: widget.session.add_point((72, 72)))
    assert len(viewer.keymap) > len(before)
    viewer.close()
    qtbot.waitUntil(lambda: not any("segment-anything" in t.name for t in threading.enumerate()))
    assert widget.session.is_closed
    assert dict(viewer.keymap) == before
