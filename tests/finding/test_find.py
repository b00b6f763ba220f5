"""All instances of a concept in an image: the table, examples, filters, tiles."""

from __future__ import annotations

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.automatic.grid import ImageCrop
from napari_segment_anything.engine import PlaneSource, Window
from napari_segment_anything.finding import Sightings
from napari_segment_anything.finding.run import inner_point
from napari_segment_anything.finding.views import plan_views
from napari_segment_anything.formats.records import to_sa1b
from napari_segment_anything.formats.rle import encode
from napari_segment_anything.progress import Progress, finish

from .spots import GRID, spots

EVERYTHING = {"mode": "grid", "points_per_side": 8}


class Bright:
    """Finds bright spots, as a stand-in for a model that understands everything."""

    name, takes, threshold, frame = "bright", frozenset({"words", "examples"}), 0.5, 128
    elsewhere = True

    def learn(self, query, masks, source, predictor):
        yield Progress(0, 1, message="learning")
        return query, masks

    def look(self, learned, source, predictor, window):
        from skimage.measure import label

        yield Progress(0, 1, message="thinking")
        pixels = source.read((), window)[..., 0]
        labels = label(pixels > 60)
        masks = [encode(labels == i).place((window.row, window.col), source.shape)
                 for i in range(1, labels.max() + 1)]  # fmt: skip
        light = [float(pixels[labels == i].mean()) / 255 for i in range(1, labels.max() + 1)]
        nothing = np.full(len(masks), np.nan, np.float32)
        return Sightings(tuple(masks), np.array(light, np.float32), nothing, nothing)


def test_examples_are_found_with_others_like_them(predictor) -> None:
    image, masks = spots()
    table = nsa.find(image, examples=[masks[0]], model=predictor.model, predictor=predictor, **GRID)
    assert table.mode == "find"
    assert table.sources[0] == "example" and table.scores[0] == 1
    assert set(table.sources[1:]) <= {"own features"}
    assert (np.diff(table.scores) <= 0).all()
    loose = table.refilter(likeness_thresh=0.05)
    assert len(loose) > len(table)
    assert loose.to_labels("score").shape == image.shape
    record = table.to_records()[0]
    assert record["likeness"] == 1 and record["source"] == "example"
    features = table.features("score")
    assert list(features["source"])[:1] == ["example"]
    assert "likeness" in features and table.parameters["finder"] == "own features"
    entry = to_sa1b(table.image_records("x"))["annotations"][0]
    assert entry["napari_segment_anything"] == {"likeness": 1.0, "source": "example"}
    assert "predicted_iou" not in entry  # the model did not score it


@pytest.mark.parametrize("form", ["box", "mask", "labels", "placed"])
def test_an_example_may_be_a_box_a_mask_or_a_label_image(predictor, form) -> None:
    image, masks = spots()
    whole = masks[0].within(Window.full(image.shape))
    examples = {
        "box": [masks[0].window.box],
        "mask": whole,
        "labels": whole.astype(np.uint16) * 7,
        "placed": masks[0],
    }[form]
    table = nsa.find(image, examples=examples, model=predictor.model, finder=Bright())
    assert table.sources.count("example") == 1
    found = table.masks[table.sources.index("example")].decode()
    assert (found & whole).sum() > 0.9 * whole.sum()


def test_words_reach_the_finder_and_progress_shows_what_there_is(predictor) -> None:
    image, masks = spots()
    steps = nsa.find_steps(image, " disk ", predictor.model, finder=Bright())
    said = {step.message: len(step.partial()) for step in steps}
    assert said == {"learning": 0, "looking with bright": 0, "thinking": 0}
    table = nsa.find(image, "disk", predictor.model, finder=Bright())
    assert len(table) == len(masks) // 2  # the dim ones are below its threshold
    assert len(table.refilter(likeness_thresh=0.2)) == len(masks)
    assert table.counts()["likeness"] == len(masks) // 2


def test_a_large_image_is_looked_at_in_tiles_and_nothing_is_found_twice(predictor) -> None:
    image, masks = spots((300, 428))
    table = nsa.find(
        image, "disk", predictor.model, finder=Bright(), likeness_thresh=0.2, overlap=64
    )
    assert len(table.candidates.crops) > 5
    assert len(table) == len(masks) < len(table.candidates)
    for mask, point in zip(table.masks, table.candidates.point[table.kept], strict=True):
        assert mask.decode()[tuple(point.astype(int))]


def test_views_cover_the_plane() -> None:
    assert plan_views((200, 256), 128) == (ImageCrop(0, 0, 200, 256, 0),)
    views = plan_views((300, 300), 128)
    assert views[0].layer == 0 and {view.layer for view in views[1:]} == {1}
    seen = np.zeros((300, 300), int)
    for view in views[1:]:
        seen[view.row : view.row + view.height, view.col : view.col + view.width] += 1
    assert seen.min() == 1 and seen.max() > 1
    assert all(view.layer == 1 for view in plan_views((300, 2000), 128))
    assert len(plan_views((200, 200), 128, tile=100)) > 1


def test_a_point_lies_inside_its_mask() -> None:
    ring = np.zeros((20, 30), bool)
    ring[3:17, 5:25] = True
    ring[6:14, 8:22] = False
    assert ring[inner_point(encode(ring))]
    assert inner_point(encode(np.ones((1, 1), bool))) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "say what to look for"),
        ({"words": "  "}, "say what to look for"),
        ({"words": 3}, "words are one text"),
        ({"examples": [[1, 2, 3]]}, "an example is a box"),
        ({"examples": [[50, 50, 40, 60]]}, "an example box is"),
        ({"examples": [[500, 500, 540, 560]]}, "an example box is"),
        ({"examples": [np.zeros((96, 128), bool)]}, "holds no pixel"),
        ({"examples": "cells"}, "cells does not exist"),
        ({"words": "x", "likeness_thresh": 2}, "likeness_thresh must be between"),
        ({"words": "x", "min_area": 9, "max_area": 3}, "min_area=9 is above"),
        ({"words": "x", "likenes": 2}, "did you mean 'likeness_thresh'"),
        ({"words": "x", "tile": 3}, "tile must be"),
    ],
)
def test_one_clear_error(predictor, arguments, message) -> None:
    image, _ = spots()
    finder = None if "examples" in arguments or not arguments.get("words") else Bright()
    with pytest.raises(nsa.SegmentAnythingError, match=message):
        nsa.find(image, model=predictor.model, finder=finder, **arguments)


def test_colour_channels_and_planes(predictor) -> None:
    image, masks = spots()
    colour = np.repeat(image[..., None], 3, 2)
    for given, options in (
        (colour, {}),
        (np.stack([image, image]), {"channel_axis": 0}),
        (PlaneSource(image), {}),
    ):
        table = nsa.find(given, "disk", predictor.model, finder=Bright(), **options)
        assert len(table) == len(masks) // 2
    with pytest.raises(nsa.ImageError, match="channel_axis"):
        nsa.find(np.stack([image] * 5), "disk", predictor.model, finder=Bright())


def test_a_cancelled_search_ends(predictor) -> None:
    def stop(step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(nsa.find_steps(spots()[0], "disk", predictor.model, finder=Bright()), stop)


def test_no_view_is_encoded_twice(predictor, monkeypatch) -> None:
    image, masks = spots()
    encoded = []
    encode = type(predictor.model).encode
    monkeypatch.setattr(
        type(predictor.model), "encode", lambda *a, **k: encoded.append(1) or encode(*a, **k)
    )
    nsa.find(image, model=predictor.model, examples=[masks[0]], **GRID)
    assert len(encoded) == 1


def test_examples_in_one_image_are_looked_for_in_another(predictor) -> None:
    image, masks = spots()
    other, _ = spots(seed=1)
    options = {"model": predictor.model, "predictor": predictor}
    finder = Bright()
    steps = nsa.learn_concept_steps(image, examples=masks[:1], finder=finder, **options)
    concept = finish(steps)
    here = finish(nsa.find_steps(image, concept=concept, **options))
    there = finish(nsa.find_steps(other, concept=concept.elsewhere, **options))
    assert here.sources[0] == "example" and set(there.sources) == {"bright"}
    with pytest.raises(nsa.ParameterError, match="of its own"):
        finish(nsa.find_steps(other, "disk", concept=concept, **options))
    finder.elsewhere = False
    steps = nsa.learn_concept_steps(image, examples=masks[:1], finder=finder, **options)
    with pytest.raises(nsa.ParameterError, match="only in their own plane"):
        finish(steps)
    steps = nsa.learn_concept_steps(image, "disk", examples=masks[:1], finder=finder, **options)
    assert finish(steps).elsewhere.learned is None  # learned from words alone, in each image
