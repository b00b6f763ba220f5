"""Delete, merge, split off, relabel, paint."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.engine import Window
from napari_segment_anything.errors import ParameterError, PromptError

from .helpers import disc_session, put, whole


@pytest.fixture
def three():
    session, labels = disc_session()
    for at in ((15, 15), (15, 60), (45, 40)):
        put(session, at)
    return session, labels


def check_round_trip(session, labels, before, objects):
    after, then = labels.copy(), session.objects
    session.undo()
    assert (labels == before).all()
    assert session.objects == objects
    session.redo()
    assert (labels == after).all()
    assert session.objects == then


def test_delete(three):
    session, labels = three
    before, objects = labels.copy(), session.objects
    session.delete([1, 3])
    assert set(np.unique(labels)) == {0, 2}
    assert set(session.objects) == {2}
    check_round_trip(session, labels, before, objects)
    assert put(session, (45, 40)) == 4  # a label is never used twice


def test_merge_keeps_all_prompts(three):
    session, labels = three
    before, objects = labels.copy(), session.objects
    assert session.merge([2, 1]) == 2
    assert set(np.unique(labels)) == {0, 2, 3}
    assert ((labels == 2) == ((before == 1) | (before == 2))).all()
    assert session.objects[2].prompts.points == ((15.0, 60.0), (15.0, 15.0))
    assert session.objects[2].seconds == objects[1].seconds + objects[2].seconds
    check_round_trip(session, labels, before, objects)


def test_split_off_gives_points_to_the_part_they_lie_in(three):
    session, labels = three
    session.merge([1, 2])
    before, objects = labels.copy(), session.objects
    right = np.zeros(labels.shape, bool)
    right[:, 40:] = True
    new = session.split_off(1, right, whole(labels))
    assert new == 4
    assert ((labels == 4) == ((before == 1) & right)).all()
    assert session.objects[1].prompts.points == ((15.0, 15.0),)
    assert session.objects[4].prompts.points == ((15.0, 60.0),)
    check_round_trip(session, labels, before, objects)
    with pytest.raises(PromptError, match="holds all"):
        session.split_off(4, right, whole(labels))
    with pytest.raises(PromptError, match="no pixel of object 1"):
        session.split_off(1, right, whole(labels))


def test_relabel(three):
    session, labels = three
    before, objects = labels.copy(), session.objects
    session.relabel(2, 40)
    assert ((labels == 40) == (before == 2)).all()
    assert session.objects[40].id == 40
    check_round_trip(session, labels, before, objects)
    assert put(session, (45, 65)) == 41
    with pytest.raises(PromptError, match="in use"):
        session.relabel(1, 3)
    with pytest.raises(ParameterError, match="larger type"):
        session.relabel(1, 70000)


def stroke(labels, window, label):
    before = labels[window.slices].copy()
    labels[window.slices] = label
    return before, labels[window.slices].copy()


def test_paint_is_history_like_everything_else(three):
    session, labels = three
    before, objects = labels.copy(), session.objects
    window = Window(10, 10, 20, 6)
    session.paint((), window, *stroke(labels, window, 1))
    check_round_trip(session, labels, before, objects)
    session.delete(1)  # finds what was painted too
    assert not (labels == 1).any()
    with pytest.raises(ParameterError, match="shape"):
        session.paint((), window, np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(ParameterError, match="does not fit"):
        session.paint((), Window(0, 0, 1, 1), [[0]], [[70000]])


def test_painting_makes_and_unmakes_objects(three):
    session, labels = three
    before, objects = labels.copy(), session.objects
    window = Window(10, 52, 30, 20)
    session.paint((), window, *stroke(labels, window, 9))
    session.paint((), whole(labels), *stroke(labels, whole(labels), 9))
    assert set(session.objects) == {9}
    assert session.objects[9].score is None
    session.undo()
    session.undo()
    assert (labels == before).all()
    assert session.objects == objects


def test_undo_leaves_alone_what_others_painted_since(three):
    session, labels = three
    labels[0, 0] = 99  # not through the session
    session.delete(1)
    labels[15, 15] = 88
    session.undo()
    assert labels[0, 0] == 99
    assert labels[15, 16] == 1


def test_labels_from_before_the_session_can_be_changed_too():
    labels = np.zeros((3, 60, 80), np.uint16)
    labels[0, 5:9, 5:9] = labels[2, 40:50, 60:70] = 4
    labels[1, 5:9, 5:9] = 6
    start = labels.copy()
    session, _ = disc_session(labels=labels)
    session.merge([4, 6])
    assert set(np.unique(labels)) == {0, 4}
    session.delete(4, plane=(1,))
    assert not labels[1].any() and labels[2].any()
    session.relabel(4, 12)
    assert (labels[2, 40:50, 60:70] == 12).all()
    session.delete(12)
    assert not labels.any()
    with pytest.raises(PromptError, match="on which plane"):
        session.edit(12)
    for _ in range(4):
        session.undo()
    assert (labels == start).all()
    session.edit(6, plane=(1,))
    assert session.draft.plane == (1,)
