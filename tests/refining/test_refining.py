"""Boxes, masks and labels of other programs become prompts, and are compared with the result."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import napari_segment_anything as nsa
from napari_segment_anything.engine import PlacedMask
from napari_segment_anything.errors import ParameterError, PromptError
from napari_segment_anything.formats import create_labels, encode, open_labels, write_labels
from napari_segment_anything.measures import average_precision, otsu_watershed, overlap_table
from napari_segment_anything.progress import finish
from napari_segment_anything.refining import refine_steps
from napari_segment_anything.refining.given import given_objects
from napari_segment_anything.refining.hints import hints

from ..tiny import tiny_model

SHAPE = (128, 128)
BOXES = [[10, 20, 30, 44], [60, 70, 90, 95]]


@pytest.fixture(scope="module")
def model() -> nsa.Model:
    return tiny_model()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)


def squares() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint16)
    labels[11:31, 21:45] = 7
    labels[61:91, 71:96] = 300
    return labels


def given(source, shape=SHAPE, **options):
    return finish(given_objects(source, shape, **options))


def test_boxes_are_what_segmenter_makes_of_them(model, image) -> None:
    found = nsa.refine(image, BOXES, model)
    segmenter = nsa.Segmenter(nsa.Predictor(model))
    wanted = segmenter.segment(image, nsa.Prompts.from_boxes(BOXES))
    assert list(found.masks) == [each.mask for each in wanted]
    assert found.predicted_iou == pytest.approx([each.score for each in wanted])
    assert found.ids.tolist() == [1, 2]
    assert ((found.stability > 0) & (found.stability <= 1)).all()
    assert ((found.agreement > 0) & (found.agreement < 1)).all()


@pytest.mark.parametrize("prompt", ["auto", "box", "mask", "box+mask"])
def test_labels_keep_their_ids(model, image, prompt) -> None:
    found = nsa.refine(image, squares(), model, prompt=prompt)
    assert repr(found) == "<Refined: 2 objects on 128 x 128 pixels>"
    assert found.ids.tolist() == [7, 300]
    assert set(np.unique(found.to_labels())) == {0, 7, 300}
    assert found.before[1].mask.all()
    assert found.given.boxes.tolist() == [[10.5, 20.5, 30.5, 44.5], [60.5, 70.5, 90.5, 95.5]]
    records = found.image_records("a.tif")
    assert [each.id for each in records.records] == [7, 300]
    review = found.review()
    assert sorted(review["object"].tolist()) == [7, 300]
    assert (np.diff(review["doubt"]) <= 0).all()
    assert review["area_given"].tolist() in ([480, 750], [750, 480])


def test_detections_keep_classes_and_scores(model, image) -> None:
    mask = encode(np.ones((20, 24), bool))
    objects = [
        nsa.Detection(5, (9, 9, 30, 30), class_name="b", score=0.5),
        nsa.Detection(3, None, mask, (11, 21), class_name="a", score=0.25),
        nsa.Detection(4, (60, 60, 90, 90)),
    ]
    found = nsa.refine(image, objects, model)
    assert found.categories == ("a", "b", "object")
    kept = [(r.id, r.category, r.category_id, r.score) for r in found.image_records().records]
    assert kept[:2] == [(5, "b", 2, 0.5), (3, "a", 1, 0.25)]
    assert kept[2][:3] == (4, "", 3)
    assert found.before[1] == PlacedMask.of(np.ones((20, 24), bool), 11, 21)


def test_a_boolean_mask_is_its_connected_parts(image) -> None:
    assert given(squares() > 0).ids.tolist() == [1, 2]
    with pytest.warns(UserWarning, match="With components"):
        assert given((squares() > 0).astype(np.uint8)).ids.tolist() == [1]
    assert len(given((squares() > 0).astype(np.uint8), components=True)) == 2


def test_files(model, image, tmp_path) -> None:
    write_labels(tmp_path / "labels.tif", squares())
    assert given(tmp_path / "labels.tif").ids.tolist() == [7, 300]
    (tmp_path / "boxes.csv").write_text("x,y,width,height\n1,2,10,10\n")
    assert given(tmp_path / "boxes.csv").boxes.tolist() == [[2, 1, 12, 11]]


class Counted:
    """A lazy array that knows how much of it was in memory at once."""

    def __init__(self, array) -> None:
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.largest = 0

    def __getitem__(self, key):
        part = np.asarray(self.array[key])
        self.largest = max(self.largest, part.size)
        return part


@pytest.mark.slow
def test_a_large_image_is_read_window_by_window(model, tmp_path) -> None:
    side = 6000
    store = zarr.create_array(
        tmp_path / "a.zarr", shape=(side, side), chunks=(512, 512), dtype=np.uint8
    )
    labels = create_labels(tmp_path / "b.zarr", "cells", shape=(side, side), axes="YX")
    places = [(2040, 2040), (100, 5900), (5000, 300)]
    for number, (row, col) in enumerate(places, start=5):
        labels.array[row : row + 20, col : col + 30] = number  # the first across four blocks
        store[row : row + 20, col : col + 30] = 200
    finish(labels.build_pyramid())
    lazy = Counted(store)
    found = nsa.refine(lazy, tmp_path / "b.zarr", model, contrast_limits=(0, 255))
    assert found.ids.tolist() == [5, 6, 7]
    assert [mask.area for mask in found.before] == [600] * 3
    assert lazy.largest < side * side / 8
    made = create_labels(tmp_path / "c.zarr", shape=(side, side), axes="YX", dtype=found.dtype)
    finish(found.write_labels(made))
    again = open_labels(tmp_path / "c.zarr")
    assert again.complete
    for mask, number in zip(found.masks, found.ids, strict=True):
        rows, cols = mask.window.slices
        assert (again.array[rows, cols] == number).sum() == mask.area


def test_it_stops_where_it_is_closed(model, image) -> None:
    steps = refine_steps(image, squares(), model)
    messages = [next(steps).message for _ in range(3)]
    steps.close()
    assert messages[:2] == ["reading the image", "reading the objects"]


@pytest.mark.parametrize(
    ("objects", "options", "message"),
    [
        ([[10, 200, 30, 240]], {}, "box of object 1.*outside the image.*exchanged"),
        ([[10, 20, 10, 40]], {}, "object 1.*no area"),
        ([[np.nan, 20, 10, 40]], {}, "object 1.*no area"),
        (np.zeros((128, 127), int), {}, r"shape \(128, 127\).*\(128, 128\)"),
        (np.zeros((3, 5)), {}, r"boxes of the shape"),
        (np.zeros((0, 4)), {}, "no objects"),
        (np.zeros(SHAPE, int), {}, "labels are empty"),
        (np.full(SHAPE, -1), {}, "not be negative"),
        (np.zeros(SHAPE), {}, "labels are integers"),
        ([nsa.Detection(1, (0, 0, 9, 9))] * 2, {}, "two objects have the id 1"),
        ([nsa.Detection(1, None, encode(np.ones((9, 9), bool)), (125, 0))], {}, "mask of object 1"),
        (BOXES, {"components": True}, "components is for label images"),
        ([[1, 2], [3]], {}, "give labels"),
    ],
)
def test_objects_that_cannot_be_used(model, image, objects, options, message) -> None:
    with pytest.raises(PromptError, match=message):
        nsa.refine(image, objects, model, **options)
    with pytest.raises(ParameterError, match="prompt"):
        nsa.refine(image, BOXES, model, prompt="points")


def test_boxes_are_cut_at_the_edge() -> None:
    assert given([[-5, 100, 30, 131]]).boxes.tolist() == [[-0.5, 100, 30, 127.5]]


def body(top, left, height, width, keep=None):
    mask = np.ones((height, width), bool)
    if keep is not None:
        mask[:, keep:] = False
    return PlacedMask.of(mask, top, left)


def test_hints() -> None:
    left, right, whole = body(10, 10, 20, 10), body(10, 20, 20, 10), body(10, 10, 20, 20)
    nothing = PlacedMask.of(np.zeros((3, 3), bool))
    inner = body(12, 12, 16, 16)
    made = hints([left, right, whole, None, whole], [whole, right, left, nothing, inner])
    assert made[0].kind == "merge"
    assert 1 in made[0].others
    assert [each.kind for each in hints([whole], [left])] == ["split"]
    assert [each.kind for each in hints([whole], [inner])] == [""]  # a rim
    assert made[3].kind == "empty"
    assert [each.kind for each in hints([None, None], [whole, left])] == ["merge", ""]


def test_the_default_model_improves_a_threshold(default_model) -> None:
    sample = nsa.sample("nuclei")
    image, truth = np.asarray(sample.image)[:256, :256], sample.labels[:256, :256]
    labels = otsu_watershed(image)
    found = nsa.refine(image, labels, default_model)
    assert found.prompt == "mask"
    before, after = (
        average_precision(overlap_table(truth, each)).mean() for each in (labels, found.to_labels())
    )
    assert after > before + 0.1


@pytest.mark.slow
def test_models_of_other_families(image, tmp_path) -> None:
    pytest.importorskip("transformers")
    from ..families.tiny import tiny_sam2

    model = nsa.load_model(tiny_sam2(tmp_path / "sam2"))
    found = nsa.refine(image, squares(), model)
    assert found.ids.tolist() == [7, 300]
    assert np.isfinite(found.predicted_iou).all()
    with pytest.raises(PromptError, match="sam2 takes no words as prompts"):
        nsa.Prompts.from_words("a square", model)
