"""Labels of suggestions without a person."""

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.formats.rle import encode
from napari_segment_anything.projects import ObjectEntry, Project, take_suggestions_steps
from napari_segment_anything.projects.suggestions import Suggestions


@pytest.fixture
def suggested(project: Project) -> Project:
    """Each image has object 3 of a person, and suggestions of scores .9, .8 and .2."""
    masks = np.zeros((3, 40, 50), bool)
    masks[0, 2:8, 2:8], masks[1, 20:26, 20:30], masks[2, 30:35, 2:8] = True, True, True
    labels = np.zeros((40, 50), np.int32)
    labels[20:26, 29:35] = 3
    for image in project.images:
        made = Suggestions.from_masks(
            [encode(mask) for mask in masks],
            [0.9, 0.8, 0.2],
            (40, 50),
            columns={"predicted_iou": [0.9, 0.8, 0.2]},
            version="default",
            fingerprint="f" * 64,
        )
        with image.lock() as editing:
            editing.write(labels=labels, objects=[ObjectEntry(3)], suggestions=made)
    return project


def test_taken_from_the_score_on(suggested: Project) -> None:
    report = nsa.finish(take_suggestions_steps(suggested))
    assert report.taken == {image.key: 2 for image in suggested.images}
    image = suggested.images[0]
    labels = image.labels()
    assert np.unique(labels).tolist() == [0, 3, 4, 5]
    assert (labels == 3).sum() == 36
    assert (labels == 5).sum() == 6 * 9  # the person's object keeps its pixels
    made = image.objects()[1]
    assert (made.id, made.score, made.made_by, made.model) == (4, 0.9, "suggestion", "default")
    assert image.suggestions().counts() == {"open": 1, "taken": 2, "corrected": 0, "rejected": 0}
    assert image.suggestions()[1].object_id == 4
    assert image.state == "in_progress"
    assert nsa.finish(take_suggestions_steps(suggested)).taken == {}


def test_what_is_left_out(suggested: Project) -> None:
    busy, killed, other = suggested.images
    killed.journal.write_text("{}\n")
    with busy.lock("ada"):
        report = nsa.finish(take_suggestions_steps(suggested, 0.1))
    assert set(report.left) == {busy.key, killed.key}
    assert "ada" in report.left[busy.key]
    assert report.taken == {other.key: 3}
    assert not busy.suggestions().counts()["taken"]
    with other.lock() as editing:
        editing.set_state("complete")
    assert nsa.finish(take_suggestions_steps(suggested, keys=[busy.key])).taken == {busy.key: 2}
