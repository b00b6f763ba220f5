"""Classes of objects, from tables and COCO files; labels of a whole set in one COCO file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_segment_anything.datasets import (
    ObjectClasses,
    find_entries,
    read_classes,
    read_planes,
)
from napari_segment_anything.errors import FormatError, ParameterError
from napari_segment_anything.formats import ImageRecords, MaskRecord, write_coco

from ..evaluation.conftest import discs


def coco_folder(folder, count: int = 3):
    """Images and a COCO file of their discs: of class "cell", the first of each image "spore"."""
    (folder / "images").mkdir(parents=True)
    truth, records = [], []
    for number in range(count):
        image, labels = discs(number)
        tifffile.imwrite(folder / f"images/{number}.tif", image)
        ids = [int(i) for i in np.unique(labels) if i]
        masks = [
            MaskRecord.from_mask(labels == i, id=100 * number + i, category_id=1 + (i == ids[0]))
            for i in ids
        ]
        records.append(ImageRecords(*labels.shape[::-1], tuple(masks), f"{number}.png"))
        truth.append(np.where(labels > 0, labels.astype(np.int64) + 100 * number, 0))
    write_coco(folder / "annotations.json", records, categories=("cell", "spore"))
    return truth


def test_labels_of_a_set_come_from_one_coco_file_with_its_ids(tmp_path):
    truth = coco_folder(tmp_path)
    tifffile.imwrite(tmp_path / "images/9.tif", discs(9)[0])  # which is not in the file
    entries = find_entries([tmp_path / "images"], tmp_path / "annotations.json")
    assert [entry.image.name for entry in entries] == ["0.tif", "1.tif", "2.tif"]
    for entry, labels in zip(entries, truth, strict=True):
        (plane,) = read_planes(entry)
        np.testing.assert_array_equal(plane.labels, labels)
    with pytest.raises(FormatError, match="images without labels"):
        find_entries([tmp_path / "images"], tmp_path / "annotations.json", unlabelled="error")


def test_ids_that_are_no_labels_are_an_error(tmp_path):
    coco_folder(tmp_path)
    path = tmp_path / "annotations.json"
    held = json.loads(path.read_text())
    for annotation in held["annotations"]:
        annotation["id"] = 7
    path.write_text(json.dumps(held))
    with pytest.raises(FormatError, match="each of one annotation"):
        find_entries([tmp_path / "images"], path)


def test_a_table_and_a_coco_file_say_the_same(tmp_path):
    truth = coco_folder(tmp_path)
    found = read_classes(tmp_path / "annotations.json", rare=2, common=4)
    lines = ["image,label,class,area"]
    for number, labels in enumerate(truth):
        for place, label in enumerate(np.unique(labels)[1:]):
            lines.append(f"{number}.tif,{label},{'cell' if place else 'spore'},1")
    table = tmp_path / "objects.csv"
    table.write_text("\n".join(lines) + "\n")
    assert read_classes(table, 2, 4).images == found.images
    assert found.of("set/2.tif")[int(truth[2].max())] == "cell"
    assert found.of("set/none.tif") == {}


def test_how_common_a_class_is():
    images = {str(i): {1: "a", 2: "b" if i < 3 else "c", 3: "d" if i else ""} for i in range(5)}
    classes = ObjectClasses(images, rare=2, common=4)
    assert classes.counts == {"a": 5, "b": 3, "c": 2, "d": 4}
    assert [classes.frequency(name) for name in "abcd"] == [
        "frequent",
        "common",
        "rare",
        "common",
    ]
    assert classes.frequency("") == classes.frequency("e") == ""
    with pytest.raises(ParameterError, match="a rare class is in fewer images"):
        ObjectClasses(images, rare=4, common=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a header with the columns image, label, class"),
        ("image,label\na,1\n", "needs a header with the columns"),
        ("image,label,class\na,x,c\n", "row 2: a label is an integer"),
        ("image,label,class\na,1,c\nb,2\n", "row 3: too few fields"),
        ("image,label,class\na,1,\n", "no object has a class"),
    ],
)
def test_wrong_tables_are_one_clear_error(tmp_path, text, message):
    (tmp_path / "classes.csv").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_classes(tmp_path / "classes.csv")
