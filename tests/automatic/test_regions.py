"""Connected parts and holes of all objects at once, against one object at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_segment_anything.automatic.nms import box_nms
from napari_segment_anything.automatic.regions import filled, main_parts, with_holes


def largest_part(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if count else mask


@pytest.mark.parametrize("seed", range(40))
def test_parts_and_holes_are_those_of_each_object(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, rng.integers(1, 16, 2)).astype(np.int32)
    if seed % 2:
        labels = np.kron(labels, np.ones((2, 3), np.int32))
    if seed % 3 == 0:
        labels = np.where(rng.random(labels.shape) < 0.2, 0, 2).astype(np.int32)
    main = main_parts(labels)
    numbers = [number for number in range(1, 6) if (labels == number).any()]
    for number in numbers:
        assert np.array_equal(main == number, largest_part(labels == number))
    solid = {number: ndimage.binary_fill_holes(main == number) for number in numbers}
    holed = [number for number in numbers if (solid[number] != (main == number)).any()]
    assert with_holes(main).tolist() == holed
    places = ndimage.find_objects(main)
    for number in holed:
        where = places[number - 1]
        free = labels[where] == 0
        expected = solid[number][where] & (free | (main[where] == number))
        assert np.array_equal(filled(main, number, where, free), expected)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_boxes_compared_in_blocks_are_suppressed_as_one_by_one(threshold: float) -> None:
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 60, (700, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 25, (700, 2))], axis=1)
    boxes, scores = boxes.astype(np.float32), rng.integers(0, 9, 700) / 8
    kept: list[int] = []
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for index in np.argsort(-scores, kind="stable"):
        sides = np.minimum(boxes[kept, 2:], boxes[index, 2:])
        sides -= np.maximum(boxes[kept, :2], boxes[index, :2])
        shared = np.maximum(sides, 0).prod(1)
        with np.errstate(invalid="ignore"):
            iou = shared / (area[kept] + area[index] - shared)
        if not (iou.astype(np.float64) > threshold).any():
            kept.append(int(index))
    assert box_nms(boxes, scores, threshold).tolist() == kept
