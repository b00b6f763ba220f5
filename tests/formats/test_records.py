"""SA-1B and COCO records: round trips, an independent reader, damaged files, atomic writes."""

from __future__ import annotations

import copy
import errno
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError
from napari_segment_anything.formats import (
    ImageRecords,
    MaskRecord,
    encode_labels,
    read_coco,
    read_sa1b,
    record_reading,
    records,
    write_coco,
    write_sa1b,
)


@pytest.fixture
def image() -> ImageRecords:
    labels = np.zeros((20, 30), int)
    labels[2:8, 3:9] = 1
    labels[10:15, 20:29] = 2
    made = []
    for number, code in encode_labels(labels).items():
        made.append(
            MaskRecord.from_mask(
                code,
                predicted_iou=0.5 + number / 10,
                stability_score=0.9,
                point_coords=((4.0, 5.5),),
                id=number,
            )
        )
    return ImageRecords(30, 20, tuple(made), "field.tif", 7)


@pytest.mark.parametrize("compressed", [True, False])
def test_sa1b_round_trip(tmp_path: Path, image: ImageRecords, compressed: bool) -> None:
    path = tmp_path / "new" / "masks.json"
    write_sa1b(path, image, compressed=compressed)
    assert read_sa1b(path) == image
    data = json.loads(path.read_text())
    assert data["image"] == {"image_id": 7, "width": 30, "height": 20, "file_name": "field.tif"}
    assert set(data["annotations"][0]) == {
        "id", "segmentation", "bbox", "area", "predicted_iou", "stability_score", "crop_box",
        "point_coords",
    }  # fmt: skip
    assert data["annotations"][0]["bbox"] == [3, 2, 6, 6]


def test_missing_scores_are_left_out_and_come_back_as_nan(
    tmp_path: Path, image: ImageRecords
) -> None:
    bare = ImageRecords(30, 20, (MaskRecord.from_mask(image.records[0].segmentation),))
    write_sa1b(tmp_path / "a.json", bare)
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert math.isnan(read_sa1b(tmp_path / "a.json").records[0].predicted_iou)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_coco_round_trip_and_pycocotools_reads_it(tmp_path: Path, image: ImageRecords) -> None:
    path = tmp_path / "coco.json"
    write_coco(path, [image, image], categories=["nucleus"])
    first, second = read_coco(path)
    assert (first.image_id, second.image_id) == (7, 8)
    assert [r.segmentation for r in first.records] == [r.segmentation for r in image.records]
    coco = pytest.importorskip("pycocotools.coco").COCO(str(path))
    annotation = coco.loadAnns(coco.getAnnIds(imgIds=[8]))[1]
    assert np.array_equal(coco.annToMask(annotation), image.records[1].segmentation.decode())


def test_coco_polygons_are_drawn(tmp_path: Path) -> None:
    data = {
        "images": [{"id": 1, "width": 8, "height": 6}],
        "annotations": [
            {"id": 1, "image_id": 1, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]}
        ],
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(data))
    expected = np.zeros((6, 8), bool)
    expected[1:4, 1:5] = True
    mask = read_coco(tmp_path / "c.json")[0].records[0].segmentation.decode()
    assert np.array_equal(mask, expected)


def _without(data: dict[str, Any], *path: Any) -> dict[str, Any]:
    data = copy.deepcopy(data)
    node = data
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return data


def _with(data: dict[str, Any], value: Any, *path: Any) -> dict[str, Any]:
    data = copy.deepcopy(data)
    node = data
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return data


def test_damaged_records_name_the_annotation_and_key(image: ImageRecords) -> None:
    good = records.to_sa1b(image)
    cases = [
        (_without(good, "image"), "'image'"),
        (_without(good, "annotations"), "'annotations'"),
        (_without(good, "image", "width"), "'width'"),
        (_with(good, 0, "image", "width"), "not a valid image size"),
        (_with(good, 7, "annotations", 1), "annotation 1"),
        (_without(good, "annotations", 1, "segmentation"), "annotation 1.*'segmentation'"),
        (_with(good, "Q", "annotations", 0, "segmentation", "counts"), "annotation 0.*truncated"),
        (_with(good, [9, 9], "annotations", 0, "segmentation", "size"), "annotation 0"),
        (_with(good, [1, 2], "annotations", 1, "bbox"), "annotation 1, 'bbox'"),
        (_with(good, "x", "annotations", 1, "predicted_iou"), "annotation 1, 'predicted_iou'"),
        (_with(good, -1, "annotations", 1, "area"), "annotation 1, 'area'"),
        (_with(good, [[1]], "annotations", 0, "point_coords"), "annotation 0, 'point_coords'"),
        ([], "expected an object"),
    ]
    for data, message in cases:
        with pytest.raises(FormatError, match=message):
            record_reading.from_sa1b(data)


def test_damaged_files(tmp_path: Path, image: ImageRecords) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        read_sa1b(tmp_path / "none.json")
    path = tmp_path / "cut.json"
    write_sa1b(path, image)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(FormatError, match="truncated"):
        read_sa1b(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="not valid JSON"):
        read_coco(path)
    path.write_text('{"images": [], "annotations": [{"image_id": 3}]}')
    with pytest.raises(FormatError, match="no image with id 3"):
        read_coco(path)


def test_a_mask_of_another_size_is_refused(image: ImageRecords) -> None:
    with pytest.raises(FormatError, match="Annotation 1"):
        records.to_sa1b(ImageRecords(31, 20, image.records, "x.tif"))


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, image: ImageRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "masks.json"
    write_sa1b(path, image)
    before = path.read_bytes()

    def full(self: Path, text: str, **_: Any) -> int:
        with self.open("w") as file:
            file.write(text[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FormatError, match="No space left"):
        write_sa1b(path, image)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_overwritten(tmp_path: Path, image: ImageRecords) -> None:
    with pytest.raises(FormatError, match="is a folder"):
        write_sa1b(tmp_path, image)
