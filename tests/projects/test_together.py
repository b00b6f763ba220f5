"""Several people, that is processes, work on one project."""

from __future__ import annotations

import pytest

from napari_segment_anything import reading
from napari_segment_anything.projects import ObjectEntry, Project
from napari_segment_anything.projects.files import COMMIT, complete_commit
from napari_segment_anything.projects.layout import STATUS

HOLDS = """
import sys, time
from napari_segment_anything.projects import Project
with Project.open(sys.argv[1]).image("a0").lock("Anna"):
    print("locked", flush=True)
    time.sleep(600)
"""
CHANGES = """
import sys
from napari_segment_anything.projects import Project
project = Project.open(sys.argv[1])
for number in range(5):
    project.add_classes([f"{sys.argv[2]}-{number}"])
    with project.image(sys.argv[3]).lock(sys.argv[2]) as editing:
        editing.add_seconds(1)
"""


def test_a_lock_ends_with_its_process(processes, project):
    image = project.image("a0")
    with processes.start(HOLDS, project.folder) as other:
        assert other.stdout.readline() == "locked\n"
        assert image.locked_by().startswith("Anna on ")
        with pytest.raises(Exception, match="a0 is being worked on by Anna on"):
            image.lock("Ben").__enter__()
        with project.image("a1").lock("Ben") as editing:
            editing.set_state("complete")
        other.kill()
    assert image.locked_by() is None
    with image.lock("Ben") as editing:
        editing.set_state("complete")
    assert project.counts()["complete"] == 2


@pytest.mark.slow
def test_no_change_of_the_project_is_lost(processes, project):
    people = [processes.start(CHANGES, project.folder, name, key) for name, key in
              (("Anna", "a0"), ("Ben", "a1"), ("Cem", "a2"))]  # fmt: skip
    for person in people:
        _, errors = person.communicate(timeout=120)
        assert person.returncode == 0, errors
        person.__exit__(None, None, None)
    project.reload()
    assert len(project.classes) == 2 + 15
    assert [image.seconds for image in project.images] == [5, 5, 5]


def test_an_open_image_takes_classes_that_are_added_meanwhile(project):
    image = project.image("a0")
    with image.lock() as editing:
        Project.open(project.folder).add_classes(["debris"])
        project.reload()
        editing.write(objects=[ObjectEntry(1, "debris")])
        assert project.image("a0") is image


def test_a_state_is_read_while_another_moves_it_to_its_place(project, monkeypatch):
    """The file is where a commit left it, and gone once it was found to be one."""
    image = project.image("a0")
    with image.lock("Anna") as editing:
        editing.set_state("complete")
    commit = image.folder / COMMIT
    commit.mkdir()
    (image.folder / STATUS).rename(commit / STATUS)
    found = reading.require_file

    def moved(path, *arguments):
        checked = found(path, *arguments)
        if checked.parent == commit:
            complete_commit(image.folder)
        return checked

    monkeypatch.setattr(reading, "require_file", moved)
    assert project.image("a0").state == "complete" and not commit.exists()
