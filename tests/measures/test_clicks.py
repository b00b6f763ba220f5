"""Simulated prompts, calibration and the floors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.measures import (
    average_precision,
    calibrate,
    inscribed_ellipse,
    interior_point,
    mask_iou,
    next_click,
    otsu_watershed,
    overlap_table,
    tight_box,
)
from napari_segment_anything.samples import sample

masks = arrays(bool, (9, 11))


def block(rows: slice, cols: slice, shape=(20, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, cols] = True
    return mask


def test_the_point_is_deepest_and_the_border_is_an_edge():
    assert interior_point(block(slice(4, 11), slice(10, 17))) == (7, 13)
    assert interior_point(block(slice(0, 5), slice(0, 5))) == (2, 2)
    # an L: deepest where the thick arm is, not in the middle of the mass
    mask = block(slice(0, 7), slice(0, 7)) | block(slice(0, 2), slice(0, 30))
    assert interior_point(mask) == (3, 3)


@settings(max_examples=60, deadline=None)
@given(masks)
def test_the_point_lies_in_the_mask_and_the_box_around_it(mask):
    if not mask.any():
        for function in (interior_point, tight_box):
            with pytest.raises(ParameterError):
                function(mask)
        return
    assert mask[interior_point(mask)]
    box = tight_box(mask)
    rows, cols = np.nonzero(mask)
    assert box == (rows.min() - 0.5, cols.min() - 0.5, rows.max() + 0.5, cols.max() + 0.5)


@settings(max_examples=60, deadline=None)
@given(masks, masks)
def test_a_click_lies_in_an_error(found, truth):
    click = next_click(found, truth)
    if click is None:
        assert (found == truth).all()
    else:
        at = int(click.row), int(click.col)
        assert found[at] != truth[at] and truth[at] == bool(click.label)


def test_the_click_goes_to_the_largest_error():
    truth = block(slice(2, 12), slice(2, 12))
    found = truth.copy()
    found[2:4, 2:12] = False  # a rim, 2 wide
    found[13:18, 20:25] = True  # a square, 5 wide
    click = next_click(found, truth)
    assert (click.row, click.col, click.label) == (15, 22, 0)


def test_the_ellipse_touches_its_box():
    mask = inscribed_ellipse((1.5, 3.5, 12.5, 24.5), (20, 30))
    assert tight_box(mask) == (1.5, 3.5, 12.5, 24.5)
    assert mask.sum() == pytest.approx(np.pi / 4 * 11 * 21, rel=0.03)


def test_calibration_by_hand():
    result = calibrate([0.05, 0.55, 0.55, 0.95], [0.0, 0.5, 0.4, 0.95], bins=10)
    assert result.counts.tolist() == [1, 0, 0, 0, 0, 2, 0, 0, 0, 1]
    assert result.expected_error == pytest.approx((0.05 + 2 * 0.1 + 0) / 4)
    assert result.absolute_error == pytest.approx((0.05 + 0.05 + 0.15 + 0) / 4)
    assert result.bias == pytest.approx(0.25 / 4)
    assert result.true[5] == pytest.approx(0.45) and result.spread[5] == pytest.approx(0.05)
    assert np.isnan(result.true[1])


def test_calibration_of_a_perfect_and_of_a_silly_predictor():
    rng = np.random.default_rng(0)
    true = rng.random(500)
    perfect = calibrate(true, true)
    assert perfect.correlation == pytest.approx(1) and perfect.expected_error < 1e-12
    assert calibrate(true**3, true).rank_correlation == pytest.approx(1)
    constant = calibrate(np.full(500, 0.9), true)
    assert np.isnan(constant.correlation) and constant.bias == pytest.approx(0.9 - true.mean())
    assert calibrate([], []).count == 0
    with pytest.raises(ParameterError):
        calibrate([0.1], [0.1, 0.2])
    with pytest.raises(ParameterError, match="finite"):
        calibrate([np.nan], [0.1])


def test_otsu_finds_bright_and_dark_discs():
    rows, cols = np.mgrid[:80, :100]
    truth = np.zeros((80, 100), int)
    for i, (r, c) in enumerate([(20, 20), (20, 50), (55, 30), (55, 55)], 1):
        truth[np.hypot(rows - r, cols - c) < 13] = i
    image = np.where(truth > 0, 200, 30) + np.random.default_rng(0).normal(0, 5, truth.shape)
    for picture in (image, 255 - image, np.stack([image] * 3, -1)):
        assert average_precision(overlap_table(truth, otsu_watershed(picture)))[0] == 1
    assert not otsu_watershed(np.zeros((10, 10))).any()


def test_otsu_is_a_decent_floor_on_generated_nuclei():
    nuclei = sample("nuclei")
    found = otsu_watershed(nuclei.image)
    assert average_precision(overlap_table(nuclei.labels, found))[0] > 0.3
    assert mask_iou(found > 0, nuclei.labels > 0) > 0.5
