"""Undoing any sequence of actions restores the beginning, and redoing it the end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from napari_segment_anything.engine import Window
from napari_segment_anything.errors import PromptError
from napari_segment_anything.session import ArrayTarget, Journal
from napari_segment_anything.session.journal import read_event, recorded_edits
from napari_segment_anything.session.label_edits import apply
from napari_segment_anything.session.recovery import at
from napari_segment_anything.session.session_actions import Decoded

from .helpers import DiscSession, disc_predictor, disc_session

SHAPE = (2, 30, 40)
points = st.tuples(st.integers(0, 29), st.integers(0, 39))
planes = st.sampled_from([(0,), (1,)])
labels = st.integers(1, 9)


class MemoryJournal(Journal):
    """Keeps its lines in memory."""

    def __init__(self):
        super().__init__("nowhere")
        self.lines = []

    @property
    def is_open(self):
        return bool(self.lines)

    def begin(self, header):
        self.lines.append(json.dumps(header))

    def write(self, event, durable=False):
        self.lines.append(json.dumps(event))


class Actions(RuleBasedStateMachine):
    """Any sequence of actions, undone and redone in between."""

    @initialize(existing=st.booleans(), overwrite=st.booleans())
    def begin(self, existing, overwrite):
        self.labels = np.zeros(SHAPE, np.uint16)
        if existing:
            self.labels[0, 5:15, 5:15] = 2
            self.labels[:, 20:25, 10:35] = 3
        self.start = self.labels.copy()
        self.journal = MemoryJournal()
        self.session, _ = disc_session(
            labels=self.labels, overwrite=overwrite, journal=self.journal
        )

    def attempt(self, action, *arguments, **options):
        """Perform an action; if it raises an error, nothing may change."""
        before = (self.labels.copy(), self.session.objects, self.session.draft)
        lines = len(self.journal.lines)
        try:
            action(*arguments, **options)
        except PromptError:
            assert (self.labels == before[0]).all()
            assert (self.session.objects, self.session.draft) == before[1:]
            assert len(self.journal.lines) - lines <= (lines == 0)

    @rule(plane=planes, point=points, positive=st.booleans())
    def add_point(self, plane, point, positive):
        self.attempt(self.session.add_point, plane, point, positive)

    @rule(index=st.integers(0, 3), point=points)
    def move_point(self, index, point):
        self.attempt(self.session.move_point, index, point)

    @rule(index=st.integers(0, 3))
    def remove_point(self, index):
        self.attempt(self.session.remove_point, index)

    @rule(plane=planes, point=points, side=st.integers(1, 15))
    def set_box(self, plane, point, side):
        self.attempt(self.session.set_box, plane, (*point, point[0] + side, point[1] + side))

    @rule(plane=planes, line=st.lists(points, min_size=1, max_size=4), positive=st.booleans())
    def add_scribble(self, plane, line, positive):
        self.attempt(self.session.add_scribble, plane, line, positive)

    @rule(plane=planes, point=points)
    def set_mask(self, plane, point):
        mask = np.ones((3, 4), bool)
        self.attempt(self.session.set_mask, plane, mask, Window(*point, 3, 4))

    @rule(plane=planes, at=st.lists(points, min_size=1, max_size=4))
    def batch(self, plane, at):
        self.attempt(self.session.begin_batch, plane, at, [(1, 1, 9, 9)])

    @rule(point=points)
    def paint_preview(self, point):
        self.attempt(self.session.paint_preview, np.ones((4, 4), bool), Window(*point, 4, 4))

    @rule()
    def decode(self):
        self.session.update()

    @rule(step=st.sampled_from([-1, 1]))
    def cycle(self, step):
        self.attempt(self.session.cycle, step)

    @rule(decode=st.booleans())
    def commit(self, decode):
        if decode:
            self.session.update()
        self.attempt(self.session.commit)

    @rule(plane=planes, point=points)
    def click_and_commit(self, plane, point):
        self.session.cancel()
        self.attempt(self.session.add_point, plane, point)
        self.session.update()
        self.attempt(self.session.commit)

    @rule(index=st.integers(0, 9))
    def edit_and_commit(self, index):
        if self.session.objects:
            self.session.cancel()
            self.attempt(self.session.edit, self.present(index))
            self.session.update()
            self.attempt(self.session.commit)

    def present(self, index):
        """Return a label of an object, 1 if there is none."""
        found = sorted(self.session.objects)
        return found[index % len(found)] if found else 1

    @rule(first=st.integers(0, 9), second=st.integers(0, 9))
    def merge_objects(self, first, second):
        self.attempt(self.session.merge, [self.present(first), self.present(second)])

    @rule(index=st.integers(0, 9), rows=st.booleans())
    def halve(self, index, rows):
        label = self.present(index)
        item = self.session.objects.get(label)
        if item is None:
            return
        found = np.argwhere(self.labels[item.plane] == label)
        if not len(found):
            return
        window = Window(0, 0, 30, 40)
        mask = np.indices(window.shape)[0 if rows else 1] > found[:, 0 if rows else 1].mean()
        self.attempt(self.session.split_off, label, mask, window)

    @rule()
    def cancel(self):
        self.session.cancel()

    @rule(label=labels, plane=st.none() | planes)
    def delete(self, label, plane):
        self.attempt(self.session.delete, label, plane)

    @rule(ids=st.lists(labels, min_size=2, max_size=3))
    def merge(self, ids):
        self.attempt(self.session.merge, ids)

    @rule(label=labels, plane=planes, point=points)
    def split_off(self, label, plane, point):
        window = Window(*point, 30 - point[0], 40 - point[1])
        self.attempt(self.session.split_off, label, np.ones(window.shape, bool), window, plane)

    @rule(label=labels, new=labels)
    def relabel(self, label, new):
        self.attempt(self.session.relabel, label, new)

    @rule(label=labels, plane=planes)
    def edit(self, label, plane):
        self.attempt(self.session.edit, label, plane)

    @rule(plane=planes, point=points, label=st.integers(0, 9), there=st.booleans())
    def paint(self, plane, point, label, there):
        window = Window(*point, min(6, 30 - point[0]), min(5, 40 - point[1]))
        part = self.labels[plane[0]][window.slices]
        before, after = part.copy(), np.full(window.shape, label)
        if (before == after).all():
            return
        if there:
            part[:] = label
        self.session.paint(plane, window, before, after)

    @rule(count=st.integers(1, 6))
    def undo(self, count):
        for _ in range(count):
            self.session.undo()

    @rule(count=st.integers(1, 6))
    def redo(self, count):
        for _ in range(count):
            self.session.redo()

    @invariant()
    def objects_have_pixels(self):
        if hasattr(self, "session"):
            present = set(np.unique(self.labels).tolist())
            assert set(self.session.objects) <= present

    def teardown(self):
        if not hasattr(self, "session"):
            return
        while self.session.redo() is not None:
            pass
        labels, objects, draft = self.labels.copy(), self.session.objects, self.session.draft
        undone = redone = 0
        while self.session.undo() is not None:
            undone += 1
        assert (self.labels == self.start).all()
        assert self.session.objects == {}
        assert self.session.draft is None
        while self.session.redo() is not None:
            redone += 1
        assert undone == redone
        assert (self.labels == labels).all()
        assert self.session.objects == objects
        assert timeless(self.session.draft) == timeless(draft)
        self.check_journal()

    def check_journal(self):
        """Repeating the recorded events gives the same labels, objects and draft."""
        lines = self.journal.lines[1:]
        events = [read_event(line, f"line {number}") for number, line in enumerate(lines, 2)]
        array = self.start.copy()
        for edit in recorded_edits(events):
            apply(ArrayTarget(array), edit.patches)
        assert (array == self.labels).all()
        array = self.start.copy()
        again = DiscSession(
            disc_predictor(),
            self.session.source,
            ArrayTarget(array),
            overwrite=self.session.overwrite,
        )
        for number, event in enumerate(events, start=1):
            with at(again, event, number):
                if isinstance(event.action, Decoded):
                    again.update()
                else:
                    again.repeat(event)
        assert (array == self.labels).all()
        assert again.objects == self.session.objects
        assert again.draft == self.session.draft


def timeless(draft):
    from dataclasses import replace

    return None if draft is None else replace(draft, seconds=0.0, started=0.0)


Actions.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestActions = pytest.mark.slow(Actions.TestCase)
