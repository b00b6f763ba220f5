"""Frames to tracks."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.samples.generate_divisions import dividing_nuclei
from napari_segment_anything.stacks import track

from .test_linking import same_objects, shuffled


def steps(labels, truth):
    """Links between true objects that tracks make: ((frame, true id), (frame, true id))."""
    links, last = set(), {}
    for t, frame in enumerate(labels):
        for number in np.unique(frame)[1:]:
            ids = truth[t][frame == number]
            here = (t, int(np.bincount(ids).argmax()))
            if number in last:
                links.add((last[number], here))
            last[number] = here
    return links


def movie(seed, frames=24):
    _, truth, lineage = dividing_nuclei((frames, 192, 192), np.random.default_rng(seed))
    return truth, lineage


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_dividing_nuclei(seed):
    truth, lineage = movie(seed)
    found = track(shuffled(truth, seed))
    true, made = steps(truth, truth), steps(found.labels, truth)
    assert len(true & made) >= 0.99 * len(true)
    assert len(true & made) >= 0.98 * len(made)

    def daughters(graph, first):
        families = {}
        for child, (parent,) in graph.items():
            families.setdefault(parent, set()).add(first(child))
        return {frozenset(family) for family in families.values() if len(family) == 2}

    def first_seen(number):
        t = int(np.flatnonzero((found.labels == number).any((1, 2)))[0])
        return int(truth[t][found.labels[t] == number][0])

    expected = daughters({c: list(p) for c, p in lineage.items()}, int)
    made = daughters(found.graph, first_seen)
    assert len(expected & made) >= 0.8 * len(expected)
    assert len(expected & made) >= 0.9 * len(made)


def test_what_napari_asks_of_tracks():
    truth, _ = movie(2, 14)
    found = track(shuffled(truth))
    ids, frames = found.data[:, 0], found.data[:, 1]
    assert found.data.shape[1] == 4
    assert (np.diff(ids) >= 0).all()
    assert (np.diff(frames)[np.diff(ids) == 0] > 0).all()
    assert set(found.graph) <= set(ids.astype(int))
    assert {p for parents in found.graph.values() for p in parents} <= set(ids.astype(int))
    assert all(len(column) == len(found.data) for column in found.properties.values())
    for number, t, row, col in found.data[::17]:
        places = np.argwhere(found.labels[int(t)] == number)
        np.testing.assert_allclose(places.mean(0), (row, col))
    for parent, children in found.divisions.items():
        assert len(children) == 2
        end = frames[ids == parent].max()
        assert all(frames[ids == child].min() > end for child in children)
    np.testing.assert_array_equal(found.table["label"], np.unique(ids).astype(int))


def squares(places, side=8, shape=(64, 96)):
    frames = np.zeros((len(places), *shape), int)
    for t, frame in enumerate(places):
        for number, (row, col) in enumerate(frame, start=1):
            frames[t, row : row + side, col : col + side] = number
    return frames


def test_a_moving_stage_is_no_movement():
    start = np.array([[4, 4], [4, 24], [24, 4], [24, 24], [40, 14]])
    # everything moves farther in a frame than a cell may
    frames = squares([start + np.array([0, 9 * t]) for t in range(6)])
    found = track(shuffled(frames), max_distance=4)
    assert same_objects(found.labels, frames)


def test_fast_objects_are_followed_without_overlap():
    frames = squares([[(20, 4 + 14 * t), (50, 80 - 14 * t)] for t in range(5)])
    found = track(shuffled(frames), max_distance=20)
    assert same_objects(found.labels, frames)
    assert len(track(frames, max_distance=5)) == 10


def test_gaps():
    frames = squares([[(20, 20 + t)] for t in range(6)])
    frames[3] = 0
    assert len(track(frames, max_gap=0)) == 2
    assert len(track(frames)) == 1
    assert not track(frames).labels[3].any()
    assert track(frames, fill_gaps=True).labels[3].any()


def test_a_cell_that_comes_in_beside_another_is_no_daughter():
    frames = squares([[(20, 20)], [(20, 20)], [(20, 20), (20, 29)], [(20, 20), (20, 29)]])
    found = track(frames)
    assert found.graph == {}
    assert len(found) == 2


def test_a_division_and_without_looking_for_it():
    frames = np.zeros((4, 40, 40), int)
    frames[:2, 12:24, 12:24] = 1
    frames[2:, 12:24, 8:15] = 1
    frames[2:, 12:24, 21:28] = 2
    found = track(frames)
    assert len(found) == 3
    assert found.graph == {2: [1], 3: [1]}
    np.testing.assert_array_equal(found.table["parent"], [0, 1, 1])
    assert track(frames, divisions=False).graph == {}


def test_nothing_to_track():
    found = track(np.zeros((3, 8, 8), int))
    assert len(found) == 0
    assert found.data.shape == (0, 4)


def test_bad_distance():
    with pytest.raises(ParameterError, match="max_distance"):
        track(np.zeros((3, 8, 8), int), max_distance=0)
