"""Grid mode gives the published algorithm's masks, in its order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from napari_segment_anything.automatic import segment_everything

from ..tiny import IslandSam, tiny_model
from . import reference

BASE = {
    "points_per_side": 6,
    "pred_iou_thresh": 0.8,
    "stability_score_thresh": 0.6,
    "box_nms_thresh": 0.65,
}
CASES = {
    "landscape": ((90, 140), {}),
    "portrait": ((150, 61), {"stability_score_offset": 2.0, "stability_score_thresh": 0.4}),
    "larger than the frame": ((170, 300), {"points_per_side": 5}),
    "no thresholds": ((64, 80), {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}),
    "strict": ((96, 96), {"pred_iou_thresh": 0.9, "stability_score_thresh": 0.75}),
    "cleaned": (
        (90, 140),
        {"points_per_side": 7, "min_mask_region_area": 220, "stability_score_thresh": 0.0},
    ),
    "crops": ((200, 260), {"crop_n_layers": 1, "points_per_side": 4}),
    "two layers": (
        (210, 190),
        {
            "crop_n_layers": 2,
            "points_per_side": 6,
            "crop_n_points_downscale_factor": 2,
            "crop_nms_thresh": 0.5,
            "crop_overlap_ratio": 0.2,
            "min_mask_region_area": 60,
        },
    ),
}
SLOW = ("portrait", "strict", "crops", "two layers")


@pytest.fixture(scope="module")
def rejected() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in CASES],
)
def test_equals_the_plain_rendering(case: str, rejected: Counter[str]) -> None:
    shape, given = CASES[case]
    image = np.random.default_rng(3).integers(0, 255, (*shape, 3), np.uint8)
    model = tiny_model(seed=1, kind=IslandSam)
    expected = reference.everything(image, model, **(BASE | given))
    table = segment_everything(image, model, "grid", points_per_batch=10, **(BASE | given))
    rejected.update(table.counts(), cases=1)
    records = table.to_records()
    assert len(expected) > 12
    assert len(records) == len(expected)
    for ours, theirs in zip(records, expected, strict=True):
        np.testing.assert_allclose(ours["point_coords"], theirs["point_coords"], atol=1e-9)
        assert ours["crop_box"] == theirs["crop_box"]
        assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=1e-5)
        # Batches of another size round differently: a pixel within 1e-6 of the threshold may turn.
        assert np.count_nonzero(ours["segmentation"] != theirs["segmentation"]) <= 1
        assert ours["area"] == np.count_nonzero(ours["segmentation"])
        np.testing.assert_allclose(ours["bbox"], theirs["bbox"], atol=1)
        assert ours["stability_score"] == pytest.approx(theirs["stability_score"], abs=0.01)


@pytest.mark.slow
def test_every_filter_had_something_to_do(rejected: Counter[str]) -> None:
    if rejected["cases"] < len(CASES):
        pytest.skip("needs all cases above in the same process")
    for name in ("kept", "pred_iou", "stability", "crop_edge", "nms", "crop_nms", "cleaned_nms"):
        assert rejected[name] > 0, name
