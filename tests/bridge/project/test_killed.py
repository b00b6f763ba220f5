"""A process that works on an image of a project is killed: what a person decided is there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_segment_anything.formats import encode
from napari_segment_anything.projects import ObjectEntry, Suggestions
from napari_segment_anything.projects.audit import Audit
from napari_segment_anything.projects.pending import pending_changes

KILLED = """
import os, random, sys, time
from napari_segment_anything.bridge.project.opening import open_image, read_ahead
from napari_segment_anything.bridge.project.saving import ImageSaver
from napari_segment_anything.bridge.project.threads import OrderedThread
from napari_segment_anything.projects import Project
from napari_segment_anything.engine import Predictor
from tests.forked import said_until_killed
from tests.tiny import tiny_model

folder, rounds = sys.argv[1], int(sys.argv[3])
random.seed(int(sys.argv[2]))
predictor = Predictor(tiny_model())

def work(written):
    sys.setswitchinterval(1e-5)  # so that the threads meet at every point
    thread = OrderedThread("saving", lambda function: function())
    opened = open_image(read_ahead(Project.open(folder).images[0]), predictor)
    saver = ImageSaver(opened, thread, dict, lambda image: None, os.abort)
    known = opened.suggestions
    for item in known:
        if item.status == "open":
            known = known.decide([item.id], "rejected")
            saver.suggestions_changed(known, {item.id: "rejected"})
            os.write(written, b"%d\\n" % item.id)
            time.sleep(random.uniform(0, 0.004))

last = 0
for _ in range(rounds):
    said = said_until_killed(work, 0, 0.05)
    image = Project.open(folder).images[0]
    with image.lock("next"):
        rejected = [item.id for item in image.suggestions() if item.status == "rejected"]
    told = said[-1] if said else last + 1
    assert rejected == list(range(1, len(rejected) + 1)), rejected
    assert told <= len(rejected) <= told + 1, (told, len(rejected))
    last = len(rejected)
print(last)
"""


@pytest.fixture
def suggested(project):
    """A project whose first image has suggestions enough for every round."""
    rows, cols = project.images[0].shape
    masks = []
    for number in range(200):
        mask = np.zeros((rows, cols), bool)
        mask[2 * (number // 40), 2 * (number % 40)] = True
        masks.append(encode(mask))
    with project.images[0].lock() as editing:
        editing.set_suggestions(Suggestions.from_masks(masks, [0.9] * 200, (rows, cols)))
    return project


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_a_rejection_is_not_lost_by_a_kill(processes, suggested) -> None:
    with processes.start(KILLED, suggested.folder, 1, 6) as run:
        rejected, errors = run.communicate()
    assert run.returncode == 0, errors
    assert int(rejected) >= 6


AUDITED = """
import os, queue, random, sys
from napari.components import ViewerModel
from napari_segment_anything.bridge.project.auditing import AuditRound
from napari_segment_anything.bridge.project.project_session import ProjectSession
from napari_segment_anything.bridge.viewer_session import ViewerSession
from napari_segment_anything.engine import Predictor
from napari_segment_anything.projects import Project
from napari_segment_anything.projects.audit import Audit
from tests.forked import said_until_killed
from tests.tiny import tiny_model

folder, rounds = sys.argv[1], int(sys.argv[3])
random.seed(int(sys.argv[2]))
session = ViewerSession(ViewerModel(), tiny_model())

def work(written):
    todo = queue.Queue()
    owner = ProjectSession(session, Project.open(folder), dispatch=todo.put)
    round_ = AuditRound(owner, Audit.open(owner.project))

    def asked(item):
        os.write(written, b"%d\\n" % round_.left[0])  # all others have answers
        round_.done()
        round_.done()  # a key that is pressed twice answers once

    round_.asked.connect(asked)
    round_.begin()
    sys.setswitchinterval(1e-4)
    while round_.item is None or round_.item.kind == "mask":
        todo.get()()

drawn = len(Audit.open(Project.open(folder)).sample.masks)
last = 0
for _ in range(rounds):
    left = said_until_killed(work, 0.1, 0.5)
    audit = Audit.open(Project.open(folder))
    told = drawn - left[-1] if left else last
    answers = audit.masks
    assert list(answers) == list(range(len(answers))), list(answers)
    assert told <= len(answers) <= told + 1, (told, len(answers))
    assert {each.verdict for each in answers.values()} <= {"accepted"}
    last = len(answers)
for number in audit.open_fields():
    audit.answer_field(number, [])
audit.write_report()
print(last)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_an_answer_of_an_audit_is_not_lost_by_a_kill(processes, project) -> None:
    for image in project.images:
        labels = np.repeat(np.arange(0, 60, dtype=np.int32), 80).reshape(60, 80)
        labels[::2] = 0
        entries = [
            ObjectEntry(int(n), made_by="suggestion", score=0.9) for n in np.unique(labels)[1:]
        ]
        with image.lock() as editing:
            editing.write(labels=labels, objects=entries)
    Audit.draw(project, masks=80, fields=2)
    with processes.start(AUDITED, project.folder, 1, 4) as run:
        answered, errors = run.communicate()
    assert run.returncode == 0, errors
    assert int(answered) > 4


def test_what_is_decided_during_a_write_stays_noted(opened) -> None:
    opened.go_to("a")
    masks = [encode(np.eye(60, 80, k=10 * n, dtype=bool)) for n in range(2)]
    known = Suggestions.from_masks(masks, [0.9, 0.8], (60, 80))
    image, editing = opened.image, opened.now.editing
    later = known.decide([1, 2], "rejected")
    write = editing.write

    def slow(**values) -> None:
        write(**values)
        editing.write = write
        opened.write_suggestions(later, {2: "rejected"})  # before the first write has ended

    editing.write = slow
    waiting = []
    opened._saving.run = lambda work, done=None, failed=None: waiting.append(work)
    opened.write_suggestions(known.decide([1], "rejected"), {1: "rejected"})
    waiting.pop()()
    assert [dict(each["decided"]) for each in pending_changes(image.folder)][-1] == {2: "rejected"}
    waiting.pop()()
    assert not list(pending_changes(image.folder))
    assert [item.status for item in image.suggestions()] == ["rejected", "rejected"]
    del opened._saving.run
