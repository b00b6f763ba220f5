"""A project on disk: created, opened, changed by several."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.errors import FormatError, ParameterError, ResourceError
from napari_segment_anything.projects import ImageSource, ObjectEntry, Project
from napari_segment_anything.session import ObjectPrompts


def test_a_project_is_files_that_anyone_can_read(project, raw):
    written = tomllib.loads((project.folder / "project.toml").read_text("utf-8"))
    assert written["name"] == "project" and written["images"] == [{"path": str(raw)}]
    assert [item["name"] for item in written["classes"]] == ["cell", "dead cell"]
    rows = (project.folder / "images.csv").read_text("utf-8").splitlines()
    assert rows == ["key,source,path,plane", "a0,1,a0.png,", "a1,1,a1.png,", "a2,1,a2.png,"]
    assert project.counts() == {
        "todo": 3, "in_progress": 0, "complete": 0, "skipped": 0, "flagged": 0,
    }  # fmt: skip
    assert repr(project) == f"<Project project: 3 images, in {project.folder}>"


def test_what_is_written_is_read_again(project, labels):
    image = project.image("a1")
    assert image.labels().dtype == np.int32 and not image.labels().any()
    objects = (
        ObjectEntry(1, "cell", ObjectPrompts(((5.0, 5.0),), (True,)), score=0.9, seconds=3.5),
        ObjectEntry(2, made_by="suggestion", model="default", fingerprint="ab", version="v1"),
    )
    with image.lock("Anna") as editing:
        editing.write(labels=labels, objects=objects, state="in_progress", held_out=True)
        editing.add_complete_region((0, 0, 20, 20))
        editing.add_complete_region([(30, 30), (39, 30), (39, 45)])
        editing.add_seconds(7.5)
        editing.set_state("flagged", "out of focus")
    found = nsa.Project.open(project.folder).image("a1")
    np.testing.assert_array_equal(found.labels(), labels)
    assert found.objects() == objects
    assert (found.state, found.note, found.seconds) == ("flagged", "out of focus", 7.5)
    assert found.held_out is True and found.status.who == "Anna"
    assert found.status.objects == {"cell": 1, "": 1}
    assert found.status.opened and found.status.finished
    assert len(found.complete_regions) == 2
    seen = found.seen()
    assert seen[:21, :21].all() and seen[38, 31] and not seen[25, 10] and not seen[31, 44]
    assert project.counts()["flagged"] == 1  # without opening it again


def test_objects_are_counted_by_class_with_those_that_have_no_entry(project, labels):
    image = project.image("a0")
    with image.lock() as editing:
        editing.write(labels=labels)
        assert image.status.objects == {"": 2}
        editing.write(objects=[ObjectEntry(2, "cell")])
        assert image.status.objects == {"cell": 1, "": 1}
        editing.write(labels=np.where(labels == 1, 2**31 - 1, 0))
        assert image.status.objects == {"": 1}


def test_points_on_the_background_are_negatives(project, labels):
    prompts = ObjectPrompts(((5.0, 5.0), (25.0, 25.0), (12.0, 3.0)), (True, False, False))
    with project.image("a0").lock() as editing:
        editing.write(labels=labels, objects=[ObjectEntry(1, prompts=prompts)])
        editing.add_negatives([[35, 2]])
    # the second one lies on another object
    np.testing.assert_array_equal(project.image("a0").negatives(), [[35, 2], [12, 3]])


def test_one_person_at_a_time_on_an_image(project):
    image = Project.open(project.folder).image("a0")
    assert image.locked_by() is None
    with project.image("a0").lock("Anna"):
        assert "Anna" in image.locked_by()
        with pytest.raises(ResourceError, match="a0 is being worked on by Anna on"):
            image.lock("Ben").__enter__()
        with project.image("a1").lock("Ben"):
            pass
    assert image.locked_by() is None
    with image.lock("Ben"):
        pass


def test_what_does_not_fit_is_refused(project, labels):
    with project.image("a0").lock() as editing:
        with pytest.raises(ParameterError, match=r"shape \(3, 3\), the image a0 \(40, 50\)"):
            editing.write(labels=np.zeros((3, 3), int))
        with pytest.raises(ParameterError, match="no class 'nucleus'; its classes are: cell"):
            editing.write(labels=labels, objects=[ObjectEntry(1, "nucleus")])
        with pytest.raises(ParameterError, match="two objects have the id 1"):
            editing.write(objects=[ObjectEntry(1), ObjectEntry(1)])
        with pytest.raises(ParameterError, match="a state is one of"):
            editing.set_state("done")
        with pytest.raises(ParameterError, match="a region is a rectangle"):
            editing.add_complete_region((5, 5, 5, 9))
        with pytest.raises(ParameterError, match="unknown: colour"):
            editing.write(colour="red")
    assert not project.image("a0").has_labels and project.image("a0").state == "todo"
    with pytest.raises(ParameterError, match="has no image 'b'"):
        project.image("b")
    with pytest.raises(FormatError, match="holds a project already"):
        Project.create(project.folder, project.folder.parent / "raw")


def test_classes_and_settings_are_kept(project):
    project.configure(nudge_seconds=0.0)
    project.set_classes([*project.classes, "débris"])
    found = Project.open(project.folder)
    assert found.settings["nudge_seconds"] == 0 and found.settings["pause_seconds"] == 60
    assert [item.key for item in found.classes] == ["1", "2", "3"]
    with pytest.raises(ParameterError, match="nudge_seconds must be between"):
        project.configure(nudge_seconds=-1)
    with pytest.raises(ParameterError, match="two classes have the name 'cell'"):
        project.set_classes(["cell", "cell"])


def test_a_version_is_there_completely_or_not_at_all(project):
    assert project.model_path() == "default" and project.versions == ()
    with pytest.raises(FormatError, match=r"has no learned\.json"), project.new_version() as folder:
        (folder / "model.safetensors").write_bytes(b"")
    for name in ("v1", "v2"):
        with project.new_version() as folder:
            assert folder.name == name
            (folder / "model.safetensors").write_bytes(b"")
            (folder / "learned.json").write_text('{"images": ["a0"]}')
    assert [version.name for version in project.versions] == ["v1", "v2"]
    assert project.versions[1].learned() == {"images": ["a0"]}
    project.set_model("v1")
    again = Project.open(project.folder)
    assert again.model == "v1" and again.model_path() == str(project.versions[0].path)


def test_new_files_of_a_folder_are_found(project, raw):
    (raw / "more").mkdir()
    (raw / "a0.png").rename(raw / "a3.png")
    assert [image.key for image in project.refresh()] == ["a3"]
    assert [image.key for image in project.images] == ["a0", "a1", "a2", "a3"]
    with pytest.raises(nsa.ImageError, match="no file"):
        project.image("a0").open()
    assert project.refresh() == ()


def test_relative_paths_start_at_the_project(tmp_path, raw, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Project.create("here/project", ImageSource("raw"))
    assert Project.open("here/project").sources[0].path == "../../raw"
    (tmp_path / "here").rename(tmp_path / "there")
    assert Project.open(tmp_path / "there" / "project").image("a0").shape == (40, 50)
    os.chdir("/")
    assert Path(Project.open(tmp_path / "there" / "project").image("a0").path) == raw / "a0.png"
