"""Words and examples by detectors and by models that compare images with words, end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.engine import PlaneSource, Prompts, Segmenter, Window
from napari_segment_anything.finding import describe_objects, load_finder
from napari_segment_anything.finding.by_detector import DetectorFinder
from napari_segment_anything.finding.by_likeness import LikenessFinder
from napari_segment_anything.finding.choosing import choose_finder
from napari_segment_anything.finding.query import Query
from napari_segment_anything.finding.views import read_rgb
from napari_segment_anything.progress import finish

from ..families import tiny_finders as tiny
from ..families.tiny import tiny_sam2
from .spots import GRID, spots


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return {
        name: make(tmp_path_factory.mktemp(name))
        for name, make in (
            ("clip", tiny.tiny_clip),
            ("owlv2", tiny.tiny_owlv2),
            ("grounding-dino", tiny.tiny_grounding_dino),
        )
    }


@pytest.fixture(scope="module")
def spotted() -> tuple[np.ndarray, list]:
    return spots()


@pytest.mark.parametrize("kind", ["owlv2", "grounding-dino"])
def test_boxes_for_words_prompt_the_model_that_segments(folders, predictor, spotted, kind) -> None:
    image, _ = spotted
    finder = load_finder(folders[kind], "cpu")
    table = nsa.find(
        image, "disk", predictor.model, finder=finder, likeness_thresh=0, box_nms_thresh=1
    )
    assert set(table.sources) == {kind} and table.parameters["finder"] == kind
    assert table.parameters["words"] == "disk"
    search = DetectorFinder(finder)
    found = search._boxes([finder.read_words("disk")], PlaneSource(image), Window.full(image.shape))
    assert (found.boxes >= 0).all() and (found.boxes[:, 2] < image.shape[0]).all()
    segmented = Segmenter(predictor).segment(image, Prompts.from_boxes(found.boxes[:1]))[0]
    best = table.candidates
    assert best.likeness[0] == found.scores[0]
    assert best.predicted_iou[0] == pytest.approx(segmented.score, abs=1e-5)
    assert best.area[0] == segmented.mask.area


def test_a_detector_takes_examples_and_both(folders, predictor, spotted) -> None:
    image, masks = spotted
    for words in (None, "disk"):
        table = nsa.find(
            image, words, predictor.model, examples=masks[:2], finder=folders["owlv2"],
            likeness_thresh=0,
        )  # fmt: skip
        assert set(table.candidates.source) == {"example", "owlv2"}
        assert table.sources[:2] == ("example", "example")


def test_examples_in_a_large_plane_are_read_close_by(folders) -> None:
    search = DetectorFinder(load_finder(folders["owlv2"], "cpu"))
    box = np.array([480.0, 10, 490, 30])
    window = search._around(box, (500, 900))
    assert window.shape == (64, 64)
    assert window.row <= 480 and window.row + window.height <= 500 and window.col == 0
    assert search._around(np.array([10.0, 10, 210, 60]), (500, 900)).shape == (201, 201)
    assert search._around(box, (100, 120)) == Window(0, 0, 100, 120)


def test_masks_of_everything_mode_are_ranked_by_words(folders, predictor, spotted) -> None:
    image, _ = spotted
    finder = load_finder(folders["clip"], "cpu")
    options = {"likeness_thresh": 0.05, **GRID}
    table = nsa.find(image, "disk", predictor.model, finder=finder, **options)
    assert len(table) and set(table.sources) == {"clip"}
    assert ((table.scores > 0) & (table.scores < 1)).all()
    # the likeness of one mask, step by step
    search = LikenessFinder(finder, 128)
    words = finder.embed_words(["disk", *search.against])
    crops = search._crops(read_rgb(PlaneSource(image), Window.full(image.shape)), table.masks[0])
    assert len(crops) == 6
    mean = finder.embed_images(crops).mean(0, keepdim=True)
    mean = mean / mean.norm()
    assert finder.probabilities(mean, words)[0, 0] == pytest.approx(table.scores[0], abs=1e-4)
    other = nsa.find(
        image, "disk", predictor.model, finder=finder, background="blank", crop_scales=[1.5],
        against=["noise"], **options,
    )  # fmt: skip
    assert other.parameters["background"] == "blank"
    assert len(other.candidates) != len(table.candidates) or not np.array_equal(
        other.candidates.likeness, table.candidates.likeness
    )


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("clip", {"examples": [[1, 1, 9, 9]]}, "clip finds by words, not by examples"),
        ("grounding-dino", {"examples": [[1, 1, 9, 9]]}, "grounding-dino finds by words"),
        ("owlv2", {"words": "x", "points_per_side": 4}, "no effect with the finder 'owlv2'"),
        ("owlv2", {"words": "x", "background": "keep"}, "no effect with the finder 'owlv2'"),
        ("clip", {"words": "x", "crop_scales": [99]}, "crop_scales are numbers"),
        ("clip", {"words": "x", "against": "y"}, "against is a list"),
        ("clip", {"words": "x", "against": []}, "against needs words"),
        ("clip", {"words": "x", "background": "green"}, "background must be one of"),
    ],
)
def test_what_a_finder_cannot_do_is_said(
    folders, predictor, spotted, kind, arguments, message
) -> None:
    with pytest.raises(nsa.ParameterError, match=message):
        nsa.find(spotted[0], model=predictor.model, finder=folders[kind], **arguments)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("default", "does not find by words"),
        ("no_such_finder", "there is no model named"),
        (Path("/nowhere"), "there is no file"),
    ],
)
def test_what_is_no_finder_is_named(source, message) -> None:
    with pytest.raises(nsa.CheckpointError, match=message):
        load_finder(source, "cpu")


def test_the_first_finder_on_this_machine_answers_words(
    folders, predictor, spotted, monkeypatch
) -> None:
    from napari_segment_anything.finding import choosing

    monkeypatch.setattr(choosing, "finder_here", lambda needs: str(folders["owlv2"]))
    assert choose_finder(Query("disk"), predictor.model).name == "owlv2"
    monkeypatch.setattr(choosing, "finder_here", lambda needs: None)
    with pytest.raises(nsa.ParameterError, match="download"):
        choose_finder(Query("disk"), predictor.model)
    assert choose_finder(Query("", ((1, 1, 9, 9),)), predictor.model).name == "own features"
    with pytest.raises(nsa.ParameterError, match="finder is the name"):
        choose_finder(Query("disk"), predictor.model, finder=3)


def test_a_search_by_words_can_be_stopped(folders, predictor, spotted) -> None:
    steps = nsa.find_steps(spotted[0], "disk", predictor.model, finder=folders["clip"], **GRID)
    next(steps)
    steps.close()
    assert finish(nsa.find_steps(
        spotted[0], "disk", predictor.model, finder=folders["clip"], **GRID
    )).mode == "find"  # fmt: skip


@pytest.mark.slow
def test_a_model_of_another_family_finds_by_its_own_features(tmp_path, spotted) -> None:
    image, masks = spotted
    model = nsa.load_model(tiny_sam2(tmp_path / "sam2"), device="cpu")
    predictor = nsa.Predictor(model)
    described = finish(describe_objects(masks, PlaneSource(image), predictor))
    channels = predictor.embed(image).features.shape[1]
    assert channels != 256 and described.embedding.shape == (len(masks), channels)
    table = nsa.find(image, model=model, examples=masks[:1], points_per_side=3)
    assert table.sources[0] == "example"
