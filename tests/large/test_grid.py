"""Every pixel has one owner, and every window its scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segment_anything.engine import Window
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.large.grid import TileGrid


@st.composite
def grids(draw):
    shape = draw(st.integers(1, 500)), draw(st.integers(1, 500))
    tile = draw(st.integers(64, 200))
    region = None
    if draw(st.booleans()):
        row, col = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
        region = Window(row, col, draw(st.integers(1, 500)), draw(st.integers(1, 500)))
    planes = draw(st.sampled_from([(), (2,), (2, 3)]))
    return TileGrid.over(shape, planes, tile, draw(st.integers(0, tile // 2)), region)


@settings(deadline=None, max_examples=60)
@given(grids())
def test_cores_cover_the_region_once_and_windows_hold_them(grid) -> None:
    seen = np.zeros((grid.plane_count, *grid.shape), int)
    numbers = {grid.plane(i) for i in range(len(grid))}
    assert len(numbers) == grid.plane_count
    for index in range(len(grid)):
        plane, row, col = grid.place(index)
        assert grid.index(plane, row, col) == index
        core, window = grid.core(index), grid.window(index)
        seen[plane][core.slices] += 1
        assert core.intersection(window) == core
        assert window.intersection(grid.region) == window
        # the scale is that of all others, unless the region itself is smaller
        assert window.height == min(grid.tile, grid.region.height)
        assert window.width == min(grid.tile, grid.region.width)
        # a chunk of the labels has one writer: cores begin on chunks, or with the region
        assert core.row % grid.stride == 0 or core.row == grid.region.row
        assert core.col % grid.stride == 0 or core.col == grid.region.col
        # what ends in the middle of a window is a neighbour's too, by half of the overlap
        margin = grid.overlap // 2
        assert core.row - window.row >= margin or window.row == grid.region.row
        end = grid.region.row + grid.region.height
        below = window.row + window.height - core.row - core.height
        assert below >= grid.overlap - margin or window.row + window.height == end
    inside = np.zeros(grid.shape, int)
    inside[grid.region.slices] = 1
    assert (seen == inside).all()


@settings(deadline=None, max_examples=30)
@given(grids())
def test_neighbours_share_pixels_and_know_each_other(grid) -> None:
    for index in range(len(grid)):
        for other in grid.neighbours(index):
            assert index in set(grid.neighbours(other))
            common = grid.window(index).intersection(grid.window(other))
            assert common is not None
            a = np.zeros(grid.window(index).shape)[common.slices_in(grid.window(index))]
            assert a.shape == common.shape


def test_an_image_of_one_tile_is_one_tile() -> None:
    assert len(TileGrid.over((512, 512), (), 512, 64)) == 1
    assert TileGrid.over((512, 1024), (), 512, 64).counts == (1, 3)
    assert TileGrid.over((480, 928), (), 512, 64).counts == (1, 2)
    assert TileGrid.over((480, 929), (), 512, 64).counts == (1, 3)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ParameterError, match="tile must be between 64"):
        TileGrid.over((100, 100), (), 32, 4)
    with pytest.raises(ParameterError, match="half the tile"):
        TileGrid.over((100, 100), (), 64, 40)
    with pytest.raises(ParameterError, match="outside"):
        TileGrid.over((100, 100), (), 64, 8, Window(200, 0, 5, 5))
