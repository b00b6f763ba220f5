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
        (["1,1"], ["2,2"], [], True, "--each-point can only be combined"),
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
        ("a.csv", "x,y\n1,2\n", "unknown column 'x'"),
        ("a.csv", "row,label\n1,0\n", "needs columns row,col"),
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


DECIMAL_COMMAS = (
    "row,col\n19,5,19,5\n",
    "object,kind,row,col,label,row_min,col_min,row_max,col_max\n1,point,19,5,19,5,1,,,,\n",
    'row,col\n"19,5","19,5"\n',
    "row;col\n19,5;19,5\n",
    "row\tcol\n19,5\t19,5\n",
)


@pytest.mark.parametrize("text", DECIMAL_COMMAS)
def test_decimal_commas_are_never_other_places(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(PromptError, match=r"line 2.*decimal point"):
        prompt_files.read_prompts(path)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lable", "label"), ("Label", "label"), ("obj", "object"), ("kinds", "kind"), ("rowmin", "")],
)
def test_an_unknown_column_is_an_error_and_never_left_out(tmp_path, typed, meant):
    path = tmp_path / "a.csv"
    path.write_text(f"row,col,{typed}\n1,2,0\n")
    with pytest.raises(PromptError, match=f"unknown column '{typed}'.*{meant}"):
        prompt_files.read_prompts(path)


def test_a_row_without_kind_is_all_that_is_filled(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "object,row,col,label,row_min,col_min,row_max,col_max\n"
        "1,10,20,1,5,5,50,50\n"
        "1,12,20,0,,,,\n"
        "2,,,,1,1,9,9\n"
    )
    assert prompt_files.read_prompts(path) == [
        {"id": 1, "points": [[10, 20], [12, 20]], "labels": [1, 0], "box": [5, 5, 50, 50]},
        {"id": 2, "box": [1, 1, 9, 9]},
    ]


HEADER = "object,kind,row,col,label,row_min,col_min,row_max,col_max\n"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1,point,1,2,1,5,5,9,9", "a point has no row_min"),
        ("1,box,1,2,,5,5,9,9", "a box has no row"),
        ("1,box,,,0,5,5,9,9", "a box is foreground"),
        ("1,,,,1,,,,", "neither a point nor a box"),
        ("1,,,,,,,,", "neither a point nor a box"),
        ("1,point,,,,,,,", "neither a point nor a box"),
        ("1,point,1,,,,,,", "col must be a number"),
        ("1,,,,,5,5,9,", "col_max must be a number"),
        ("1,point,1,2", "4 cells under 9 columns"),
        ("1,point,1,2,1,,,,,", "10 cells under 9 columns"),
        ("1,point,1_0,2,1,,,,", "row must be a number"),
        ("1,point,\u0661,2,1,,,,", "row must be a number"),
        ("1,point,1e999,2,1,,,,", "row must be a number"),
        ("1,point,nan,2,1,,,,", "row must be a number"),
        ("1,point,0x1,2,1,,,,", "row must be a number"),
        ("1,point,1,2,0.5,,,,", "label is 1"),
        (",point,1,2,1,,,,", "object must be a number"),
        ("5000000000,point,1,2,1,,,,", "whole number from 1"),
        ('1,point,"1,2,1,,,,', "unexpected end of data"),
        ('1,point,"1"x,2,1,,,,', "expected after"),
    ],
)
def test_a_row_that_is_not_clear_is_an_error_with_its_line(tmp_path, row, says):
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n{row}\n", "utf-8")
    with pytest.raises(PromptError, match=f"a.csv, line 3.*{says}"):
        prompt_files.read_prompts(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("row,col,row\n1,2,3\n", "'row' is there twice"),
        (",row,col\n0,1,2\n", "column 1 has no name"),
        ("index,axis-0,axis-1,label\n0,1,2,0\n", "'label'"),
        ("index,axis-0,axis-1\n0,1,2\n0,5,6\n", "line 3: index 0 is there twice"),
        ("axis-0,axis-1\n1,2\n", "lacks the column index"),
    ],
)
def test_a_header_that_is_not_clear_is_an_error(tmp_path, text, says):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(PromptError, match=says):
        prompt_files.read_prompts(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_what_spreadsheets_save_is_read(tmp_path, delimiter, encoding):
    text = "\r\n".join(["row,col,label,", "10.5,20,1,", "12,22,0,", ",,,", ""])
    content = text.replace(",", delimiter).encode(encoding)
    if encoding[-2:] in ("le", "be"):
        content = "\ufeff".encode(encoding) + content
    (tmp_path / "a.csv").write_bytes(content)
    assert prompt_files.read_prompts(tmp_path / "a.csv") == [
        {"id": 1, "points": [[10.5, 20]], "labels": [1]},
        {"id": 2, "points": [[12, 22]], "labels": [0]},
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("row,col\n1,2\n1,2\xb5\n".encode("latin-1"), "line 3 is not UTF-8"),
        ("row,col\n1,2\n".encode("utf-16-le"), "no text"),
        (b"\xff\xfer\x00\x00\xd8", "not UTF-16"),
        (b"PK\x03\x04\x00\x00row,col", "no text"),
    ],
)
def test_other_encodings_are_refused_with_what_to_do(tmp_path, content, says):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(PromptError, match=f"{says}.*save it as CSV UTF-8"):
        prompt_files.read_prompts(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"points": ["19"]}]', r"'19' is not \[row, col\]"),
        ('[{"box": "0139"}]', r"'0139' is not \[row_min"),
        ('[{"points": "12"}]', "points is a list"),
        ('[{"points": {"1": 2}}]', "points is a list"),
        ('[{"points": [["1", "2"]]}]', "is not"),
        ('[{"points": [[true, 2]]}]', "is not"),
        ('[{"points": [[1, null]]}]', "is not"),
        ('[{"points": [1, 2]}]', "1 is not"),
        ('[{"points": [[1, 2, 3]]}]', "is not"),
        ('[{"points": [[[1], 2]]}]', "is not"),
        ('[{"points": [[NaN, 2]]}]', "NaN is no number"),
        ('[{"points": [[1e400, 2]]}]', "is too large"),
        pytest.param(f'[{{"points": [[1{"0" * 400}, 2]]}}]', "is too large", id="400 digits"),
        ('[{"points": [[1, 2]], "labels": [true]}]', "labels must be 1 or 0"),
        ('[{"points": [[1, 2]], "labels": [0.0]}]', "labels must be 1 or 0"),
        ('[{"points": [[1, 2]], "labels": [[1]]}]', "labels must be 1 or 0"),
        ('[{"points": [[1, 2]], "labels": "1"}]', "labels must be 1 or 0"),
        ('[{"points": [[1, 2]], "labels": []}]', "one for each point"),
        ('[{"box": [0,0,1,1], "labels": [0]}]', "one for each point"),
        ('[{"box": [0,0,1,1], "box": [5,5,9,9]}]', "twice"),
        ('[{"box": [0,0,1,1], "lables": [1]}]', "'lables'.*'labels'"),
        ('[{"id": true, "box": [0,0,1,1]}]', "id is a label"),
        ('[{"id": 1.0, "box": [0,0,1,1]}]', "id is a label"),
        ('[{"id": "1", "box": [0,0,1,1]}]', "id is a label"),
        ('[{"id": 99999999999, "box": [0,0,1,1]}]', "id is a label"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
        ('["a", 1]', "list of objects"),
        ('\udcff[{"box": [0,0,1,1]}]', "not JSON"),
    ],
)
def test_json_of_other_shapes_is_an_error_and_never_other_numbers(tmp_path, text, says):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(PromptError, match=f"a.json.*{says}"):
        prompt_files.read_prompts(path)


@pytest.mark.parametrize("option", ["1_0,2", "0x1,2", "\u0661,2", "infinity,1", "1e999,2", " ,2"])
def test_numbers_of_options_are_written_as_usual(option):
    with pytest.raises(PromptError, match="--point takes"):
        prompt_files.from_options([option], [], [], False)


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
