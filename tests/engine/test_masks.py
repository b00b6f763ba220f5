from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segment_anything.engine import (
    Embedding,
    Window,
    binarise,
    mask_logits,
    patches,
    upsample,
)
from napari_segment_anything.engine import masks as module
from napari_segment_anything.engine.frame import frame_side
from napari_segment_anything.errors import PromptError


def embedding(height, width, image_size=64, cells=4, canvas=None):
    canvas = canvas or (height, width)
    return Embedding(
        torch.zeros(1, 256, cells, cells),
        {},
        Window(0, 0, height, width),
        canvas,
        frame_side(canvas, image_size),
        image_size,
        (height, width),
    )


def plain(logits, where):
    """Upsample in the two published steps, in one go."""
    rows, cols = where.frame_shape
    side = where.image_size
    options = {"mode": "bilinear", "align_corners": False}
    frame = F.interpolate(torch.as_tensor(logits)[:, None], (side, side), **options)
    return F.interpolate(frame[..., :rows, :cols], where.canvas, **options)[:, 0].numpy()


def filled(logits, where, threshold=0.0):
    result = np.full((len(logits), *where.window.shape), -np.inf, np.float32)
    for patch in patches(logits, where, threshold):
        assert np.isneginf(result[patch.index, patch.rows, patch.cols]).all()
        result[patch.index, patch.rows, patch.cols] = patch.values
    return result


logits = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 3), st.just(16), st.just(16)),
    elements=st.floats(-20, 20, width=16) | st.just(-4.0),
    fill=st.floats(-20, 1, width=16),
)
extents = st.integers(1, 150)


@given(logits, extents, extents, st.sampled_from([0.0, 1.0, -1.0]))
@settings(max_examples=200, deadline=None)
def test_patches_hold_every_value_above_the_threshold(low, height, width, threshold):
    where = embedding(height, width)
    expected, found = plain(low, where), filled(low, where, threshold)
    inside = ~np.isneginf(found)
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-4)
    assert (expected[~inside] <= threshold).all()


@given(logits, extents, extents)
@settings(max_examples=100, deadline=None)
def test_masks_are_those_of_the_plain_way(low, height, width):
    where = embedding(height, width)
    expected = plain(low, where)
    sure = np.abs(expected) > 2e-4
    found = binarise(low, where)
    np.testing.assert_array_equal(found[sure], expected[sure] > 0)
    np.testing.assert_array_equal(binarise(torch.from_numpy(low), where)[sure], expected[sure] > 0)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("shape", [(1024, 1024), (520, 696), (1000, 1000), (300, 7), (1, 1500)])
def test_at_the_published_sizes(shape, threshold):
    torch.manual_seed(0)
    where = embedding(*shape, image_size=1024, cells=64)
    low = F.interpolate(torch.randn(2, 1, 9, 9), (256, 256), mode="bicubic")[:, 0]
    expected = plain(low, where)
    found = filled(low, where, threshold)
    inside = ~np.isneginf(found)
    assert np.abs(found[inside] - expected[inside]).max() < 1e-5
    assert (expected[~inside] <= threshold).all()
    np.testing.assert_array_equal(
        torch.cat([part for _, part in upsample(low, where)]).numpy(), expected
    )


def test_large_masks_come_in_strips(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_VALUES", 1000)
    low = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    where = embedding(200, 90)
    assert len(list(patches(low, where))) > 10
    np.testing.assert_allclose(filled(low, where), plain(low, where), atol=1e-5)
    parts = list(upsample(torch.from_numpy(low), where))
    assert [part.start for part, _ in parts] == [0, 1, 2]


def test_negative_masks_cost_nothing():
    low = np.full((5, 16, 16), -1.0, np.float32)
    low[3, 8, 8] = 1
    where = embedding(64, 64)
    found = list(patches(low, where))
    assert [patch.index for patch in found] == [3]
    assert found[0].values.size < 64 * 64 / 16


@pytest.mark.parametrize("canvas", [(104, 64), (96, 60)])
def test_a_level_that_reaches_over_the_edge_or_stops_short(canvas):
    low = np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32)
    where = embedding(100, 62, canvas=canvas)
    whole = plain(low, where)
    rows = np.minimum(np.arange(100), canvas[0] - 1)
    cols = np.minimum(np.arange(62), canvas[1] - 1)
    expected = whole[:, rows][:, :, cols]
    np.testing.assert_allclose(filled(low, where), expected, atol=1e-5)
    found = torch.cat([part for _, part in upsample(torch.from_numpy(low), where)])
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("shape", [(128, 128), (90, 150), (512, 300)])
def test_a_mask_becomes_logits_and_comes_back(shape):
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    centre, radius = (shape[0] / 2, shape[1] / 3), min(shape) / 4
    mask = np.hypot(rows - centre[0], cols - centre[1]) < radius
    where = embedding(*shape, image_size=128, cells=8)
    low = mask_logits(mask, where)
    assert low.shape == (32, 32)
    assert low.dtype == np.float32
    assert np.abs(low).max() < 7
    back = binarise(low[None], where)[0]
    assert (back & mask).sum() / (back | mask).sum() > 0.93
    np.testing.assert_array_equal(mask_logits(np.stack([mask, mask]), where)[1], low)


def test_a_single_pixel_is_not_lost():
    mask = np.zeros((512, 512), bool)
    mask[200, 300] = True
    assert (mask_logits(mask, embedding(512, 512)) > 0).any()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((10, 12), bool), "empty"),
        (np.ones((12, 10), bool), "shape"),
        (np.ones((10, 12), int), "boolean"),
    ],
)
def test_masks_that_cannot_be_prompts(mask, message):
    with pytest.raises(PromptError, match=message):
        mask_logits(mask, embedding(10, 12))


@pytest.mark.parametrize("axis", [0, 1])
def test_logits_beyond_the_last_pixel_alone_draw_nothing(axis):
    where = embedding(*((30, 64) if axis == 0 else (64, 30)))
    low = np.full((1, 16, 16), -5.0, np.float32)
    low.swapaxes(1, 1 + axis)[:, -2:] = 5.0  # the frame's padding, below or right of the image
    assert list(patches(low, where)) == []
    assert not binarise(low, where).any()
