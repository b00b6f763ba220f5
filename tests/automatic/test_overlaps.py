"""Masks to labels: who wins, what becomes of remnants, nesting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_segment_anything.automatic import CandidateTable, Filters
from napari_segment_anything.automatic.candidates import Builder
from napari_segment_anything.automatic.grid import ImageCrop
from napari_segment_anything.automatic.measure import Measured
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.formats.rle import encode

KEEP_ALL = Filters(pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1)


def table_of(masks, scores=None) -> CandidateTable:
    """A table whose kept masks are these, in this order (scores must not rise)."""
    masks = np.asarray(masks, bool)
    count, rows, cols = masks.shape
    scores = np.linspace(0.9, 0.8, count) if scores is None else np.asarray(scores)
    builder = Builder((rows, cols), (0, 0), [ImageCrop(0, 0, rows, cols, 0)])
    measured = [Measured(np.float32(1), encode(m) if m.any() else None) for m in masks]
    builder.add(0, np.zeros((count, 2)), np.zeros(count), scores, measured)
    return CandidateTable.filtered(builder.build(), "grid", KEEP_ALL, {})


def disc(row: float, col: float, radius: float, shape=(60, 80)) -> np.ndarray:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (cols - col) ** 2 <= radius**2


def test_the_first_mask_is_a_mask_and_ids_follow_the_records() -> None:
    masks = [disc(20, 20, 8), disc(40, 60, 9)]
    table = table_of(masks)
    labels = table.to_labels()
    assert labels.dtype == np.uint8
    assert np.array_equal(labels == 1, masks[0])
    assert np.array_equal(labels == 2, masks[1])
    for number, record in enumerate(table.to_records(), start=1):
        assert np.array_equal(record["segmentation"], labels == number)
    assert not table_of([np.zeros((60, 80), bool)]).to_labels().any()


def test_policies() -> None:
    whole, part = disc(30, 40, 20), disc(30, 40, 8)
    table = table_of([whole, part], [0.9, 0.8])
    small = table.to_labels("small")
    assert np.array_equal(small == 2, part)
    assert np.array_equal(small == 1, whole & ~part)
    for policy in ("large", "score"):
        assert np.array_equal(table.to_labels(policy), whole.astype(np.uint8))
    assert np.array_equal(table_of([part, whole], [0.9, 0.8]).to_labels("score") == 1, part)
    with pytest.raises(ParameterError, match="small, score, large"):
        table.to_labels("best")


def test_no_rings() -> None:
    whole, part = disc(30, 40, 20), disc(30, 40, 17)
    below = disc(30, 40, 28)
    labels = table_of([whole, part, below]).to_labels("small")
    assert np.unique(labels).tolist() == [0, 2, 3]
    # What the dropped ring had covered belongs to the mask below it.
    assert np.array_equal(labels == 3, below & ~part)


def test_no_crumbs() -> None:
    big = disc(30, 30, 20)
    big[2, 70] = True
    bar = np.zeros_like(big)
    bar[:, 14:17] = True
    labels = table_of([big, bar]).to_labels("score")
    assert labels[2, 70] == 0
    labels = table_of([big, bar]).to_labels("large")
    assert ndimage.label(labels == 1, np.ones((3, 3)))[1] == 1
    # Cut in halves both stay: neither is a crumb.
    bar[:, 14:17], bar[:, 29:32] = False, True
    labels = table_of([bar, big]).to_labels("score")
    assert ndimage.label(labels == 2, np.ones((3, 3)))[1] == 2
    bar[:, 29:32], bar[:, 24:27] = False, True
    one = table_of([bar, big]).to_labels("score", min_piece=1.0)
    assert ndimage.label(one == 2, np.ones((3, 3)))[1] == 1


def test_existing_labels_stay() -> None:
    existing = np.zeros((60, 80), np.uint16)
    existing[:30] = 300
    masks = [disc(30, 20, 9), disc(45, 60, 9), disc(15, 60, 9)]
    table = table_of(masks)
    image = table.resolve(existing=existing, min_visible=0.4)
    assert image.labels.dtype == np.uint16
    assert np.array_equal(image.labels[:30], existing[:30])
    assert image.label.tolist() == [301, 302, 0]
    rows = table.features("small", existing=existing, min_visible=0.4)
    assert rows["label"].tolist() == [301, 302]
    assert rows["visible_area"].tolist() == [
        int((image.labels == 301).sum()), int((image.labels == 302).sum())
    ]  # fmt: skip
    for wrong in (existing[:5], existing.astype(float), existing.astype(int) - 1):
        with pytest.raises(ParameterError, match="existing"):
            table.to_labels(existing=wrong)


def test_dtype_grows_with_the_ids() -> None:
    masks = np.zeros((300, 20, 30), bool)
    masks.reshape(300, -1)[np.arange(300), np.arange(300) * 2] = True
    assert table_of(masks).to_labels().dtype == np.uint16
    assert table_of(masks[:255]).to_labels().dtype == np.uint8


def test_nesting() -> None:
    whole, part, core = disc(30, 40, 25), disc(30, 36, 14), disc(30, 34, 6)
    other = disc(10, 8, 6)
    table = table_of([part, other, whole, core])
    assert table.parents().tolist() == [2, -1, -1, 0]
    layers = table.layers()
    assert len(layers) == 3
    assert np.array_equal(layers[0], 3 * whole + 2 * (other & ~whole))
    assert np.array_equal(layers[1], 1 * part)
    assert np.array_equal(layers[2], 4 * core)
    rows = table.features()
    assert rows["parent"].tolist() == [3, 0, 0, 1]
    assert rows["depth"].tolist() == [1, 0, 0, 2]
    assert len(table_of(np.zeros((0, 5, 6)))) == 0
    assert [x.shape for x in table_of(np.zeros((0, 5, 6))).layers()] == [(5, 6)]
    assert table_of(np.zeros((0, 5, 6))).features("small")["label"].tolist() == []


@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 6), st.just(8), st.just(9))),
    st.sampled_from(["small", "score", "large"]),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from([0.0, 0.25, 1.0]),
)
def test_labels_always_keep_the_stated_rules(masks, policy, min_visible, min_piece) -> None:
    masks = masks[masks.any(axis=(1, 2))]
    table = table_of(masks.reshape(-1, 8, 9))
    image = table.resolve(policy, min_visible=min_visible, min_piece=min_piece)
    for i, mask in enumerate(masks):
        mine = image.labels == i + 1
        assert not (mine & ~mask).any()
        assert mine.sum() == image.visible_area[i]
        assert (image.label[i] == i + 1) == mine.any()
        if mine.any():
            assert mine.sum() >= min_visible * mask.sum()
            pieces, _ = ndimage.label(mine, np.ones((3, 3)))
            areas = np.bincount(pieces.ravel())[1:]
            assert areas.min() >= min_piece * areas.max()
    if min_visible == 0 and min_piece == 0:
        assert np.array_equal(
            image.labels > 0, masks.any(axis=0) if len(masks) else image.labels > 0
        )


@pytest.mark.parametrize("name", ["min_visible", "min_piece"])
def test_fractions_are_fractions(name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        table_of([disc(9, 9, 3)]).to_labels(**{name: 1.5})
