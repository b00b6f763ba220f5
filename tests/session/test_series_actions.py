"""Suggestions that are taken, classes, objects cut by a line: undone, and recovered."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.engine import PlacedMask, PlaneSource, Window
from napari_segment_anything.errors import PromptError
from napari_segment_anything.session import ArrayTarget, SuggestedMask, recover
from napari_segment_anything.session.series_actions import pieces_along

from .helpers import disc_predictor, disc_session, put


def block(number, row, col, height=8, width=8, score=0.9):
    mask = PlacedMask.of(np.ones((height, width), bool), row, col)
    return SuggestedMask(number, mask, score)


def test_suggestions_are_taken_in_one_step():
    session, labels = disc_session()
    session.class_name = "bud"
    ids = session.take(
        (), [block(4, 5, 5), block(7, 9, 9, score=0.95)], fingerprint="f", seconds=3.0
    )
    assert ids == (1, 2)
    one, two = session.objects[1], session.objects[2]
    assert (one.made_by, one.suggestion, one.score, one.class_name) == ("suggestion", 4, 0.9, "bud")
    assert (two.fingerprint, two.seconds) == ("f", 1.5)
    assert labels[9, 9] == 2 and (labels == 1).sum() == 48  # the better one has the shared pixels
    with pytest.raises(PromptError, match="belongs to other labels"):
        session.take((), [block(8, 6, 6, 2, 2)])
    assert session.undo() == "take 2 objects" and not labels.any()


def test_a_suggestion_taken_up_is_committed_as_it_was_or_corrected():
    session, labels = disc_session()
    session.take_up((), block(3, 20, 20))
    assert session.preview.mask.sum() == 64
    assert session.commit() == (1,)
    made = session.objects[1]
    assert (made.made_by, made.suggestion, made.score) == ("suggestion", 3, 0.9)
    assert (labels == 1).sum() == 64
    session.take_up((), block(5, 40, 40))
    session.add_point((), (44, 44))
    session.update()
    session.commit()
    made = session.objects[2]
    assert (made.made_by, made.suggestion) == ("corrected", 5)
    session.edit(1)
    session.add_point((), (24, 24))
    session.update()
    session.commit()
    assert session.objects[1].made_by == "corrected" and session.objects[1].suggestion == 3


def test_the_click_that_takes_a_suggestion_up_is_a_prompt_of_it():
    session, labels = disc_session()
    with pytest.raises(PromptError, match="outside the image"):
        session.take_up((), block(3, 20, 20), (500, 0))
    session.take_up((), block(3, 20, 20), (24, 23))
    assert session.request() is None and session.preview.mask.sum() == 64  # nothing to decode
    session.add_point((), (30, 30), positive=False)
    [item] = session.request().items
    assert item.ask.points.tolist() == [[24, 23], [30, 30]] and item.ask.mask.mask.sum() == 64
    assert session.undo() == "add negative point"
    assert session.commit() == (1,) and (labels == 1).sum() == 64
    made = session.objects[1]
    assert (made.made_by, made.prompts.points) == ("suggestion", ((24, 23),))


def test_a_stroke_of_the_brush_corrects_a_suggestion():
    session, labels = disc_session()
    session.take((), [block(0, 5, 5)])
    before = labels[5:9, 5:9].copy()
    session.paint((), Window(5, 5, 4, 4), before, np.zeros_like(before))
    assert session.objects[1].made_by == "corrected"
    session.undo()
    assert session.objects[1].made_by == "suggestion"


def test_classes_are_given_and_kept():
    session, _labels = disc_session()
    put(session, (20, 20))
    session.class_name = "cell"
    put(session, (40, 60))
    session.classify([1], "debris")
    assert [item.class_name for item in session.objects.values()] == ["debris", "cell"]
    assert session.undo() == "classify object 1 as debris"
    assert session.objects[1].class_name == ""
    session.redo()
    session.edit(1)
    session.add_point((), (22, 20))
    session.update()
    session.commit()
    assert session.objects[1].class_name == "debris"
    with pytest.raises(PromptError, match="no object 9"):
        session.classify([9], "cell")


def test_an_object_is_cut_along_a_line():
    session, labels = disc_session()
    put(session, (20, 20))
    area = int((labels == 1).sum())
    assert session.cut(1, [(12, 22), (28, 22)]) == (1, 2)
    assert labels[20, 20] == 1 and labels[20, 24] == 2
    assert (labels > 0).sum() == area  # no pixel is lost along the line
    assert session.objects[1].prompts.points == ((20.0, 20.0),)
    assert session.objects[2].prompts.points == ()
    with pytest.raises(PromptError, match="right across"):
        session.cut(1, [(20, 10), (20, 18)])
    session.undo()
    assert (labels == 1).sum() == area


def test_diagonal_lines_divide_and_loose_parts_stay_with_the_first():
    mask = np.zeros((20, 30), bool)
    mask[:, :20] = True
    mask[5:8, 25:28] = True
    placed = PlacedMask.of(mask)
    pieces = pieces_along(placed, [(-1.0, 3.0), (20.0, 14.0)])
    assert pieces.max() == 2 and ((pieces > 0) == placed.mask).all()
    assert pieces[6, 26] == 1
    assert pieces_along(placed, [(2.0, 3.0), (9.0, 14.0)]) is None


def test_recovery_restores_classes_and_suggestions(tmp_path):
    path = tmp_path / "journal.jsonl"
    session, labels = disc_session(journal=path)
    session.take((), [block(4, 5, 5)])
    session.classify([1], "cell")
    session.take_up((), block(6, 30, 30), (33, 33))
    image = session.source.levels[0]
    again = np.zeros_like(labels)
    other = recover(path, disc_predictor(), PlaneSource(image), ArrayTarget(again))
    assert other.objects == session.objects and (again == labels).all()
    assert other.draft.suggested.number == 6 and other.draft.points == session.draft.points
    target = again.copy()
    other.bind(ArrayTarget(target))
    other.commit()
    assert (target == 2).sum() == 64 and not (again == 2).any()
