"""Suggestions, learning, review and audit of a series, in a real window."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer

from napari_segment_anything.formats.rle import encode
from napari_segment_anything.projects import ObjectEntry, Suggestions
from napari_segment_anything.projects.audit import Audit
from napari_segment_anything.projects.learning_status import (
    LearningStatus,
    work_folder,
    write_status,
)
from napari_segment_anything.projects.suggesting import SeriesReport

from .test_project import project, ready

__all__ = ["project"]
pytestmark = pytest.mark.filterwarnings("default")


def disks() -> np.ndarray:
    """Return labels of the disks of `picture`."""
    rows, cols = np.mgrid[:160, :160]
    labels = np.zeros((160, 160), np.int32)
    for number in range(9):
        row, col = 24 + 48 * (number // 3), 24 + 48 * (number % 3)
        labels[np.hypot(rows - row, cols - col) < 15] = number + 1
    return labels


def give_suggestions(image) -> None:
    """Write a suggestion for each disk, with scores from .9 to .3."""
    labels = disks()
    masks = [encode(labels == number) for number in range(1, 10)]
    found = Suggestions.from_masks(masks, np.linspace(0.9, 0.3, 9), labels.shape)
    with image.lock() as editing:
        editing.set_suggestions(replace(found, settings={"fingerprint": "other"}))


@pytest.fixture
def widget(viewer, window, qtbot, project):
    made = window.add("Annotate a series")
    made.suggestions.automatic.value = False
    give_suggestions(project.image("im0"))
    made.open(project)
    ready(qtbot, made, "im0")
    return made


def hover(qtbot, window, widget, point):
    layer, cursor = widget.series.layers.images[0], window.viewer.cursor

    def arrived() -> bool:
        window.hover(layer, point)
        return np.allclose(layer.world_to_data(cursor.position)[-2:], point, atol=3)

    qtbot.waitUntil(arrived)


def test_suggestions_by_key_and_slider(qtbot, window, widget, project) -> None:
    board = widget.series.board
    assert "outlines shown" in widget.suggestions.counts.text()
    widget.suggestions.score.value = 0.7
    assert len(board.shown) == 3 and "3 outlines shown, 6 below" in widget.suggestions.counts.text()
    hover(qtbot, window, widget, (24, 24))
    window.press("U")
    assert board.suggestions.counts()["taken"] == 1
    hover(qtbot, window, widget, (24, 72))
    window.press("W")
    assert board.suggestions.counts()["rejected"] == 1
    window.press("Shift+W")
    assert board.suggestions.counts()["rejected"] == 0
    window.click(widget.series.layers.images[0], (24, 72))
    qtbot.waitUntil(lambda: widget.session.preview is not None)
    window.press("Return")
    qtbot.waitUntil(lambda: len(widget.session.objects) == 2)
    window.press("Shift+U")
    assert len(widget.session.objects) == 3 and not widget.suggestions.take_button.isEnabled()
    qtbot.waitUntil(lambda: project.image("im0").suggestions().counts()["taken"] == 3)


def test_what_a_run_over_all_images_left_out_is_said(widget) -> None:
    panel = widget.suggestions
    panel._on_finished(SeriesReport({"a": 3}, busy={"b": "ann on ws"}, failed={"c": "it is torn."}))
    text = "Suggestions for 1 image; 1 left out that somebody has open; 1 failed, the first: c: "
    assert widget.status.text == f"{text}it is torn."
    panel._on_finished(SeriesReport({"a": 3, "b": 0}))
    assert widget.status.text == "Suggestions for 2 images."


def test_a_large_image_is_looked_through_in_tiles(qtbot, widget, project, monkeypatch) -> None:
    monkeypatch.setattr("napari_segment_anything.projects.suggesting.LARGE_FRAMES", 0.3)
    widget.next()
    ready(qtbot, widget, "im1")
    panel, board, folder = widget.suggestions, widget.series.board, project.image("im1").folder
    qtbot.waitUntil(lambda: "tile by tile" in panel.counts.text())
    panel.again_button.click()
    assert panel.again_button.text() == "✕" and board.busy
    qtbot.waitUntil(lambda: "… " in panel.counts.text() and panel.counts.text()[-1] != "…")
    panel.again_button.click()
    assert not board.busy and panel.again_button.text() == "↻" and not board.suggestions
    panel.again_button.click()
    qtbot.waitUntil(lambda: not board.busy)
    qtbot.waitUntil(lambda: not list(folder.glob("tiles-*")))
    assert board.suggestions.settings and "tile by tile" not in panel.counts.text()


def test_a_review_by_key(qtbot, window, widget, project) -> None:
    widget.stage.button("review").click()
    widget.review.start_button.click()
    qtbot.waitUntil(lambda: widget.review.round.item is not None and widget.series.board.asked > 0)
    assert "6 suggestions" in widget.review.counts.text()
    for key in "UWQ":
        before = widget.review.round.item
        window.press(key)
        qtbot.waitUntil(lambda before=before: widget.review.round.item != before)
    assert "3 suggestions" in widget.review.counts.text()
    assert widget.series.board.suggestions.counts()["rejected"] == 1
    widget.stage.button("annotate").click()
    assert widget.review.round is None


def test_learning_is_shown_and_a_version_used(
    qtbot, widget, project, tmp_path, monkeypatch
) -> None:
    widget.stage.button("learn").click()
    folder = work_folder(project.folder)
    folder.mkdir(parents=True)
    now = time.time()
    status = LearningStatus("running", 10, 60, "step", 90.0, 2**30, started=now, updated=now)
    from filelock import FileLock

    with FileLock(folder / "lock"):
        write_status(folder, status)
        widget.learn.poll()
        assert "10 of 60" in widget.learn.state.text() and "1.0 GB" in widget.learn.state.text()
        assert not widget.learn.learn_button.isEnabled()
        assert "about 90 s left" in widget.learn.state.text()  # as predicted
        write_status(folder, replace(status, done=20))
        with monkeypatch.context() as patched:
            patched.setattr("time.time", lambda: now + 60)
            widget.learn.poll()  # 10 steps took a minute
        assert "about 4 min left" in widget.learn.state.text()
    widget.learn.poll()
    assert "has ended" in widget.learn.state.text()
    with project.new_version() as made:
        (made / "model.safetensors").write_bytes(b"")
        (made / "learned.json").write_text(
            '{"model": "default", "images": [], "seconds": 80, "note": "",'
            ' "before": {"ap50": 0.5}, "after": {"ap50": 0.75}}'
        )
    write_status(folder, replace(status, state="done", version="v1"))
    widget.learn._was_active = True
    widget.learn.poll()
    assert "0.500 → <b>0.750</b>" in widget.learn.figures.text()
    assert "learned" in widget.notices.topics
    assert widget.learn.use_button.text() == "Use v1"


def test_a_model_that_cannot_be_trained_is_not_offered_to_learn(widget, project) -> None:
    widget.stage.button("learn").click()
    assert widget.learn.learn_button.isEnabled()
    project.set_model("edgetam")
    widget.learn.follow(widget.learn._teaching, "edgetam")
    assert not widget.learn.learn_button.isEnabled()
    assert "edgetam cannot be trained here" in widget.learn.learn_button.toolTip()


def test_an_audit_is_drawn_and_answered_by_key(qtbot, window, widget, project) -> None:
    labels = disks()
    entries = [ObjectEntry(n, made_by="suggestion", score=0.4 + n / 20) for n in range(1, 10)]
    for key in ("im1", "im2"):
        with project.image(key).lock() as editing:
            editing.write(labels=labels, objects=entries)
    widget.stage.button("audit").click()
    widget.audit.fields["masks"].value = 3
    widget.audit.fields["fields"].value = 2
    widget.audit.draw_button.click()
    panel = widget.audit
    qtbot.waitUntil(lambda: panel.round is not None and panel.round.item is not None)
    assert widget.session.preview is not None and "no object" in panel.task.text()
    assert "Class: none" in panel.task.text() and widget.class_buttons.isVisible()
    left = sum(panel.round.left)
    for keys in ("2U", "W"):
        before = panel.round.item
        for key in keys:
            window.press(key)
        qtbot.waitUntil(lambda before=before: panel.round.item is not before)
    assert sum(panel.round.left) == left - 2
    assert panel._audit().masks[0].classes == (project.classes[1].name,)
    assert (project.image("im1").labels() == labels).all()
    panel.go_button.click()
    assert panel.round is None and len(panel._audit().masks) == 2
    qtbot.keyClick(window.native, Qt.Key.Key_N)
    ready(qtbot, widget, "im0")


def test_figures_of_an_audit_do_not_hold_the_window(qtbot, widget, project, monkeypatch) -> None:
    for key in ("im1", "im2"):
        entries = [ObjectEntry(n, made_by="suggestion", score=0.5) for n in range(1, 10)]
        with project.image(key).lock() as editing:
            editing.write(labels=disks(), objects=entries)
    audit = Audit.draw(project, masks=4, fields=2)
    for number in audit.open_masks():
        audit.answer_mask(number, [])
    for number in audit.open_fields():
        audit.answer_field(number, [])
    figures, window_goes_on, waited = Audit.figures, threading.Event(), []

    def slow(self):
        waited.append(window_goes_on.wait(10))
        return figures(self)

    monkeypatch.setattr(Audit, "figures", slow)
    widget.stage.button("audit").click()
    QTimer.singleShot(20, window_goes_on.set)
    assert widget.audit.table.isHidden()
    qtbot.waitUntil(lambda: widget.audit.table.isVisible())
    assert all(waited) and widget.audit.table.item(0, 0).text()
    monkeypatch.setattr(Audit, "write_report", lambda self: slow(self) and [self.folder])
    window_goes_on.clear()
    QTimer.singleShot(20, window_goes_on.set)
    widget.audit.report_button.click()
    assert "Writing" in widget.audit.task.text() and not widget.audit.draw_button.isEnabled()
    qtbot.waitUntil(lambda: audit.name in widget.audit.task.text())
    assert all(waited) and widget.audit.draw_button.isEnabled()
