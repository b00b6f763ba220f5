"""Suggestions for the images of a project, the review queue, and similar objects in the series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_segment_anything.engine import Predictor
from napari_segment_anything.errors import ParameterError, ResourceError
from napari_segment_anything.finding import CandidatePool
from napari_segment_anything.formats.rle import encode
from napari_segment_anything.progress import finish
from napari_segment_anything.projects import Project, Suggestions
from napari_segment_anything.projects.layout import POOL
from napari_segment_anything.projects.review import ranked, review_queue, with_doubts, worth
from napari_segment_anything.projects.similar_series import (
    example_steps,
    kept_pool,
    similar_series_steps,
)
from napari_segment_anything.projects.suggesting import suggest_series_steps, suggest_steps
from napari_segment_anything.projects.suggestions import Suggestion
from tests.tiny import tiny_model

from ..finding.spots import GRID, spots, traits_of
from .test_suggestions import SHAPE, square


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(tiny_model())


@pytest.fixture
def series(tmp_path: Path) -> Project:
    """Three images of disks, 96 x 128 pixels: s0, s1, s2."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(3):
        Image.fromarray(spots(seed=number)[0]).save(raw / f"s{number}.png")
    return Project.create(tmp_path / "project", raw)


def run(project: Project, predictor: Predictor, **options):
    return finish(suggest_series_steps(project, predictor, **{**GRID, **options}))


@pytest.mark.slow
def test_series_is_done_once_and_anew_with_another_model(series, predictor) -> None:
    report = run(series, predictor)
    assert set(report.made) == {"s0", "s1", "s2"}
    first = series.image("s0").suggestions()
    assert len(first) == report.made["s0"] > 0
    assert {item.version for item in first} == {"default"}
    assert run(series, predictor).current == ("s0", "s1", "s2")
    with series.image("s0").lock() as editing:
        editing.set_suggestions(first.decide([first.items[0].id], "taken", {first.items[0].id: 1}))
    other = Predictor(tiny_model(seed=1))
    series.set_model("other")
    assert set(run(series, other).made) == {"s0", "s1", "s2"}
    after = series.image("s0").suggestions()
    assert after.items[0].status == "taken" and after.items[0].version == "default"
    assert {item.version for item in after if item.status == "open"} == {"other"}
    assert all("versions" in item.doubts for item in after if item.status == "open")


def test_stopped_run_goes_on_where_it_was(series, predictor) -> None:
    steps = suggest_series_steps(series, predictor, **GRID)
    keys = []
    for step in steps:
        if step.partial is not None:
            keys.append(step.partial)
            break
    steps.close()
    assert keys == ["s0"]
    report = run(series, predictor)
    assert report.current == ("s0",)
    assert set(report.made) == {"s1", "s2"}


def test_images_in_use_damaged_or_finished_are_left_out(series, predictor) -> None:
    Path(series.image("s2").path).write_bytes(b"no image")
    with series.image("s1").lock("Ada"):
        report = run(series, predictor)
        with pytest.raises(ResourceError, match="Ada"):
            finish(suggest_steps(series.image("s1"), predictor, "default", **GRID))
    assert set(report.made) == {"s0"}
    assert "Ada" in report.busy["s1"]
    assert set(report.failed) == {"s2"}
    with series.image("s1").lock() as editing:
        editing.set_state("complete")
        assert not run(series, predictor, keys=["s0"]).made
        done = finish(suggest_steps(series.image("s1"), predictor, "v", editing=editing, **GRID))
    assert len(done) == 0  # a person has looked everywhere


def test_no_suggestion_where_a_person_worked(series, predictor) -> None:
    image = series.image("s0")
    run(series, predictor, keys=["s0"])
    found = list(image.suggestions())
    labels = np.zeros(image.shape, np.int32)
    found[0].placed.paste(labels, 5)
    point = np.argwhere(found[1].mask.decode())[0]
    with image.lock() as editing:
        editing.write(labels=labels, complete_regions=[[0, 0, 96, 20]])
        editing.add_negatives([point])
    run(series, predictor, keys=["s0"], renew=True)
    after = image.suggestions()
    assert after.at(*np.argwhere(found[0].mask.decode())[0]) is None
    assert after.at(*point) is None
    assert not (after.painted()[:, :20] > 0).any()


def test_large_images_go_tile_by_tile(series, predictor, monkeypatch) -> None:
    monkeypatch.setattr("napari_segment_anything.projects.suggesting.LARGE_FRAMES", 0.5)
    image = series.image("s0")
    early = finish(similar_series_steps(series, traits_of(1), predictor, keys=["s0"]))
    assert "make suggestions" in early.failed["s0"]
    report = run(series, predictor, keys=["s0"])
    assert report.made["s0"] > 0
    assert all("seam" in item.doubts for item in image.suggestions())
    assert not list(image.folder.glob("*.zarr"))
    similar = finish(similar_series_steps(series, traits_of(1), predictor, keys=["s0"]))
    assert set(similar.made) == {"s0"}


def test_parameters_are_checked_before_the_first_image(series, predictor) -> None:
    with pytest.raises(ParameterError, match="points_per_sid"):
        finish(suggest_series_steps(series, predictor, mode="grid", points_per_sid=3))
    with pytest.raises(ParameterError, match="parameters of suggestions"):
        finish(suggest_series_steps(series, predictor, mode="grid", point_grids=[[0.5, 0.5]]))


def test_similar_objects_of_the_series(series, predictor) -> None:
    run(series, predictor)
    image = series.image("s0")
    labels = np.zeros(image.shape, np.int32)
    spots()[1][0].paste(labels, 3)
    with image.lock() as editing:
        editing.write(labels=labels)
    with pytest.raises(ParameterError, match="no object 4"):
        finish(example_steps(image, [4], predictor))
    examples = finish(example_steps(image, [3], predictor))
    before = len(image.suggestions())
    report = finish(similar_series_steps(series, examples, predictor))
    assert set(report.made) == {"s0", "s1", "s2"}
    after = series.image("s1").suggestions()
    assert {item.source for item in after} == {"everything", "similar"}
    assert len([i for i in image.suggestions() if i.source == "everything"]) == before
    again = finish(similar_series_steps(series, examples, predictor))
    assert again.made == report.made  # in place of the first ones


def test_candidates_are_found_again_if_their_file_is_damaged(series, predictor) -> None:
    run(series, predictor, keys=["s0"])
    image = series.image("s0")
    assert kept_pool(image, predictor.model.fingerprint) is not None
    assert kept_pool(image, "other") is None
    (image.folder / POOL).write_bytes(b"x")
    assert kept_pool(image, predictor.model.fingerprint) is None


@pytest.mark.slow
def test_an_image_that_has_changed_its_size_is_reported(series, predictor) -> None:
    run(series, predictor)
    Image.fromarray(spots((64, 64))[0]).save(series.image("s1").path)
    series = Project.open(series.folder)
    assert kept_pool(series.image("s1"), predictor.model.fingerprint) is None
    report = run(series, predictor, renew=True)
    assert set(report.made) == {"s0", "s2"}
    assert "is of shape (64, 64), its suggestions (96, 128)" in report.failed["s1"]


def suggestion(id: int, score: float, stability: float = 0.9, **doubts: float) -> Suggestion:
    return Suggestion(id, encode(np.eye(4)), score, score, stability, doubts=doubts)


def test_each_doubt_makes_a_look_more_worthwhile() -> None:
    usual = suggestion(1, 0.8, unlike=0.1, crops=0.1)
    doubtful = [
        suggestion(2, 0.5, unlike=0.1, crops=0.1),
        suggestion(3, 0.8, 0.5, unlike=0.1, crops=0.1),
        suggestion(4, 0.8, unlike=0.9, crops=0.1),
        suggestion(5, 0.8, unlike=0.1, crops=1.0),
        suggestion(6, 0.8, unlike=0.1, crops=0.1, versions=1.0),
        suggestion(7, 0.8, unlike=0.1, crops=0.1, seam=1.0),
    ]
    assert all(worth(item) > worth(usual) for item in doubtful)
    assert 0 < worth(suggestion(8, float("nan"), float("nan"))) < 1
    queue = ranked([("a", usual), *(("b", item) for item in doubtful)])
    assert queue[-1].id == 1
    reasons = {item.id: item.reasons for item in queue}
    assert reasons[1] == ()
    assert reasons[2] == ("low score",)
    assert reasons[3] == ("unstable outline",)
    assert reasons[4] == ("unlike the others",)


def test_the_odd_one_out_and_disagreeing_crops_are_noted() -> None:
    masks = [square(0, 0), square(0, 20), square(20, 0), square(1, 1)]
    size = np.array([5, 5, 8, 5], np.float32)
    scores = np.array([0.9, 0.9, 0.9, 0.8], np.float32)
    layer = np.array([0, 0, 0, 1], np.int16)
    pool = CandidatePool(SHAPE, tuple(masks), scores, scores, layer, traits_of(4, size=size), "f")
    made = with_doubts(Suggestions.from_masks(masks[:3], scores[:3], SHAPE), pool)
    assert made[3].doubts["unlike"] > made[1].doubts["unlike"] == made[2].doubts["unlike"]
    assert made[1].doubts["crops"] == pytest.approx(1 - 81 / 119)
    assert made[2].doubts["crops"] == 1
    assert "versions" not in made[1].doubts


def test_queue_of_a_project(series, predictor) -> None:
    run(series, predictor)
    queue = review_queue(series, threshold=0.0)
    total = sum(len(image.suggestions()) for image in series.images)
    assert len(queue) == total > 0
    assert [item.worth for item in queue] == sorted((i.worth for i in queue), reverse=True)
    first = queue[0]
    with series.image(first.key).lock() as editing:
        editing.set_suggestions(
            series.image(first.key).suggestions().decide([first.id], "rejected")
        )
    assert len(review_queue(series, threshold=0.0)) == total - 1
    assert {item.key for item in review_queue(series, threshold=0.0, keys=["s1"])} == {"s1"}
    assert not review_queue(series, threshold=1.0)
