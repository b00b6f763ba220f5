"""Grid mode gives the published algorithm's masks, in its order."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.automatic import segment_everything

from . import reference
from .tiny import tiny_model

BASE = {
    "points_per_side": 7,
    "pred_iou_thresh": 0.8,
    "stability_score_thresh": 0.5,
    "box_nms_thresh": 0.6,
}
CASES = {
    "landscape": ((90, 140), {}),
    "portrait": ((150, 61), {"stability_score_offset": 2.0}),
    "larger than the frame": ((170, 300), {"points_per_side": 5}),
    "no thresholds": ((64, 80), {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}),
    "strict": ((96, 96), {"pred_iou_thresh": 0.9, "stability_score_thresh": 0.75}),
    "cleaned": ((90, 140), {"min_mask_region_area": 40, "stability_score_thresh": 0.0}),
    "crops": ((200, 260), {"crop_n_layers": 1, "points_per_side": 5}),
    "two layers": (
        (210, 190),
        {
            "crop_n_layers": 2,
            "points_per_side": 6,
            "crop_n_points_downscale_factor": 2,
            "crop_nms_thresh": 0.5,
            "crop_overlap_ratio": 0.2,
            "min_mask_region_area": 30,
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_plain_rendering(case: str) -> None:
    shape, given = CASES[case]
    image = np.random.default_rng(3).integers(0, 255, (*shape, 3), np.uint8)
    model = tiny_model(seed=1)
    expected = (
        reference.everything(image, model, **BASE, **{})
        if not given
        else (reference.everything(image, model, **(BASE | given)))
    )
    table = segment_everything(image, model, "grid", points_per_batch=10, **(BASE | given))
    records = table.to_records()
    assert len(expected) > 12
    assert len(records) == len(expected)
    for ours, theirs in zip(records, expected, strict=True):
        assert np.array_equal(ours["segmentation"], theirs["segmentation"])
        assert ours["area"] == theirs["area"]
        assert ours["bbox"] == theirs["bbox"]
        assert ours["crop_box"] == theirs["crop_box"]
        np.testing.assert_allclose(ours["point_coords"], theirs["point_coords"], atol=1e-9)
        assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=1e-5)
        assert ours["stability_score"] == pytest.approx(theirs["stability_score"], nan_ok=True)
