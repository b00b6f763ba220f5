"""Grids, crops, suppression, cleaning, measuring: against plain renderings of what they mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segment_anything.automatic import measure as measuring
from napari_segment_anything.automatic.grid import ImageCrop, crops, near_crop_edge, point_grids
from napari_segment_anything.automatic.measure import measure
from napari_segment_anything.automatic.nms import box_nms, mask_nms
from napari_segment_anything.engine import Embedding, Window
from napari_segment_anything.formats.rle import encode

from . import reference

boxes_and_scores = st.integers(0, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, (n, 4), elements=st.integers(0, 12)),
        hnp.arrays(np.float32, n, elements=st.sampled_from([0.1, 0.5, 0.6, 0.9])),
        st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0]),
    )
)


@given(boxes_and_scores)
def test_box_nms_is_greedy_and_stable(case) -> None:
    corners, scores, threshold = case
    corners = np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
    )
    kept = box_nms(corners, scores, threshold)
    assert kept.tolist() == reference.nms(corners.tolist(), scores.tolist(), threshold)


def test_box_nms_of_thousands_is_fast_and_drops_nothing_apart() -> None:
    corner = np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2) * 10
    boxes = np.concatenate([corner, corner + 9], 1)
    assert len(box_nms(boxes, np.ones(len(boxes)), 0.1)) == 3600
    assert len(box_nms(np.repeat(boxes, 2, 0), np.ones(7200), 0.1)) == 3600


def test_degenerate_boxes_neither_suppress_nor_vanish() -> None:
    line = [3, 3, 3, 9]
    assert box_nms([line, line, [0, 0, 9, 9]], [1, 1, 1], 0.0).tolist() == [0, 1, 2]
    assert box_nms(np.zeros((0, 4)), [], 0.5).tolist() == []


@given(
    hnp.arrays(bool, st.tuples(st.integers(0, 9), st.just(6), st.just(7))),
    st.sampled_from([0.0, 0.3, 0.5, 0.8]),
    st.randoms(),
)
def test_mask_nms_uses_the_masks_own_overlap(masks, threshold, random) -> None:
    masks = masks[masks.any(axis=(1, 2))]
    scores = [random.choice([0.2, 0.5, 0.9]) for _ in masks]
    codes = [encode(m) for m in masks]
    boxes = np.array([c.box for c in codes]).reshape(-1, 4)
    expected: list[int] = []
    for i in sorted(range(len(masks)), key=lambda i: -scores[i]):
        ious = [(masks[i] & masks[k]).sum() / (masks[i] | masks[k]).sum() for k in expected]
        if not any(iou > threshold for iou in ious):
            expected.append(i)
    assert mask_nms(codes, boxes, scores, threshold).tolist() == expected


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.integers(0, 3),
    st.floats(0, 0.9),
)
def test_crops_cover_every_pixel(shape, layers, overlap) -> None:
    found = crops(shape, layers, overlap)
    assert found[0] == ImageCrop(0, 0, *shape, 0)
    assert all(c.row + c.height <= shape[0] and c.col + c.width <= shape[1] for c in found)
    for layer in range(layers + 1):
        covered = np.zeros(shape, bool)
        for c in found:
            if c.layer == layer:
                covered[c.row : c.row + c.height, c.col : c.col + c.width] = True
        assert covered.all()
    plain = reference.crop_boxes(*shape, layers, overlap)
    ours = [(c.col, c.row, c.col + c.width, c.row + c.height, c.layer) for c in found]
    assert ours == [b for b in plain if b[2] > b[0] and b[3] > b[1]]


def test_grids_thin_out_with_the_layer() -> None:
    grids = point_grids(8, 2, 2)
    assert [len(g) for g in grids] == [64, 16, 4]
    assert grids[2].tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]


def test_crop_edges_count_unless_they_are_the_images() -> None:
    crop = ImageCrop(0, 100, 200, 100, 1)
    boxes = np.array([[5.0, 130, 90, 160], [90, 119, 120, 150], [90, 121, 120, 150]])
    assert near_crop_edge(boxes, crop, (400, 400)).tolist() == [False, True, False]


def frame(shape: tuple[int, int], side: int = 64) -> Embedding:
    scale = side / max(shape)
    valid = (int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5))
    features = torch.zeros(1, 256, side // 16, side // 16)
    return Embedding(features, {}, Window(0, 0, *shape), shape, valid, side, shape)


@pytest.mark.parametrize("shape", [(64, 64), (40, 64), (30, 17), (150, 200)])
def test_both_ways_of_measuring_agree(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(sum(shape))
    logits = torch.randn(12, 16, 16, generator=generator) * 3
    logits[3] = -9.0
    logits[4] = 9.0
    logits[5, 2:, :] = -9.0
    embedding = frame(shape)
    found = measure(logits, embedding, threshold=0.0, offset=1.5)
    assert found[3].mask is None
    assert np.isnan(found[3].stability)
    assert found[4].mask is not None
    assert found[4].mask.area == shape[0] * shape[1]
    whole = {}
    for index, row, col, high, low, mask in measuring._by_masks(logits, embedding, 0.0, 1.5):
        with np.errstate(invalid="ignore"):
            stability = np.float32(high) / np.float32(low)
        whole[index] = (stability, measuring._encode(mask, row, col, shape))
    for index, item in enumerate(found):
        np.testing.assert_equal(item.stability, whole[index][0])
        assert item.mask == whole[index][1]


def test_masks_below_the_stability_floor_are_not_kept() -> None:
    logits = torch.full((2, 16, 16), -9.0)
    logits[:, 4:9, 4:9] = 0.5
    logits[1, 4:9, 4:9] = 8.0
    kept = measure(logits, frame((64, 64)), floor=0.5)
    assert kept[0].mask is None
    assert kept[0].stability == 0
    assert kept[1].mask is not None
    assert measure(logits, frame((64, 64)), floor=0.0)[0].mask is not None
