"""Prompts from options and files."""

from __future__ import annotations

import json

import pytest

from napari_segment_anything.cli import prompt_files, values
from napari_segment_anything.errors import ParameterError, PromptError


def test_points_and_negatives_are_one_object():
    objects = prompt_files.from_options(["1,2", "3,4.5"], ["5,6"], [], False)
    assert objects == [
        {"id": 1, "points": [[1, 2], [3, 4.5], [5, 6]], "labels": [1, 1, 0]},
    ]


def test_each_box_is_an_object_and_one_box_joins_points():
    boxes = ["0,0,5,6", "1,1,9,9"]
    assert prompt_files.from_options([], [], boxes, False) == [
        {"id": 1, "box": [0, 0, 5, 6]},
        {"id": 2, "box": [1, 1, 9, 9]},
    ]
    (only,) = prompt_files.from_options(["2,2"], ["4,4"], boxes[:1], False)
    assert only == {"id": 1, "points": [[2, 2], [4, 4]], "labels": [1, 0], "box": [0, 0, 5, 6]}


def test_each_point_is_an_object():
    objects = prompt_files.from_options(["1,2", "3,4"], [], [], True)
    assert [each["points"] for each in objects] == [[[1, 2]], [[3, 4]]]
    assert [each["id"] for each in objects] == [1, 2]


@pytest.mark.parametrize(
    ("points", "negatives", "boxes", "each_point", "says"),
    [
        (["1"], [], [], False, "--point takes ROW,COL"),
        (["a,b"], [], [], False, "--point takes ROW,COL"),
        (["nan,2"], [], [], False, "--point takes ROW,COL"),
        ([], ["3"], [], False, "--negative takes ROW,COL"),
        ([], [], ["1,2,3"], False, "--box takes ROW_MIN"),
        ([], [], ["5,5,1,9"], False, "second corner"),
        ([], ["3,3"], [], False, "--negative needs"),
        (["1,1"], [], ["0,0,5,5", "6,6,9,9"], False, "--prompts file"),
        (["1,1"], ["2,2"], [], True, "--each-point takes only --point"),
        ([], [], [], True, "at least one --point"),
    ],
)
def test_bad_options_say_what_is_right(points, negatives, boxes, each_point, says):
    with pytest.raises(PromptError, match=says):
        prompt_files.from_options(points, negatives, boxes, each_point)


def test_csv_with_points_and_boxes(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text(
        "object,kind,row,col,label,row_min,col_min,row_max,col_max\n"
        "3,point,10,20,1,,,,\n"
        "3,point,12,22,0,,,,\n"
        "7,box,,,,1,2,30,40\n"
        "3,box,,,,5,5,50,50\n"
    )
    assert prompt_files.read_prompts(path) == [
        {"id": 3, "points": [[10, 20], [12, 22]], "labels": [1, 0], "box": [5, 5, 50, 50]},
        {"id": 7, "box": [1, 2, 30, 40]},
    ]


def test_csv_needs_neither_object_nor_kind_nor_label(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("row,col\n10,20\n30,40\n")
    assert prompt_files.read_prompts(path) == [
        {"id": 1, "points": [[10, 20]], "labels": [1]},
        {"id": 2, "points": [[30, 40]], "labels": [1]},
    ]
    path.write_text("row_min,col_min,row_max,col_max\n1,2,3,4\n")
    assert prompt_files.read_prompts(path) == [{"id": 1, "box": [1, 2, 3, 4]}]


def test_points_and_shapes_saved_by_napari(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("index,axis-0,axis-1\n0,10.5,20\n1,30,40\n")
    assert prompt_files.read_prompts(path) == [
        {"id": 1, "points": [[10.5, 20]], "labels": [1]},
        {"id": 2, "points": [[30, 40]], "labels": [1]},
    ]
    path.write_text(
        "index,shape-type,vertex-index,axis-0,axis-1\n"
        + "".join(
            f"{shape},rectangle,{vertex},{row + shape},{col}\n"
            for shape in (0, 1)
            for vertex, (row, col) in enumerate([(5, 6), (5, 60), (50, 60), (50, 6)])
        )
    )
    assert prompt_files.read_prompts(path) == [
        {"id": 1, "box": [5, 6, 50, 60]},
        {"id": 2, "box": [6, 6, 51, 60]},
    ]


def test_json_objects(tmp_path):
    path = tmp_path / "clicks.json"
    objects = [{"points": [[1, 2]]}, {"id": 9, "box": [0, 0, 4, 4], "points": [], "labels": []}]
    path.write_text(json.dumps(objects))
    assert prompt_files.read_prompts(path) == [
        {"id": 1, "points": [[1, 2]], "labels": [1]},
        {"id": 9, "box": [0, 0, 4, 4]},
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.txt", "1,2", ".csv or .json"),
        ("a.csv", "row,col\n", "no prompts"),
        ("a.csv", "x,y\n1,2\n", "needs columns row,col"),
        ("a.csv", "row,col\n1,two\n", "line 2: col must be a number"),
        ("a.csv", "row,col,label\n1,2,5\n", "label is 1"),
        ("a.csv", "object,row,col\n0,1,2\n", "whole number from 1"),
        ("a.csv", "object,row,col\n1.5,1,2\n", "whole number from 1"),
        ("a.csv", "kind,row,col\nline,1,2\n", "point or box"),
        ("a.csv", "row_min,col_min,row_max,col_max\n9,9,1,1\n", "second corner"),
        ("a.csv", "index,axis-0,axis-1,axis-2\n0,1,2,3\n", "2-D"),
        ("a.json", "{", "not JSON"),
        ("a.json", "{}", "list of objects"),
        ("a.json", "[]", "no prompts"),
        ("a.json", "[{}]", "neither points nor a box"),
        ("a.json", '[{"points": [[1]]}]', "is not \\[row, col\\]"),
        ("a.json", '[{"points": [[1, 2]], "labels": [1, 1]}]', "one for each point"),
        ("a.json", '[{"box": [1, 2, 3]}]', "row_min"),
        ("a.json", '[{"bbox": [1, 2, 3, 4]}]', "unknown key 'bbox'"),
        ("a.json", '[{"id": 2, "box": [0,0,1,1]}, {"box": [0,0,1,1]}]', "same id"),
    ],
)
def test_bad_files_say_where(tmp_path, name, text, says):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(PromptError, match=says):
        prompt_files.read_prompts(path)


def test_values():
    assert values.indices("0,2", "--channels") == (0, 2)
    assert values.indices(None, "--channels") is None
    assert values.contrast_limits("auto") == "auto"
    assert values.contrast_limits("-5,1e3") == (-5, 1000)
    assert values.plane("4", "Z") == {"Z": 4}
    assert values.plane("t=3,Z=-1", "TZ") == {"T": 3, "Z": -1}
    assert values.plane(None, "TZ") == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda: values.indices("0,x", "--channels"),
        lambda: values.contrast_limits("5,1"),
        lambda: values.contrast_limits("1"),
        lambda: values.contrast_limits("inf,nan"),
        lambda: values.plane("3", "TZ"),
        lambda: values.plane("Z=a", "Z"),
    ],
)
def test_bad_values(call):
    with pytest.raises(ParameterError):
        call()
