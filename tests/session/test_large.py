"""Images of one pixel, and images too large to be read whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zarr

from napari_segment_anything.engine import PlaneSource, Predictor
from napari_segment_anything.session import ArrayTarget, PyramidTarget, Session

from .test_planes import Counting

SIDE = 20000


@pytest.fixture(scope="module")
def huge():
    array = zarr.create_array({}, shape=(SIDE, SIDE), chunks=(256, 256), dtype="u2", fill_value=100)
    array[9800:10200, 9800:10200] = np.random.default_rng(0).integers(0, 4000, (400, 400))
    return array


def test_one_pixel(model):
    for value in (0, 200):
        labels = np.zeros((1, 1), np.uint8)
        source = PlaneSource(np.full((1, 1), value, np.uint8))
        session = Session(Predictor(model), source, ArrayTarget(labels))
        session.add_point((), (0, 0))
        preview = session.update()
        assert preview.mask.shape == (1, 1)
        if preview.mask.any():
            assert session.commit() == (1,)
            assert labels[0, 0] == 1
            session.undo()
        assert labels[0, 0] == 0


def test_only_the_window_of_a_huge_image_is_read(model, huge, tmp_path):
    lazy = Counting(huge)
    labels = zarr.create_array({}, shape=(SIDE, SIDE), chunks=(256, 256), dtype="u4", fill_value=0)
    session = Session(
        Predictor(model), PlaneSource(lazy), ArrayTarget(labels), journal=tmp_path / "j.jsonl"
    )
    session.add_point((), (9952, 9952))  # the middle of a window
    preview = session.update()
    assert preview.window.shape == (128, 128)
    assert lazy.pixels < 3_000_000  # contrast and checksum samples, and the window
    assert session.commit() == (1,)
    assert labels.nchunks_initialized <= 4
    read = lazy.pixels
    session.add_point((), (9960, 9945))  # near by: nothing more is read
    session.update()
    assert lazy.pixels == read
    session.cancel()
    session.add_point((), (0, SIDE - 1))
    assert session.update().window.col == SIDE - 128
    session.cancel()
    session.set_box((), (9000, 9000, 9900, 10000))  # larger than a window
    assert session.update().window.height > 1000
    session.cancel()
    while session.undo() is not None:
        pass
    assert not labels[9800:10200, 9800:10200].any()


def test_a_batch_far_apart_is_decoded_in_windows(model, huge):
    labels = zarr.create_array({}, shape=(SIDE, SIDE), chunks=(256, 256), dtype="u4", fill_value=0)
    session = Session(Predictor(model), PlaneSource(huge), ArrayTarget(labels))
    session.begin_batch((), points=[(9950, 9950), (9958, 9960), (100, 19000), (110, 19010)])
    request = session.request()
    windows = [item.ask.window for item in request.items]
    assert windows[0] == windows[1] != windows[2] == windows[3]
    session.update()
    assert session.commit() == (1, 2, 3, 4)
    session.delete([1, 2, 3, 4])
    session.undo()
    session.undo()
    assert not labels[9900:10100, 9900:10100].any()


def test_a_large_object_in_a_pyramid(model):
    full = np.zeros((2048, 3000), np.uint8)
    full[512:1536, 700:2300] = 200
    levels = [full, full[::2, ::2], full[::4, ::4], full[::8, ::8]]
    counted = [Counting(level) for level in levels]
    targets = [np.zeros(level.shape, np.uint16) for level in levels]
    session = Session(
        Predictor(model), PlaneSource(counted, contrast_limits=(0, 255)), PyramidTarget(targets)
    )
    session.set_box((), (512, 700, 1536, 2300))
    preview = session.update()
    assert counted[0].pixels == 0  # read at a coarser level
    assert preview.mask.shape == preview.window.shape
    assert preview.window.width > 2000
    session.commit()
    assert all(target.any() for target in targets)
    session.undo()
    assert not any(target.any() for target in targets)


def test_a_mask_that_is_cut_off_is_decoded_in_a_larger_window(model):
    class Wide(Predictor):
        """Gives masks that fill a square of 240 pixels, whatever the window."""

        def decode_group(self, embedding, *options):
            logits, scores, notes = super().decode_group(embedding, *options)
            logits, side = logits.clone(), logits.shape[-1]
            window = embedding.window
            rows = window.row + (np.arange(side) + 0.5) * window.height / side
            cols = window.col + (np.arange(side) + 0.5) * window.width / side
            inside = (abs(rows - 1000) < 90)[:, None] & (abs(cols - 1000) < 90)[None]
            logits[:] = torch.from_numpy(np.where(inside, 10.0, -10.0))
            return logits, scores, notes

    image = np.random.default_rng(0).integers(0, 255, (2000, 2000), dtype=np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    session = Session(Wide(model), PlaneSource(image), ArrayTarget(labels))
    session.add_point((), (1000, 1000))
    request = session.request()
    assert request.items[0].ask.window.shape == (128, 128)
    preview = session.update()
    assert preview.window.shape == (256, 256)
    assert abs(preview.mask.sum() - 180**2) < 2000
    session.add_point((), (1010, 1000))
    assert session.draft.window.shape == (256, 256)  # stays there
    assert session.request().items[0].ask.feed is not None
