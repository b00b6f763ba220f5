"""Running everything mode: refiltering, progress, cancelling, windows, batches."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_segment_anything.automatic import (
    CandidateTable,
    generate_candidates,
    segment_everything,
)
from napari_segment_anything.engine import Predictor, Window
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.progress import Progress

from ..tiny import IslandSam, tiny_model

LOW = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.3, "points_per_side": 6}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 255, (90, 130, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    return tiny_model(seed=2, kind=IslandSam)


@pytest.fixture(scope="module")
def everything(image, model) -> CandidateTable:
    """All candidates of one image and its crops, kept down to nothing."""
    return segment_everything(
        image, model, "grid", points_per_side=5, crop_n_layers=1, pred_iou_thresh=0.7,
        stability_score_thresh=0.6, pred_iou_floor=0, stability_score_floor=0,
    )  # fmt: skip


def same(a: CandidateTable, b: CandidateTable) -> bool:
    rows = [t.to_records("coco_rle") for t in (a, b)]
    return rows[0] == rows[1]


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "pred_iou_thresh": st.floats(0, 1),
            "stability_score_thresh": st.floats(0, 1),
            "box_nms_thresh": st.floats(0, 1),
            "crop_nms_thresh": st.floats(0, 1),
            "min_mask_region_area": st.integers(0, 200),
            "min_area": st.integers(0, 300),
            "max_area": st.integers(300, 2000),
            "nms": st.sampled_from(["box", "mask"]),
        },
    )
)
def test_refiltering_equals_a_fresh_run(image, model, everything, thresholds) -> None:
    given = {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.6} | thresholds
    fresh = segment_everything(image, model, "grid", points_per_side=5, crop_n_layers=1, **given)
    again = everything.refilter(**thresholds)
    assert same(again, fresh)
    assert np.array_equal(again.reason, fresh.reason)
    assert sum(again.counts().values()) == len(again.candidates) == 5 * 25 * 3
    assert again.counts()["kept"] == len(again)
    assert same(again.refilter(**{name: getattr(everything.filters, name) for name in thresholds}),
                everything)  # fmt: skip


def test_refiltering_below_the_floor_says_what_to_do(image, model) -> None:
    table = segment_everything(image, model, "grid", **LOW, pred_iou_floor=0.4)
    assert len(table.refilter(pred_iou_thresh=0.4)) >= len(table)
    with pytest.raises(ParameterError, match="lower pred_iou_floor"):
        table.refilter(pred_iou_thresh=0.3)
    with pytest.raises(ParameterError, match="needs a new run"):
        table.refilter(points_per_side=3)
    with pytest.raises(ParameterError, match="box_nms_thresh"):
        table.refilter(box_nms_tresh=0.3)


def test_each_candidate_says_why_it_went(everything) -> None:
    candidates, filters = everything.candidates, everything.filters
    low = candidates.predicted_iou <= filters.pred_iou_thresh
    assert np.array_equal(everything.reason == 1, low)
    counts = everything.refilter(
        min_area=100, max_area=1900, box_nms_thresh=0.3, crop_nms_thresh=0.1
    ).counts()
    for name in ("kept", "pred_iou", "crop_edge", "nms", "crop_nms", "too_small", "too_large"):
        assert counts[name] > 0, name


@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
def test_the_batch_size_changes_nothing(image, model, step: int) -> None:
    ours = segment_everything(image, model, "grid", points_per_batch=step, **LOW)
    whole = segment_everything(image, model, "grid", points_per_batch=36, **LOW)
    assert np.array_equal(ours.to_labels(), whole.to_labels())


@pytest.mark.slow
def test_progress_rises_to_its_total_and_shows_what_there_is(image, model) -> None:
    steps: list[Progress] = []
    run = generate_candidates(
        image, model, mode="grid", points_per_batch=10, crop_n_layers=1, **LOW
    )
    sizes = []
    try:
        while True:
            steps.append(next(run))
            if steps[-1].partial is not None:
                sizes.append(len(steps[-1].partial().candidates))
    except StopIteration as stop:
        table = stop.value
    done = [s.done for s in steps]
    assert done == sorted(done)
    assert steps[-1].done == steps[-1].total == 36 * 5
    assert {s.total for s in steps[1:]} == {180}
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(table.candidates)


def test_closing_the_generator_frees_everything(image, model) -> None:
    run = generate_candidates(image, model, mode="grid", points_per_batch=5, **LOW)
    next(run)
    partial = next(run).partial
    features = weakref.ref(run.gi_frame.f_locals["whole"].features)
    assert len(partial()) >= 0
    del partial
    run.close()
    gc.collect()
    assert features() is None


def test_an_exception_in_the_callback_cancels(image, model) -> None:
    class Stop(Exception):
        pass

    def stop(step: Progress) -> None:
        if step.done >= 10:
            raise Stop

    with pytest.raises(Stop):
        segment_everything(image, model, "grid", stop, points_per_batch=5, **LOW)


@pytest.mark.slow
def test_a_window_is_segmented_as_if_it_were_the_image(image, model) -> None:
    window = Window(20, 30, 60, 70)
    ours = segment_everything(image, model, "grid", window=window, crop_n_layers=1, **LOW)
    cut = segment_everything(image[window.slices], model, "grid", crop_n_layers=1, **LOW)
    assert ours.origin == (20, 30)
    assert ours.shape == (60, 70)
    assert np.array_equal(ours.to_labels(), cut.to_labels())
    np.testing.assert_allclose(ours.candidates.point, cut.candidates.point)


def test_crops_use_the_contrast_limits_of_the_whole(model) -> None:
    ramp = np.linspace(0, 5000, 80 * 100).reshape(80, 100).astype(np.float32)
    seen = []

    class Spy(Predictor):
        def embed(self, *args, **options):
            embedding = super().embed(*args, **options)
            seen.append(embedding.limits)
            return embedding

    segment_everything(ramp, model, "grid", predictor=Spy(model), crop_n_layers=1, **LOW)
    assert len(seen) == 5
    assert len(set(seen)) == 1


def test_image_options_reach_the_image(model) -> None:
    stack = np.random.default_rng(0).integers(0, 4000, (4, 60, 70), np.uint16)
    given = LOW | {"channels": [2], "contrast_limits": (0, 4000)}
    ours = segment_everything(stack, model, "grid", channel_axis=0, **given)
    plain = segment_everything(stack[2], model, "grid", contrast_limits=(0, 4000), **LOW)
    assert np.array_equal(ours.to_labels(), plain.to_labels())


def test_an_own_grid_is_x_y_as_published(image, model) -> None:
    grids = [np.array([[0.1, 0.5], [0.9, 0.25]])]
    table = segment_everything(image, model, "grid", point_grids=grids, pred_iou_thresh=0.0)
    rows, cols = image.shape[:2]
    expected = [[0.5 * rows, 0.1 * cols], [0.25 * rows, 0.9 * cols]]
    np.testing.assert_allclose(table.candidates.point[::3], expected)
    assert table.candidates.output.tolist() == [0, 1, 2, 0, 1, 2]


def test_tiny_images_do_not_fail(model) -> None:
    image = np.random.default_rng(1).integers(0, 255, (3, 5), np.uint8)
    table = segment_everything(image, model, "grid", points_per_side=4, crop_n_layers=1,
                               pred_iou_thresh=0, stability_score_thresh=0)  # fmt: skip
    assert table.to_labels().shape == (3, 5)


def test_modes_a_model_cannot_do(image, model) -> None:
    with pytest.raises(ParameterError, match="choose grid"):
        segment_everything(image, model, "instances")
    with pytest.raises(ParameterError, match="did you mean 'proposals'"):
        segment_everything(image, model, "proposal")
    with pytest.raises(ParameterError, match="did you mean 'pred_iou_thresh'"):
        generate_candidates(image, model, mode="grid", pred_iou_tresh=1)


def test_the_models_own_defaults_apply(image) -> None:
    carried = {"grid": {"points_per_side": 3, "pred_iou_thresh": 0.5}}
    model = tiny_model(seed=2, kind=IslandSam, everything=carried, auto_mode="grid")
    table = segment_everything(image, model)
    assert len(table.candidates) == 27
    assert table.parameters["pred_iou_thresh"] == 0.5
    assert len(segment_everything(image, model, points_per_side=2).candidates) == 12


def test_records_and_coco_are_valid(everything) -> None:
    mask_utils = pytest.importorskip("pycocotools.mask")
    coco = everything.to_coco(file_name="a.png")
    labels = everything.to_records()
    assert [a["id"] for a in coco["annotations"]] == list(range(1, len(everything) + 1))
    for annotation, record in zip(coco["annotations"], labels, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            decoded = mask_utils.decode(annotation["segmentation"]).astype(bool)
        assert np.array_equal(decoded, record["segmentation"])
        assert annotation["bbox"] == mask_utils.toBbox(annotation["segmentation"]).tolist()
    plain = everything.to_records("uncompressed_rle")[0]["segmentation"]
    assert sum(plain["counts"]) == plain["size"][0] * plain["size"][1]
    with pytest.raises(ParameterError, match="coco_rle"):
        everything.to_records("png")
