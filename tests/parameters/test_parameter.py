"""Checks of single values against their parameter."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.parameters import EVERYTHING, LINKING, TILING, check_values


@pytest.mark.parametrize(
    ("table", "given", "message"),
    [
        (EVERYTHING, {"pred_iou_thresh": 1.5}, "between 0 and 1; got 1.5"),
        (EVERYTHING, {"pred_iou_thresh": np.nan}, "a number"),
        (EVERYTHING, {"points_per_side": 2.5}, "a whole number"),
        (EVERYTHING, {"points_per_side": True}, "a whole number"),
        (EVERYTHING, {"nms": "ball"}, "one of box, mask"),
        (EVERYTHING, {"pred_iou_tresh": 0.5}, "did you mean 'pred_iou_thresh'"),
        (LINKING, {"link_thresh": 0}, "above 0 and at most 1; got 0"),
        (LINKING, {"anisotropy": 0}, "must be above 0; got 0"),
        (LINKING, {"zzz": 1}, "known are link, link_thresh"),
        (TILING, {"retries": -1}, "must be between 0 and 100"),
    ],
)
def test_wrong_values_say_what_is_right(table, given, message) -> None:
    with pytest.raises(ParameterError, match=message):
        check_values(table, given)


def test_right_values_pass() -> None:
    check_values(EVERYTHING, {"points_per_side": np.int64(4), "pred_iou_thresh": np.float32(0.5)})
    check_values(LINKING, {"link": None, "link_thresh": 1, "divisions": False})
    check_values(TILING, {"scheduler": "tcp://head:8786", "region": object()})
