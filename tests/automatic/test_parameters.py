"""Names, ranges and origins of parameters."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.automatic.parameters import Filters, pick, resolve
from napari_segment_anything.errors import ParameterError

PUBLISHED = {
    "points_per_side": 32,
    "points_per_batch": 64,
    "pred_iou_thresh": 0.88,
    "stability_score_thresh": 0.95,
    "stability_score_offset": 1.0,
    "box_nms_thresh": 0.7,
    "crop_n_layers": 0,
    "crop_nms_thresh": 0.7,
    "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1,
    "point_grids": None,
    "min_mask_region_area": 0,
}


def test_grid_mode_has_the_published_defaults() -> None:
    values = resolve("grid", {})
    assert {name: values[name] for name in PUBLISHED} == PUBLISHED
    assert values["pred_iou_floor"] == pytest.approx(0.68)


def test_the_callers_value_wins_over_the_models_over_the_published() -> None:
    carried = {"pred_iou_thresh": 0.6, "points_per_side": 16}
    values = resolve("grid", {"pred_iou_thresh": 0.7, "points_per_side": None}, carried)
    assert values["pred_iou_thresh"] == 0.7
    assert values["points_per_side"] == 16
    assert values["box_nms_thresh"] == 0.7


def test_instances_mode_filters_nothing_by_default() -> None:
    chosen = pick(Filters, resolve("instances", {}))
    assert (chosen.pred_iou_thresh, chosen.stability_score_thresh) == (0, 0)
    assert chosen.box_nms_thresh == 1


@pytest.mark.parametrize(
    ("mode", "given", "message"),
    [
        ("grid", {"pred_iou_tresh": 0.5}, "did you mean 'pred_iou_thresh'"),
        ("grid", {"zzz": 0.5}, "known are points_per_side"),
        ("instances", {"points_per_side": 3}, "no effect in mode 'instances'.*grid"),
        ("grid", {"peak_thresh": 0.3}, "no effect in mode 'grid'"),
        ("grid", {"pred_iou_thresh": 1.5}, "between 0 and 1"),
        ("grid", {"pred_iou_thresh": float("nan")}, "a number"),
        ("grid", {"points_per_side": 2.5}, "a whole number"),
        ("grid", {"points_per_side": True}, "a whole number"),
        ("grid", {"points_per_side": 0}, "between 1 and"),
        ("grid", {"nms": "ball"}, "box, mask"),
        ("grid", {"pred_iou_floor": 0.9}, "is above pred_iou_thresh"),
        ("grid", {"points_per_side": 4, "point_grids": [np.zeros((1, 2))]}, "not both"),
        ("grid", {"point_grids": [np.zeros((1, 2))], "crop_n_layers": 1}, "2 arrays"),
        ("grid", {"point_grids": [np.zeros((1, 3))]}, "shape"),
        ("grid", {"point_grids": [[[0.5, 1.5]]]}, "fractions"),
        ("grid", {"point_grids": np.zeros((4, 2))}, "list of arrays"),
        (
            "grid",
            {"points_per_side": 3, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
            "leaves no point",
        ),
    ],
)
def test_wrong_parameters_say_what_is_right(mode, given, message) -> None:
    with pytest.raises(ParameterError, match=message):
        resolve(mode, given)


def test_parameters_of_the_other_kind_of_head_are_refused() -> None:
    with pytest.raises(ParameterError, match="this model's dense head"):
        resolve("instances", {"agreement_thresh": 0.2}, head="distances")
    assert "agreement_thresh" not in resolve("instances", {}, head="distances")


def test_own_grids_replace_the_models_number_of_points() -> None:
    values = resolve("grid", {"point_grids": [[[0.5, 0.5]]]}, {"points_per_side": 16})
    assert values["points_per_side"] is None
