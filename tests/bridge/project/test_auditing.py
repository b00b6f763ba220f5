"""An audit in a viewer: answers are recorded, and labels stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_segment_anything.bridge.project.auditing import AuditRound
from napari_segment_anything.bridge.project.classes import ClassChoice
from napari_segment_anything.bridge.project.project_session import ProjectSession
from napari_segment_anything.bridge.viewer_session import ViewerSession
from napari_segment_anything.projects import ObjectEntry, Project
from napari_segment_anything.projects.audit import Audit

SHAPE = (120, 160)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    made = []
    for name in "ab":
        labels = np.zeros(SHAPE, np.int32)
        for number in range(12):
            row, col = 20 + 40 * (number // 4), 20 + 40 * (number % 4)
            labels[row : row + 10, col : col + 12] = number + 1
        tifffile.imwrite(folder / f"{name}.tif", (labels > 0).astype(np.uint8) * 200)
        made.append(labels)
    project = Project.create(tmp_path / "project", folder)
    for image, labels in zip(project.images, made, strict=True):
        entries = [ObjectEntry(n, made_by="suggestion", score=0.5 + n / 40) for n in range(1, 13)]
        with image.lock() as editing:
            editing.write(labels=labels, objects=entries)
    return project


@pytest.mark.slow
def test_masks_are_accepted_corrected_and_rejected(viewer, project, model):
    session = ViewerSession(viewer, model)
    owner = ProjectSession(session, project, who="ann")
    owner.board.automatic = False
    audit = Audit.draw(project, masks=6, fields=3, field_side=60)
    before = [image.labels() for image in project.images]
    round_ = AuditRound(owner, audit)
    asked = []
    round_.asked.connect(asked.append)
    round_.begin()
    assert round_.item.kind == "mask" and session.preview.mask.sum() == 120
    drawn = len(audit.sample.masks)
    round_.done()
    assert round_.left == (drawn - 1, 3)
    round_.reject()
    session.add_point((5, 5), False)
    session.commit()
    round_.done()
    while round_.item is not None and round_.item.kind == "mask":
        round_.done()
    verdicts = [audit.masks[number].verdict for number in range(drawn)]
    assert verdicts[1] == "rejected" and verdicts.count("accepted") >= drawn - 2
    assert audit.masks[0].by == "ann"
    session.add_point((round_.item.window.row + 5, round_.item.window.col + 5))
    round_.done()
    round_.reject()
    round_.reject()
    assert round_.item is None and asked[-1] is None
    assert len(audit.fields) == 3
    for image, labels in zip(project.images, before, strict=True):
        assert (image.labels() == labels).all() and image.locked_by() is None
    assert audit.figures().masks_answered == drawn and not audit.figures().classes
    assert owner.next() and owner.image.key == "a"
    owner.close()
    session.close()


@pytest.mark.slow
def test_classes_are_answered_with_the_masks(viewer, project, model):
    project.set_classes(["cell", "dead"])
    for image in project.images:
        entries = [replace(entry, class_name="cell") for entry in image.objects()]
        with image.lock() as editing:
            editing.write(objects=entries)
    session = ViewerSession(viewer, model)
    owner = ProjectSession(session, project, who="ann")
    owner.board.automatic = False
    choice = ClassChoice(owner)
    audit = Audit.draw(project, masks=3, fields=2, field_side=60)
    round_ = AuditRound(owner, audit)
    round_.begin()
    assert round_.item.class_name == "cell"
    round_.done()
    assert choice.press("2") and session.draft is not None
    round_.done()
    round_.reject()
    assert [audit.masks[n].classes for n in range(3)] == [("cell",), ("dead",), ()]
    assert [audit.masks[n].verdict for n in range(3)] == ["accepted", "accepted", "rejected"]
    while round_.item.kind == "mask":
        round_.done()
    choice.press("2")
    session.add_point((round_.item.window.row + 5, round_.item.window.col + 5))
    round_.done()
    assert set(audit.fields[0].classes or ()) <= {"dead"} and owner.apart is not None
    round_.close()
    assert owner.apart is None
    owner.close()
    session.close()
