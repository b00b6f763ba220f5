from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segment_anything.engine import Prompts, Window
from napari_segment_anything.errors import PromptError

numbers = st.floats(-1e4, 1e4, width=32)


@st.composite
def objects(draw, shape=(2, 3)):
    item = {}
    count = draw(st.integers(0, 4))
    if count:
        item["points"] = draw(hnp.arrays(np.float32, (count, 2), elements=numbers))
        item["labels"] = draw(hnp.arrays(np.int8, count, elements=st.integers(0, 1)))
    if draw(st.booleans()):
        corner = draw(hnp.arrays(np.float32, 2, elements=numbers))
        item["box"] = np.concatenate([corner, corner + np.float32(10)])
    if not item or draw(st.booleans()):
        item["mask"] = draw(hnp.arrays(np.float32, shape, elements=numbers))
    return item


@given(st.lists(objects(), max_size=5))
@settings(deadline=None)
def test_objects_come_back_as_they_were_given(items):
    prompts = Prompts.from_objects(items)
    assert len(prompts) == len(items)
    for given_, found in zip(items, prompts.objects(), strict=True):
        assert given_.keys() == found.keys()
        for key, value in given_.items():
            np.testing.assert_array_equal(value, found[key])


@given(st.lists(objects(), max_size=4))
@settings(deadline=None)
def test_json_round_trip(items):
    prompts = Prompts.from_objects(items)
    assert Prompts.from_dict(json.loads(json.dumps(prompts.to_dict()))) == prompts


@given(st.lists(objects(), min_size=1, max_size=4))
@settings(deadline=None)
def test_indexing_and_joining(items):
    prompts = Prompts.from_objects(items)
    assert Prompts.concatenate(list(prompts)) == prompts
    assert Prompts.concatenate([prompts[1:], prompts[0]])[-1] == prompts[0]
    with pytest.raises(IndexError):
        prompts[len(items)]


def test_ragged_points_are_padded():
    prompts = Prompts.from_objects([{"points": [[1, 2]]}, {"points": [[3, 4], [5, 6]]}])
    assert prompts.points.shape == (2, 2, 2)
    assert prompts.labels.tolist() == [[1, -1], [1, 1]]
    assert prompts.point_counts.tolist() == [1, 2]
    assert prompts.points.dtype == np.float32
    assert prompts.labels.dtype == np.int8


def test_short_forms():
    assert Prompts.from_points((3, 4)) == Prompts.from_points([[3, 4]], [1])
    assert Prompts.from_boxes((1, 2, 3, 4)) == Prompts.from_boxes([[1, 2, 3, 4]])
    assert len(Prompts.each_point([[1, 2], [3, 4]])) == 2
    assert len(Prompts.from_boxes(np.zeros((0, 4)))) == 0


def test_arrays_cannot_be_changed_from_outside():
    points = np.array([[1.0, 2.0]], np.float32)
    prompts = Prompts.each_point(points)
    points[:] = 9
    assert prompts.points[0, 0].tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        prompts.points[0] = 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prompts.from_points([[1, np.nan]]), "point 0 of object 0 is not finite"),
        (lambda: Prompts.from_points([[1, 2]], [2]), "label 2"),
        (lambda: Prompts.from_points([[1, 2]], [-1]), "labels are 1"),
        (lambda: Prompts.from_points([[1, 2]], [0.5]), "labels are 1"),
        (lambda: Prompts.from_points([[1, 2]], [np.nan]), "labels are 1"),
        (lambda: Prompts.from_points([[1, 2]], [1, 0]), "1 points and 2 labels"),
        (lambda: Prompts.from_points([[1, 2, 3]]), "shape"),
        (lambda: Prompts.from_points([]), "no prompt"),
        (lambda: Prompts.from_points("ab"), "numbers"),
        (lambda: Prompts.from_objects([{"points": [[1, 2]]}, {}]), "object 1 has no prompt"),
        (lambda: Prompts.from_objects([{"point": [1, 2]}]), "known are points"),
        (lambda: Prompts.from_boxes([[0, 0, 5, 5], [5, 5, 5, 9]]), "object 1 has no area"),
        (lambda: Prompts.from_boxes([[5, 5, 1, 9]]), "min < max"),
        (lambda: Prompts.from_boxes([[0, 0, np.nan, 5]]), "NaN"),
        (lambda: Prompts.from_boxes([[0, 0, np.inf, 5]]), "not finite"),
        (lambda: Prompts.from_boxes([[0, 0, 5]]), "shape"),
        (lambda: Prompts.each_point([1, 2]), "shape"),
        (lambda: Prompts.from_objects([{"mask": np.ones((4, 4), bool)}]), "mask_logits"),
        (lambda: Prompts.from_objects([{"mask": np.full((4, 4), np.inf)}]), "not finite"),
        (lambda: Prompts.from_objects([{"mask": np.ones(4)}]), "shape"),
        (
            lambda: Prompts.from_objects([{"mask": np.ones((4, 4))}, {"mask": np.ones((2, 2))}]),
            "one shape",
        ),
        (lambda: Prompts.from_points([[1, 2]]).with_masks(np.ones((2, 4, 4))), "shape"),
        (lambda: Prompts.from_dict({}), "cannot be read"),
        (lambda: Prompts.from_dict({"objects": [{"mask": {"shape": [2, 2]}}]}), "cannot be read"),
    ],
)
def test_errors_say_what_is_wrong(make, message):
    with pytest.raises(PromptError, match=message):
        make()


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (
            Prompts.each_point([[5, 5], [20, 5]]),
            "point 0 of object 1 at .row 20.*rows run.*0 to 19",
        ),
        (Prompts.each_point([[5, 29.6]]), "columns from 0 to 29"),
        (Prompts.each_point([[-0.6, 5]]), "outside the image"),
        (Prompts.from_boxes([[1, 1, 20.5, 5]]), "box of object 0"),
        (Prompts.from_points([[1, 2], [3, 4]], [0, 0]), "only negative"),
    ],
)
def test_prompts_outside_the_image(prompts, message):
    with pytest.raises(PromptError, match=message):
        prompts.check(Window(0, 0, 20, 30), (20, 30))


def test_prompts_outside_the_window():
    prompts = Prompts.each_point([[5, 5]])
    prompts.check(Window(5, 5, 1, 1), (20, 30))
    with pytest.raises(PromptError, match="outside the window, whose rows run from 6 to 9"):
        prompts.check(Window(6, 0, 4, 30), (20, 30))


def test_the_last_pixel_and_the_far_edge_are_inside():
    Prompts.each_point([[-0.5, -0.5], [19.5, 29.5]]).check(Window(0, 0, 20, 30), (20, 30))
    Prompts.from_boxes([[-0.5, 0, 20, 30]]).check(Window(0, 0, 20, 30), (20, 30))
    negative_in_a_box = {"points": [[3, 3]], "labels": [0], "box": [1, 1, 9, 9]}
    Prompts.from_objects([negative_in_a_box]).check(Window(0, 0, 20, 30), (20, 30))
