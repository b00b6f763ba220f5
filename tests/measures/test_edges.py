"""Edge maps, and their comparison with drawn boundaries, on cases made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segment_anything.errors import ParameterError
from napari_segment_anything.measures.edges import (
    EdgeCounts,
    boundaries_of,
    canny_edges,
    count_edges,
    edge_ap,
    ods,
    ois,
    recall_at_half,
    sobel_edges,
    thin_edges,
)


def line(row: int, shape=(40, 60)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[row, 10:50] = True
    return mask


def test_perfect_edges_score_one_and_their_absence_nothing() -> None:
    strength = line(20).astype(float)
    perfect = count_edges(strength, [line(20)])
    assert ods([perfect]) == ois([perfect]) == edge_ap([perfect]) == 1
    assert recall_at_half([perfect]) == 1
    nothing = count_edges(np.zeros((40, 60)), [line(20)])
    assert ods([nothing]) == 0 and edge_ap([nothing]) == 0
    with pytest.raises(ParameterError, match="of the edges' shape"):
        count_edges(strength, [line(20, (40, 61))])


def test_half_of_the_edges_false_and_half_of_the_boundaries_missed() -> None:
    strength = 0.9 * line(5) + 0.4 * line(20)
    counts = count_edges(strength, [line(5) | line(35)])
    assert counts.precision[0] == 0.5 and counts.recall[0] == 0.5
    assert counts.precision[20] == 1 and counts.recall[20] == 0.5
    assert ods([counts]) == pytest.approx(2 / 3)
    assert edge_ap([counts]) == pytest.approx(0.5, abs=0.01)


def test_several_people_an_edge_of_anybody_is_right_and_all_their_boundaries_count() -> None:
    counts = count_edges(line(5).astype(float), [line(5), line(5) | line(30)])
    assert counts.precision[0] == 1
    assert counts.true[0] == 120 and counts.true_hit[0] == 80


def test_each_image_at_its_own_threshold_is_at_least_as_good() -> None:
    strong = count_edges(0.9 * line(5) + 0.5 * line(20), [line(5)])
    weak = count_edges(0.4 * line(5) + 0.2 * line(20), [line(5)])
    assert ois([strong, weak]) == 1 > ods([strong, weak])


def test_thinning_keeps_ridges() -> None:
    rows, cols = np.mgrid[:64, :64]
    for ridge in (
        np.abs(rows - 30),
        np.abs(rows - cols) / 1.5,
        np.abs(np.hypot(rows - 32, cols - 32) - 18),
    ):
        strength = np.exp(-((ridge / 2.5) ** 2))
        kept = thin_edges(strength) > 0.5
        assert kept.sum() > 35 and strength[kept].min() > 0.8
        assert not (kept[:-1, :-1] & kept[1:, :-1] & kept[:-1, 1:] & kept[1:, 1:])[8:-8, 8:-8].any()
    assert thin_edges(np.ones((1, 5))).shape == (1, 5)


def test_boundaries_of_touching_objects_are_one_line() -> None:
    labels = np.zeros((20, 30), int)
    labels[3:17, 3:15], labels[3:17, 15:27] = 1, 2
    edges = boundaries_of(labels)
    assert edges[10].sum() == 3 and not edges[10, 8]
    assert not boundaries_of(np.zeros((8, 8), int)).any()


def test_classical_edges_find_the_rim_of_a_disc() -> None:
    rows, cols = np.mgrid[:80, :80]
    disc = np.hypot(rows - 40, cols - 40) < 22
    image = 50 + 100.0 * disc + np.random.default_rng(0).normal(0, 2, disc.shape)
    for edges in (sobel_edges(image), canny_edges(image)):
        assert ods([count_edges(edges, [boundaries_of(disc)], tolerance=0.02)]) > 0.9
    assert not canny_edges(np.zeros((30, 30))).any()


def test_counts_add_up() -> None:
    one = EdgeCounts(*np.array([[4], [2], [8], [2]]))
    assert one.table() == [[4], [2], [8], [2]] and one.f1[0] == pytest.approx(1 / 3)
