"""Boxes and outlines of other programs, read from files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from napari_segment_anything.errors import PromptError
from napari_segment_anything.formats import Detection, encode, read_detections

SHAPE = (40, 60)


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def placed(found: Detection) -> np.ndarray:
    return found.mask.place(found.corner, SHAPE).decode()


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("row_min,col_min,row_max,col_max", "10,20,30,50"),
        ("x_min;y_min;x_max;y_max", "20;10;50;30"),
        ("x,y,width,height", "20,10,30,20"),
    ],
)
def test_boxes_of_csv(tmp_path, header, row) -> None:
    [found] = read_detections(written(tmp_path, "a.csv", f"{header}\n{row}\n"), SHAPE)
    assert found == Detection(1, (10, 20, 30, 50), score=found.score)
    assert math.isnan(found.score)


def test_csv_keeps_ids_classes_and_scores(tmp_path) -> None:
    text = "object,x,y,width,height,class,score,image\n7,1,2,3,4,cell,0.5,a\n9,1,2,3,4,,,a\n"
    with pytest.warns(UserWarning, match="not used: image"):
        one, two = read_detections(written(tmp_path, "a.csv", text), SHAPE)
    assert (one.id, one.class_name, one.score) == (7, "cell", 0.5)
    assert (two.id, two.class_name) == (9, "")


def test_shapes_of_napari(tmp_path) -> None:
    lines = ["index,shape-type,vertex-index,axis-0,axis-1"]
    rectangle, triangle = [(1, 2), (1, 8), (9, 8), (9, 2)], [(10, 10), (10, 20), (20, 10)]
    for index, (kind, corners) in enumerate([("rectangle", rectangle), ("polygon", triangle)]):
        lines += [f"{index},{kind},{i},{r},{c}" for i, (r, c) in enumerate(corners)]
    box, outline = read_detections(written(tmp_path, "s.csv", "\n".join(lines)), SHAPE)
    assert box.box == (1, 2, 9, 8)
    assert placed(outline)[12, 12]
    assert not placed(outline)[19, 19]


def coco(**annotation):
    return {
        "images": [
            {"id": 1, "height": 40, "width": 60, "file_name": "dir/a.tif"},
            {"id": 2, "height": 40, "width": 60, "file_name": "b.tif"},
        ],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 3, "bbox": [20, 10, 4, 3], **annotation},
            {"id": 6, "image_id": 2, "category_id": 3, "bbox": [0, 0, 4, 3]},
        ],
        "categories": [{"id": 3, "name": "yeast"}],
    }


def test_coco(tmp_path) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[10:13, 20:24] = True
    content = coco(score=0.25, segmentation=encode(mask).to_coco())
    [found] = read_detections(written(tmp_path, "c.json", content), SHAPE, "a.tif")
    assert (found.id, found.class_name, found.score) == (5, "yeast", 0.25)
    assert found.box == (9.5, 19.5, 12.5, 23.5)
    assert np.array_equal(placed(found), mask)
    content = coco(segmentation=[[20, 10, 24, 10, 24, 13, 20, 13]])
    [found] = read_detections(written(tmp_path, "c.json", content), SHAPE, "a.tif")
    assert np.array_equal(placed(found), mask)


def test_coco_results(tmp_path) -> None:
    results = [{"image_id": 4, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.9}] * 2
    one, two = read_detections(written(tmp_path, "r.json", results), SHAPE)
    assert (one.id, two.id, one.class_name, one.score) == (1, 2, "2", 0.9)


def feature(kind, coordinates, **more):
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, **more}


def test_geojson(tmp_path) -> None:
    square = [[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]
    hole = [[13, 13], [16, 13], [16, 16], [13, 16], [13, 13]]
    far = [[40, 30], [44, 30], [44, 34], [40, 34], [40, 30]]
    features = [
        feature("Polygon", [square], properties={"classification": {"name": "Tumor"}}),
        feature("Polygon", [square, hole], id="uuid", properties={"class": "b", "score": 0.5}),
        feature("MultiPolygon", [[square, hole], [far]]),
    ]
    content = {"type": "FeatureCollection", "features": features}
    box, ring, both = read_detections(written(tmp_path, "g.geojson", content), SHAPE)
    assert box.box == (9.5, 9.5, 19.5, 19.5)
    assert box.mask is None
    assert box.class_name == "Tumor"
    assert (ring.class_name, ring.score) == ("b", 0.5)
    assert placed(ring).sum() == 100 - 9
    assert placed(both).sum() == 100 - 9 + 16
    listed = read_detections(written(tmp_path, "g.json", features), SHAPE)
    assert [each.id for each in listed] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "row_min,col_min,row_max,colmax\n1,2,3,4\n",
            "needs the columns.*meant 'col_max'",
        ),
        ("a.csv", "x,y,width,height\n1,2,3,-4\n", "line 2.*no area"),
        ("a.csv", "x,y,width,height\n1,2,3,b\n", "line 2: height must be a number"),
        ("a.csv", "object,x,y,width,height\n1,1,2,3,4\n1,1,2,3,4\n", "two objects have the id 1"),
        ("a.csv", "object,x,y,width,height\n0,1,2,3,4\n", "object 0: an id"),
        ("a.csv", "x,y,width,height\n", "holds no objects"),
        ("a.txt", "x", "objects are read from"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[1]", "neither a COCO file nor GeoJSON"),
        ("a.json", "{}", "neither a COCO file"),
        ("a.json", coco(bbox=[1, 2, 3]), r"annotations\[0\].bbox"),
        ("a.json", coco(segmentation={"size": [2, 2], "counts": [4]}), "is for an image of"),
        ("a.json", coco(segmentation=[[1, 2]]), "three corners"),
        ("a.json", coco(image_id=2) | {"images": coco()["images"][:1]}, "holds no objects"),
        ("a.json", [{"image_id": 1, "bbox": [1, 2, 3, 4]}, {"image_id": 2}], "several images"),
        ("a.geojson", {"features": [feature("Point", [1, 2])]}, "feature 1 is a Point"),
        ("a.geojson", {"features": [feature("Polygon", [[[1, 2], [3, "a"]]])]}, "three corners"),
        (
            "a.geojson",
            {"features": [feature("Polygon", [[[90, 2], [93, 2], [93, 9]]])]},
            "no pixel",
        ),
        ("a.geojson", {"features": [feature("Polygon", [])]}, "without corners"),
    ],
)
def test_one_clear_error(tmp_path, name, content, message) -> None:
    with pytest.raises(PromptError, match=message):
        read_detections(written(tmp_path, name, content), SHAPE, "a.tif")


def test_coco_of_another_image(tmp_path) -> None:
    path = written(tmp_path, "c.json", coco())
    with pytest.raises(PromptError, match="40 rows and 60 columns; this one has 41"):
        read_detections(path, (41, 60), "a.tif")
    with pytest.raises(PromptError, match="not one of them is called c"):
        read_detections(path, SHAPE, "c.tif")
