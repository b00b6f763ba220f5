"""Unsaved work is offered when its image is opened, and comes back."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from qtpy.QtWidgets import QPushButton

from napari_segment_anything.session import Journal, journal_directory
from napari_segment_anything.widgets.commands import recover_from

from .conftest import picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def left(qtbot, viewer, window):
    """Return a viewer whose image has unsaved work of two objects, and their labels."""
    layer = viewer.add_image(picture(), name="disks")
    widget = window.add("Segment Anything")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    assert not widget.notices.topics
    widget.session.set_box((57, 57, 87, 87))
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    widget.prompting.commit()
    widget.session.set_box((9, 9, 39, 39))
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    widget.prompting.commit()
    labels = np.array(widget.session.target.data)
    path = widget.session.planes.find().session.journal.path
    shutil.copy(path, path.with_name("killed.jsonl"))
    viewer.layers.remove(widget.session.target)
    viewer.layers.remove(layer)
    return viewer, widget, labels


def press(widget, text: str) -> None:
    (button,) = [b for b in widget.notices.findChildren(QPushButton) if b.text() == text]
    button.click()


def test_offered_when_the_image_is_opened_and_recovered(qtbot, left) -> None:
    viewer, widget, labels = left
    other = viewer.add_image(picture()[::-1].copy(), name="other")
    qtbot.wait(300)
    assert "unsaved" not in widget.notices.topics
    viewer.layers.remove(other)
    viewer.add_image(picture(), name="disks")
    qtbot.waitUntil(lambda: "unsaved" in widget.notices.topics)
    assert widget.notices.topics["unsaved"].startswith("2 objects from ")
    widget.session.set_box((105, 105, 135, 135))  # the user has begun something new meanwhile
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    widget.prompting.commit()
    mine = widget.session.target
    begun = np.array(mine.data)
    press(widget, "Recover")
    qtbot.waitUntil(lambda: len(widget.session.objects) == 2)
    assert (np.asarray(widget.session.target.data) == labels).all()
    assert widget.session.target is not mine and (np.asarray(mine.data) == begun).all()
    assert widget.objects.rowCount() == 2 and "2 objects recovered" in widget.status.text
    assert "unsaved" not in widget.notices.topics
    widget.prompting.undo()
    assert len(widget.session.objects) == 1


def test_discarded_is_not_offered_again_but_can_be_recovered_from_the_menu(qtbot, left) -> None:
    viewer, widget, labels = left
    viewer.add_image(picture(), name="disks")
    qtbot.waitUntil(lambda: "unsaved" in widget.notices.topics)
    press(widget, "Discard")
    assert "unsaved" not in widget.notices.topics
    path = journal_directory() / "killed.jsonl"
    assert Journal.read(path)[1][-1].action.do == "closed"
    recover_from(viewer, str(path))
    assert (np.asarray(widget.session.target.data) == labels).all()


def test_leaving_an_image_loses_no_offer_and_closing_leaves_none(qtbot, left) -> None:
    viewer, _widget, _labels = left
    (path,) = [p for p in journal_directory().glob("*.jsonl") if p.name != "killed.jsonl"]
    assert Journal.is_in_use(path)  # left, but not closed: a crash now would lose it
    viewer.close()
    qtbot.waitUntil(lambda: not Journal.is_in_use(path))
    assert Journal.read(path)[1][-1].action.do == "closed"
