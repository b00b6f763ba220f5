"""Dense targets and the instances decoded from them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segment_anything.automatic.dense import BoxDecoding, decode_dense
from napari_segment_anything.training.dense import encode_dense, interior_map


def perfect_maps(labels: np.ndarray) -> np.ndarray:
    interior = interior_map(labels)
    targets = encode_dense(
        torch.from_numpy(labels.astype(np.int64))[None], torch.from_numpy(interior)[None]
    )
    foreground = np.where(labels > 0, 8.0, -8.0)[None]
    p = np.clip(targets.interior.numpy(), 1e-4, 1 - 1e-4)
    return np.concatenate([foreground, np.log(p / (1 - p)), targets.box[0].numpy()]).astype("f4")


def test_box_distances_by_hand():
    labels = torch.zeros(1, 6, 6, dtype=torch.int64)
    labels[0, 1:3, 2:5] = 7  # rows 1, 2 and columns 2, 3, 4, two frame pixels a cell
    targets = encode_dense(labels, torch.zeros(1, 6, 6, dtype=torch.uint8))
    assert targets.box[0, :, 1, 2].tolist() == [1, 1, 3, 5]
    assert targets.box[0, :, 2, 4].tolist() == [3, 5, 1, 1]
    assert targets.box[0, :, 0, 0].tolist() == [0, 0, 0, 0]
    assert np.isclose(targets.weight[0, 1, 2].item(), 6**-0.5)


def test_equal_ids_in_two_images_are_two_objects():
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[0, 0, 0], labels[1, 3, 3] = 1, 1
    targets = encode_dense(labels, torch.zeros(2, 4, 4, dtype=torch.uint8))
    assert targets.box[0, :, 0, 0].tolist() == [1, 1, 1, 1]


def test_interior_rises_to_one_in_every_object_and_restarts_between_touching_ones():
    labels = np.zeros((20, 40), np.int32)
    labels[4:16, 4:20], labels[4:16, 20:36] = 1, 2
    interior = interior_map(labels)
    assert interior[labels == 1].max() == interior[labels == 2].max() == 255
    assert interior[10, 19] < 60 and interior[10, 20] < 60 and interior[0, 0] == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100_000))
def test_perfect_maps_give_the_objects_back(seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros((72, 96), np.int32)
    yy, xx = np.mgrid[:72, :96]
    for number in range(1, 14):
        r, c = rng.uniform(0, 72), rng.uniform(0, 96)
        a, b = rng.uniform(4, 12, 2)
        disk = ((yy - r) / a) ** 2 + ((xx - c) / b) ** 2 < 1
        if (labels[disk] > 0).sum() < 0.1 * disk.sum() and disk.sum() > 40:
            labels[disk & (labels == 0)] = number
    found = decode_dense(perfect_maps(labels), BoxDecoding(merge_thresh=1.0)).labels
    for number in np.unique(labels[labels > 0]):
        mask = labels == number
        own = np.bincount(found[mask]).argmax()
        overlap = (mask & (found == own)).sum() / (mask | (found == own)).sum()
        assert own > 0 and overlap > 0.85


def test_nothing_is_found_in_empty_maps():
    maps = np.full((6, 16, 16), -5.0, np.float32)
    result = decode_dense(maps)
    assert result.labels.max() == 0 and len(result.scores) == len(result.boxes) == 0
