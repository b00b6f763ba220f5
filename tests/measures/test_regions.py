"""Objects of label images, measured."""

from __future__ import annotations

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.errors import ParameterError
from napari_segment_anything.measures import measure_labels

ROWS_COLS = np.indices((120, 120)) - 60


def some_labels(largest: int, shape: tuple[int, ...] = (40, 50)) -> np.ndarray:
    labels = np.zeros(shape, np.int64)
    labels[..., 3:9, 4:20] = 1
    labels[..., 20:30, 25:40] = largest
    return labels


def test_in_units_with_scores() -> None:
    labels = some_labels(5)
    image = np.where(labels == 5, 10, 2)
    table = measure_labels(
        labels,
        image=image,
        scale=(0.5, 0.5),
        unit="micrometer",
        scores={"predicted_iou": {5: 0.75}, "stability_score": [0.9, 0.8]},
    )
    assert table["label"].tolist() == [1, 5]
    assert table["area"].tolist() == [6 * 16 / 4, 10 * 15 / 4]
    assert table["centroid_row"].tolist() == [2.75, 12.25]
    assert table["bbox_row_min"].tolist() == [3, 20]
    assert table["bbox_row_max"].tolist() == [8, 29]
    assert table["intensity_mean"].tolist() == [2, 10]
    assert np.isnan(table["predicted_iou"][0])
    assert table["predicted_iou"][1] == 0.75
    assert table["stability_score"].tolist() == [0.9, 0.8]
    assert set(table["unit"]) == {"micrometer"}


def test_volumes_channels_and_nothing() -> None:
    labels = some_labels(2, (4, 40, 50)).astype(np.uint16)
    table = measure_labels(labels, image=np.zeros((2, 4, 40, 50)), channel_axis=0, scale=(2, 1, 1))
    assert table["area"].tolist() == [4 * 6 * 16 * 2, 4 * 10 * 15 * 2]
    assert "intensity_mean_1" in table
    assert "centroid_plane" in table
    empty = measure_labels(np.zeros((5, 5), int), scores={"predicted_iou": {}})
    assert len(empty["label"]) == len(empty["predicted_iou"]) == 0
    oblong = measure_labels(some_labels(2), scale=(2, 1))
    assert not {"perimeter", "circularity"} & set(oblong)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ParameterError, match="they do not match"):
        measure_labels(some_labels(2), image=np.zeros((3, 3)))
    with pytest.raises(ParameterError, match="positive pixel sizes"):
        measure_labels(some_labels(2), scale=(0, 1))
    with pytest.raises(ParameterError, match="3 values for 2 objects"):
        measure_labels(some_labels(2), scores={"score": [1, 2, 3]})


@pytest.mark.parametrize("radius", [3.5, 10.5, 50.5])
def test_circularity_of_a_disc_does_not_depend_on_its_size(radius: float) -> None:
    disc = np.hypot(*ROWS_COLS) <= radius
    (found,) = nsa.measure_labels(disc, scale=(0.2, 0.2))["circularity"]
    assert found == pytest.approx(1, abs=0.07)


def test_circularity_is_less_for_other_shapes() -> None:
    rows, cols = np.abs(ROWS_COLS)
    square, strip = (rows <= 20) & (cols <= 20), (rows <= 2) & (cols <= 50)
    shapes = [measure_labels(each)["circularity"][0] for each in (square, strip)]
    assert shapes[1] < 0.3 < shapes[0] < 0.9
