"""Groups of images compared, with a correction for the number of comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.evaluation.group_comparison import (
    compare_groups,
    holm,
    permutation_p,
    weaknesses,
)


def record(number: int, stain: str, iou: float, set: str = "a") -> dict:
    """A record of boxes."""
    return {
        "image": f"{set}/{number}", "file": f"{set}/{number}", "set": set, "protocol": "boxes",
        "columns": {"stain": stain}, "ids": [1, 2], "iou": [iou, iou], "predicted": [1, 1],
    }  # fmt: skip


def records(gap: float) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        record(i, "pas" if i % 3 == 0 else "he", 0.8 - gap * (i % 3 == 0) + rng.normal(0, 0.05))
        for i in range(30)
    ]


def test_a_worse_group_is_named_and_an_equal_one_is_not() -> None:
    found = compare_groups(records(0.2), ["stain"])
    assert {d.value for d in found} == {"pas", "he"}
    worse = next(d for d in found if d.value == "pas")
    assert worse.p < 0.01 and worse.difference < -0.15 and worse.interval.count == 10
    (said,) = weaknesses(found)
    assert said.startswith("stain pas: IoU from a box is 0.")
    assert not weaknesses(compare_groups(records(0.0), ["stain"]))


def test_too_few_images_have_no_p_value() -> None:
    few = [record(0, "x", 0.1), record(1, "y", 0.9), record(2, "y", 0.8)]
    assert all(np.isnan(d.p) for d in compare_groups(few, ["stain"]))
    with pytest.raises(ParameterError, match=r"fewer than two values.*set, stain"):
        compare_groups(few, ["laboratory"])
    with pytest.raises(ParameterError, match="fewer than two values"):
        compare_groups(few, ["set"])


def test_the_permutation_test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    scores, inside = rng.random(16), np.arange(16) < 6
    scores[inside] += 0.25
    p = stats.permutation_test(
        (scores[inside], scores[~inside]), lambda a, b: a.mean() - b.mean(), rng=0
    ).pvalue
    assert permutation_p(scores, inside) == pytest.approx(p, abs=0.02)


def test_holm_is_the_published_correction() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, np.nan, 0.8]), [1, np.nan, 1])
