"""Export and import: what goes out comes back, with its provenance."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError, ParameterError, ResourceError
from napari_segment_anything.formats import (
    ImageRecords,
    MaskRecord,
    encode,
    read_coco,
    read_image,
    read_labels,
    read_sa1b,
    write_coco,
    write_labels,
    write_sa1b,
)
from napari_segment_anything.projects import ObjectEntry, Project, Suggestions
from napari_segment_anything.session import ObjectPrompts

PROMPTS = ObjectPrompts(((5.0, 6.0), (25.0, 25.0)), (True, False))
OBJECTS = (
    ObjectEntry(1, "dead cell", PROMPTS, 0.9, 3.0, "corrected", "default", "ab12", "v1", who="A"),
    ObjectEntry(2, made_by="suggestion"),
)


@pytest.fixture
def annotated(project, labels):
    """a0 complete, a1 in progress with a complete region, a2 to do."""
    with project.image("a0").lock("Anna") as editing:
        editing.write(labels=labels, objects=OBJECTS, state="complete", seconds=60.0)
    with project.image("a1").lock("Ben") as editing:
        editing.write(labels=np.fliplr(labels), state="in_progress", note="from the left")
        editing.add_complete_region((0, 0, 20, 20))
        editing.add_negatives([[36, 4]])
    return project


def other(project, name="other"):
    return Project.create(project.folder.parent / name, project.folder.parent / "raw")


@pytest.mark.parametrize("format", ["labels", "sa1b", "coco"])
def test_what_is_exported_is_imported_again(annotated, format, tmp_path):
    states = ["complete", "in_progress"]
    result = annotated.export(tmp_path / "out", format, states=states)
    assert result.images == ("a0", "a1") and result.objects == 4
    empty = other(annotated)
    found = empty.import_annotations(tmp_path / "out")
    assert found.images == ("a0", "a1") and found.objects == 4
    assert found.hidden == 0 and found.unknown == ()
    for key in ("a0", "a1"):
        image, was = empty.image(key), annotated.image(key)
        np.testing.assert_array_equal(image.labels(), was.labels())
        assert (image.state, image.note, image.seconds) == (was.state, was.note, was.seconds)
        assert image.complete_regions == was.complete_regions
    assert empty.image("a0").objects() == OBJECTS
    assert "dead cell" in [item.name for item in empty.classes]


def test_every_export_says_where_it_comes_from(annotated, tmp_path):
    annotated.export(tmp_path / "out", "sa1b", with_images=True)
    origin = json.loads((tmp_path / "out/provenance.json").read_text())
    assert origin["project"] == "project" and origin["format"] == "sa1b"
    (image,) = origin["images"]
    assert image["key"] == "a0" and image["status"]["who"] == "Anna"
    with (tmp_path / "out/objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["label"], row["class"], row["made_by"]) for row in rows] == [
        ("a0", "1", "dead cell", "corrected"),
        ("a0", "2", "", "suggestion"),
    ]
    assert rows[0]["version"] == "v1" and rows[0]["area"] == "36"
    records = read_sa1b(tmp_path / "out/a0.json")
    assert records.file_name == "a0.tif" and records.records[0].point_coords == ((6.0, 5.0),)
    assert read_image(tmp_path / "out/a0.tif").shape == (40, 50)


def test_classes_are_categories_in_coco(annotated, tmp_path):
    annotated.export(tmp_path / "out", "coco")
    data = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [item["name"] for item in data["categories"]] == ["cell", "dead cell", "object"]
    (image,) = read_coco(tmp_path / "out/annotations.json")
    assert [record.category for record in image.records] == ["dead cell", "object"]
    assert image.file_name == "a0.png"


@pytest.mark.slow
def test_a_training_set_is_read_by_training(annotated, tmp_path):
    from napari_segment_anything.engine import load_model
    from napari_segment_anything.progress import finish
    from napari_segment_anything.projects.learning_data import copy_annotation, read_copies
    from napari_segment_anything.projects.learning_options import DENSE_OPTIONS
    from napari_segment_anything.training import read_config
    from napari_segment_anything.training.loading import load_images
    from napari_segment_anything.training.seen import REJECTED, SEEN

    with annotated.image("a2").lock() as editing:
        editing.write(state="complete", held_out=True)  # complete and empty
    wrong = np.zeros((40, 50), bool)
    wrong[25:30, 2:8] = True
    rejected = Suggestions.from_masks([encode(wrong)], [0.9], (40, 50))
    rejected = rejected.decide([1], "rejected")
    with annotated.image("a1").lock() as editing:
        editing.set_suggestions(rejected)
    annotated.export(tmp_path / "out", "training")
    config = read_config(tmp_path / "out/train.toml")
    assert config.model == "default"
    images = finish(load_images(config, tmp_path / "out"))
    whole, part = images.train
    assert (whole.name, part.name) == ("complete/a0", "partial/a1")
    assert whole.seen is None and part.seen is not None
    assert part.seen[10, 10] == SEEN and part.seen[35, 45] != SEEN
    assert part.seen[35, 5] == SEEN  # around a negative click
    assert part.seen[27, 5] == REJECTED
    assert config.options == {"assume": DENSE_OPTIONS["assume"]} and config.train == "whole"
    # the same as when the model learns from the project
    network = load_model("default", device="cpu").network
    copied = copy_annotation(annotated.image("a1"), "train", tmp_path / "copies", network)
    ((_, _, levels),) = read_copies(tmp_path / "copies", [copied], "train")
    np.testing.assert_array_equal(part.seen, np.where(part.labels > 0, SEEN, levels))
    assert [image.name for image in images.validation] == ["complete/a2"]


def test_foreign_annotations_are_matched_by_name(project, tmp_path, labels):
    masks = [labels == 2, labels > 0]  # a part and a whole
    records = tuple(
        MaskRecord.from_mask(mask, id=n, category_id=n) for n, mask in enumerate(masks, 1)
    )
    images = [
        ImageRecords(50, 40, records[:1], "somewhere/a2.jpg", 7),
        ImageRecords(50, 40, records, "a1.png", 8),
        ImageRecords(50, 40, records, "b1.png", 9),
    ]
    write_coco(tmp_path / "coco.json", images, categories=["cell", "clump"])
    result = project.import_annotations(tmp_path / "coco.json", state="complete", who="Ben")
    assert result.images == ("a2", "a1") and result.unknown == ("b1",) and result.hidden == 1
    assert project.image("a1").objects() == (ObjectEntry(1, "cell", made_by="imported"),)
    assert project.image("a2").state == "complete" and project.image("a2").status.who == "Ben"
    with pytest.raises(ParameterError, match="2 images have labels already, such as a2"):
        project.import_annotations(tmp_path / "coco.json")
    project.import_annotations(tmp_path / "coco.json", overwrite=True)


def test_label_files_with_endings_and_of_stacks(tmp_path, project, labels):
    write_labels(tmp_path / "masks" / "a1_masks.png", labels)
    assert project.import_annotations(tmp_path / "masks").images == ("a1",)
    np.save(tmp_path / "movie.npy", np.zeros((3, 40, 50), np.uint8))
    movie = Project.create(tmp_path / "second", tmp_path / "movie.npy")
    write_labels(tmp_path / "movie_labels.tif", np.stack([labels, 2 * labels, 3 * labels]))
    result = movie.import_annotations(tmp_path / "movie_labels.tif")
    assert result.images == ("movie-q000", "movie-q001", "movie-q002")
    np.testing.assert_array_equal(movie.image("movie-q002").labels(), 3 * labels)


def test_what_cannot_be_exchanged_is_one_clear_error(annotated, tmp_path, labels):
    with pytest.raises(ParameterError, match="format is one of"):
        annotated.export(tmp_path / "out", "yolo")
    with pytest.raises(ParameterError, match="no annotated image of project is flagged"):
        annotated.export(tmp_path / "out", states=["flagged"])
    (tmp_path / "out").mkdir()
    with pytest.raises(ParameterError, match="exists already"):
        annotated.export(tmp_path / "out")
    with pytest.raises(ParameterError, match="holds the project"):
        annotated.export(tmp_path, overwrite=True)
    annotated.export(tmp_path / "out", overwrite=True)
    assert read_labels(tmp_path / "out/labels/a0.tif").max() == 2
    with pytest.raises(FormatError, match="no file or folder"):
        annotated.import_annotations(tmp_path / "nothing")
    small = ImageRecords(9, 9, (MaskRecord.from_mask(np.ones((9, 9), bool)),), "a2.png")
    write_sa1b(tmp_path / "a2.json", small)
    with pytest.raises(FormatError, match=r"is \(9, 9\) pixels, the image a2 \(40, 50\)"):
        annotated.import_annotations(tmp_path / "a2.json")
    write_labels(tmp_path / "a2.tif", labels)
    with (
        annotated.image("a2").lock("Anna"),
        pytest.raises(ResourceError, match="a2 is being worked on by Anna"),
    ):
        annotated.import_annotations(tmp_path / "a2.tif")
    assert not annotated.image("a2").has_labels


def test_of_a_damaged_export_nothing_is_imported(annotated, tmp_path):
    annotated.export(tmp_path / "out", "sa1b", states=["complete", "in_progress"])
    path = tmp_path / "out/a1.json"
    data = json.loads(path.read_text())
    data["annotations"][0]["napari_segment_anything"]["made_by"] = "magic"
    path.write_text(json.dumps(data))
    empty = other(annotated)
    with pytest.raises(FormatError, match=r"object \d: made_by: this should be 'person'"):
        empty.import_annotations(tmp_path / "out")
    assert not empty.image("a0").has_labels
