"""Objects of tiles become objects of the image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree
from skimage.draw import disk, line
from skimage.morphology import dilation, footprint_rectangle

from napari_segment_anything.large.stitching import KINDS

from .helpers import begun, pieces, put, same_partition, stitched_labels, tile_result


def run(path, truth, tile, overlap):
    grid, ledger = begun(path, truth.shape, tile, overlap)
    for index in range(len(grid)):
        put(ledger, index, tile_result(pieces(truth, grid.window(index)), grid, index))
    return stitched_labels(ledger)


@pytest.mark.slow
@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_round_objects_of_any_size_come_back_whole(tmp_path_factory, data) -> None:
    shape = data.draw(st.integers(130, 300)), data.draw(st.integers(130, 300))
    truth = np.zeros(shape, np.int32)
    for label in range(1, data.draw(st.integers(2, 14))):
        radius = data.draw(st.integers(3, 90))
        centre = data.draw(st.integers(0, shape[0])), data.draw(st.integers(0, shape[1]))
        # apart from all others, so that a piece of one is never also a piece of another
        rows, cols = disk(centre, radius + 3, shape=shape)
        if (truth[rows, cols] == 0).all():
            truth[disk(centre, radius, shape=shape)] = label
    tile = data.draw(st.integers(64, 120))
    labels, outcome = run(
        tmp_path_factory.mktemp("run") / "x.zarr", truth, tile, data.draw(st.integers(8, tile // 2))
    )
    assert same_partition(labels, truth)
    table = outcome.table
    assert (np.sort(table["label"]) == np.unique(labels[labels > 0])).all()
    assert not (table["seam"] == KINDS.index("cut") + 1).any()
    assert "ambiguous" not in outcome.seams["kind"]


def test_a_winding_object_through_many_tiles_is_one(tmp_path) -> None:
    truth = np.zeros((400, 400), np.int32)
    points = [(20, 20), (380, 60), (30, 150), (370, 230), (40, 300), (380, 380)]
    for a, b in itertools.pairwise(points):
        truth[line(*a, *b)] = 1
    truth = dilation(truth, footprint_rectangle((9, 9)))
    labels, outcome = run(tmp_path / "x.zarr", truth, 96, 24)
    # it comes back to where it was: tiles see several pieces that are joined elsewhere
    assert same_partition(labels, truth)
    assert outcome.table["pieces"][0] > 5
    assert list(outcome.seams["kind"]) == ["merged"]


def two(path, first, second, scores=(0.9, 0.9)):
    """Two tiles side by side, 64 px wide, of which 48 are shared."""
    grid, ledger = begun(path, (64, 80), 64, 32)
    assert len(grid) == 2
    put(ledger, 0, tile_result(first, grid, 0, np.atleast_1d(scores[0])))
    put(ledger, 1, tile_result(second, grid, 1, np.atleast_1d(scores[1])))
    assert grid.window(0).col == 0 and grid.window(1).col == 16
    return stitched_labels(ledger)


def blank():
    return np.zeros((64, 64), np.int32), np.zeros((64, 64), np.int32)


def test_what_one_tile_sees_whole_is_taken_from_it(tmp_path) -> None:
    a, b = blank()
    a[20:40, 40:64] = 1  # cut by the window's edge at 63
    b[20:40, 24:60] = 1  # the whole, columns 40 to 75 of the image
    labels, outcome = two(tmp_path / "x.zarr", a, b, (0.99, 0.5))
    assert (labels[20:40, 40:76] == 1).all() and labels.sum() == 20 * 36
    assert outcome.table["pieces"].tolist() == [1]


def test_two_views_that_differ_go_to_the_better(tmp_path) -> None:
    a, b = blank()
    a[10:50, 20:60] = 1  # one object, says the first
    b[10:30, 4:44], b[31:50, 4:44] = 1, 2  # two, says the second
    labels, outcome = two(tmp_path / "x.zarr", a, b, (0.6, (0.9, 0.9)))
    assert len(np.unique(labels[labels > 0])) == 2
    assert "ambiguous" in outcome.seams["kind"]
    labels, _ = two(tmp_path / "y.zarr", a, b, (0.95, (0.9, 0.9)))
    assert len(np.unique(labels[labels > 0])) == 1 and (labels[10:50, 20:60] > 0).all()


def test_an_object_that_ends_at_a_border_is_reported_cut(tmp_path) -> None:
    a, b = blank()
    a[20:40, 20:64] = 1  # and the second sees nothing
    labels, outcome = two(tmp_path / "x.zarr", a, b)
    assert (labels[20:40, 20:64] == 1).all()
    assert outcome.seams["kind"].tolist() == ["cut"]
    assert outcome.seams["box"].tolist() == [[20, 20, 39, 63]]


def test_what_is_whole_in_a_margin_counts_a_sliver_there_does_not(tmp_path) -> None:
    a, b = blank()
    a[20:40, 61:64] = 1
    labels, outcome = two(tmp_path / "x.zarr", a, b)
    assert not labels.any() and not len(outcome.seams["seam"])
    a[20:40, 61:64] = 0
    a[20:40, 40:60] = 1  # all of it, though the second sees nothing
    labels, _ = two(tmp_path / "y.zarr", a, b)
    assert (labels[20:40, 40:60] == 1).all()


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))]
)
def test_touching_cells_that_tiles_see_a_little_differently(tmp_path, seed) -> None:
    rng = np.random.default_rng(seed)
    shape, spacing = (420, 380), (25, 60)[seed % 2]
    centres = rng.uniform(0, 1, (shape[0] * shape[1] // spacing**2, 2)) * shape
    places = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1).reshape(-1, 2)
    truth = (cKDTree(centres).query(places)[1] + 1).reshape(shape).astype(np.int32)
    grid, ledger = begun(tmp_path / "x.zarr", shape, 128, 48)
    for index in range(len(grid)):
        seen = np.roll(truth, rng.integers(-1, 2, 2), (0, 1))
        put(ledger, index, tile_result(pieces(seen, grid.window(index)), grid, index))
    labels, _ = stitched_labels(ledger)
    assert (labels > 0).mean() > 0.97
    areas, places_of = np.bincount(labels.ravel()), find_objects(truth)
    found = vanished = 0
    for cell in np.unique(truth):
        spans = places_of[cell - 1]
        mask = truth[spans] == cell
        counts = np.bincount(labels[spans][mask])
        most, both = counts.argmax(), counts.max()
        vanished += most == 0
        found += bool(most and both / (mask.sum() + areas[most] - both) > 0.5)
    assert found >= 0.97 * len(np.unique(truth)) and vanished <= 0.01 * len(np.unique(truth))


@pytest.mark.parametrize("overlap", [0, 1])
def test_without_overlap_nothing_is_joined_and_nothing_lost(tmp_path, overlap) -> None:
    truth = np.zeros((128, 200), np.int32)
    truth[10:110, 20:180] = 1
    labels, _ = run(tmp_path / "x.zarr", truth, 64, overlap)
    assert ((labels > 0) == (truth > 0)).all()


def test_planes_do_not_touch_each_other(tmp_path) -> None:
    grid, ledger = begun(tmp_path / "x.zarr", (64, 64), 64, 16, planes=(3,))
    assert len(grid) == 3
    for index in range(len(grid)):
        seen = np.zeros(grid.window(index).shape, np.int32)
        seen[2:5, 2:5] = 1
        put(ledger, index, tile_result(seen, grid, index))
    labels, outcome = stitched_labels(ledger)
    assert [int(p.max()) for p in labels] == [1, 2, 3]
    assert outcome.table["plane"].tolist() == [0, 1, 2]
