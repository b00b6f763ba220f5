"""Labels in arrays, and what cannot be written to."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_segment_anything.engine import Window
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.session import ArrayTarget, LabelTarget, PyramidTarget
from napari_segment_anything.session.target import check_id


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("displayed", [None, (1, 2), (2, 0), (0, 1)])
def test_read_what_was_written(lazy, displayed):
    array = np.zeros((4, 30, 20), np.uint16)
    stored = zarr.array(array, chunks=(2, 8, 8)) if lazy else array
    target = ArrayTarget(stored, displayed=displayed)
    assert isinstance(target, LabelTarget)
    rows, cols = (array.shape[axis] for axis in (displayed or (1, 2)))
    window = Window(1, 2, min(rows - 1, 7), min(cols - 2, 5))
    values = np.arange(window.height * window.width).reshape(window.shape)
    target.write((1,), window, values)
    assert (target.read((1,), window) == values).all()
    assert target.largest() == values.max()
    full = target.read((1,), Window(0, 0, rows, cols))
    assert full.shape == (rows, cols)
    assert full.sum() == values.sum()
    assert not target.read((0,), Window(0, 0, rows, cols)).any()


def test_reading_gives_a_copy():
    target = ArrayTarget(np.zeros((5, 5), np.int32))
    target.read((), Window(0, 0, 5, 5))[:] = 3
    assert target.largest() == 0


def test_every_level_of_a_pyramid_is_written_and_restored():
    levels = [np.zeros((65, 90), np.uint32), np.zeros((33, 45), np.uint16), np.zeros((9, 12), "u4")]
    target = PyramidTarget(levels)
    assert target.dtype == np.uint16
    assert target.shape == (65, 90)
    rng = np.random.default_rng(0)
    for _ in range(30):
        row, col = rng.integers(0, 60), rng.integers(0, 85)
        window = Window(row, col, rng.integers(1, 66 - row), rng.integers(1, 91 - col))
        target.write((), window, rng.integers(0, 9, window.shape))
        for level in levels[1:]:
            rows, cols = (
                ((np.arange(n) + 0.5) * (full / n)).astype(int)
                for n, full in zip(level.shape, (65, 90), strict=True)
            )
            assert (level == levels[0][np.ix_(rows, cols)]).all()
    target.write((), Window(0, 0, 65, 90), np.zeros((65, 90)))
    assert not any(level.any() for level in levels)


def test_a_pyramid_reduced_in_depth():
    levels = [np.zeros((4, 16, 16), np.uint8), np.zeros((2, 8, 8), np.uint8)]
    target = PyramidTarget(levels)
    for plane in range(4):
        target.write((plane,), Window(0, 0, 16, 16), np.full((16, 16), plane + 1))
    assert levels[1][:, 0, 0].tolist() == [2, 4]


def test_what_cannot_be_written_to_is_refused_with_advice():
    with pytest.raises(ParameterError, match="compute it first"):
        ArrayTarget(da.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(ParameterError, match="compute it first"):
        PyramidTarget([np.zeros((5, 5), np.uint8), da.zeros((2, 2), dtype=np.uint8)])
    with pytest.raises(ParameterError, match="integers"):
        ArrayTarget(np.zeros((5, 5)))
    with pytest.raises(ParameterError, match="read-only"):
        ArrayTarget(np.broadcast_to(np.uint8(0), (5, 5)))
    with pytest.raises(ParameterError, match="rows and columns"):
        ArrayTarget(np.zeros(5, np.uint8))
    with pytest.raises(ParameterError, match="an array"):
        ArrayTarget([[0]])
    with pytest.raises(ParameterError, match="different axes"):
        ArrayTarget(np.zeros((5, 5), np.uint8), displayed=(1, 1))
    with pytest.raises(ParameterError, match="at least one"):
        PyramidTarget([])
    with pytest.raises(ParameterError, match="fine to coarse"):
        PyramidTarget([np.zeros((5, 5), np.uint8), np.zeros((9, 9), np.uint8)])


def test_read_only_zarr_is_refused(tmp_path):
    zarr.create_array(str(tmp_path / "l.zarr"), shape=(9, 9), dtype="u2")
    with pytest.raises(ParameterError, match="read-only"):
        ArrayTarget(zarr.open_array(str(tmp_path / "l.zarr"), mode="r"))


def test_misfits_are_errors():
    target = ArrayTarget(np.zeros((3, 5, 5), np.uint8))
    with pytest.raises(ParameterError, match="1 indices"):
        target.read((), Window(0, 0, 2, 2))
    with pytest.raises(ParameterError, match="outside"):
        target.read((0,), Window(3, 3, 4, 4))
    with pytest.raises(ParameterError, match="shape"):
        target.write((0,), Window(0, 0, 2, 2), np.zeros((3, 3)))
    assert check_id(target, 255) == 255
    for label in (0, 256):
        with pytest.raises(ParameterError, match="larger type"):
            check_id(target, label)


def test_the_largest_label_of_a_large_empty_array_costs_nothing():
    target = ArrayTarget(
        zarr.create_array({}, shape=(10**5, 10**5), chunks=(512, 512), dtype="u4", fill_value=0)
    )
    assert target.largest() == 0
