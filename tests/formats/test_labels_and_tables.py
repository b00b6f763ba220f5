"""Label files and measurement tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_segment_anything.errors import FormatError
from napari_segment_anything.formats import (
    open_labels,
    read_image,
    read_labels,
    read_table,
    write_labels,
    write_table,
)
from napari_segment_anything.measures import measure_labels


def some_labels(largest: int, shape: tuple[int, ...] = (40, 50)) -> np.ndarray:
    labels = np.zeros(shape, np.int64)
    labels[..., 3:9, 4:20] = 1
    labels[..., 20:30, 25:40] = largest
    return labels


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz", ".zarr", ".ome.zarr"])
@pytest.mark.parametrize(("largest", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_round_trip_in_the_smallest_dtype(
    tmp_path: Path, suffix: str, largest: int, dtype: type
) -> None:
    labels = some_labels(largest)
    path = tmp_path / "out" / f"labels{suffix}"
    for _ in range(2):  # the second time over the first
        write_labels(path, labels)
    back = read_labels(path)
    assert back.dtype == dtype
    assert np.array_equal(back, labels)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_large_ids_and_stacks(tmp_path: Path) -> None:
    labels = some_labels(70_000, (3, 40, 50))
    write_labels(tmp_path / "a.tif", labels, scale=(2.0, 0.5, 0.25), unit="micrometer")
    image = read_image(tmp_path / "a.tif")
    assert image.array.dtype == np.uint32
    assert (image.axes, image.scale) == ("ZYX", (2.0, 0.5, 0.25))
    assert image.units == ("micrometer",) * 3
    assert np.array_equal(read_labels(tmp_path / "a.tif"), labels)
    write_labels(tmp_path / "t.tif", labels, axes="TYX", scale=(600, 0.5, 0.5), unit="micrometer")
    movie = read_image(tmp_path / "t.tif")
    assert (movie.axes, movie.scale) == ("TYX", (600.0, 0.5, 0.5))
    assert movie.units == ("second", "micrometer", "micrometer")
    write_labels(tmp_path / "a.ome.zarr", labels, scale=(2, 0.5, 0.25), unit="micrometer")
    found = open_labels(tmp_path / "a.ome.zarr")
    assert (found.axes, found.scale, found.units) == ("ZYX", (2, 0.5, 0.25), ("micrometer",) * 3)
    write_labels(tmp_path / "a.zarr", labels, axes="TYX")
    assert read_image(tmp_path / "a.zarr").axes == "TYX"


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("a.tif", np.full((4, 4), -1), "must not be negative"),
        ("a.tif", np.full((4, 4), 0.5), "integers"),
        ("a.tif", np.zeros(4, int), "2 to 4 dimensions"),
        ("a.tif", np.full((4, 4), 2**33), "2\\^32"),
        ("a.png", np.full((4, 4), 70_000), "65535"),
        ("a.png", np.zeros((2, 4, 4), int), "a single plane"),
        ("a.jpg", np.zeros((4, 4), int), "can be written as"),
    ],
)
def test_labels_that_do_not_fit(
    tmp_path: Path, name: str, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        write_labels(tmp_path / name, labels)
    assert not list(tmp_path.iterdir())


def test_reading_what_are_no_labels(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(FormatError, match="colour picture"):
        read_labels(tmp_path / "rgb.png")
    np.save(tmp_path / "f.npy", np.full((5, 5), 0.3))
    with pytest.raises(FormatError, match="integers"):
        read_labels(tmp_path / "f.npy")
    with pytest.raises(FormatError, match="does not exist"):
        read_labels(tmp_path / "none.tif")


def test_a_zarr_group_is_not_overwritten(tmp_path: Path) -> None:
    import zarr

    zarr.create_group(tmp_path / "g.zarr")
    with pytest.raises(FormatError, match="with other data"):
        write_labels(tmp_path / "g.zarr", some_labels(2))


def test_table_round_trip(tmp_path: Path) -> None:
    table = measure_labels(some_labels(7), scores={"predicted_iou": {7: 0.5}})
    write_table(tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv")
    assert list(back) == list(table)
    for name, column in table.items():
        if column.dtype.kind == "f":
            assert back[name].astype(float) == pytest.approx(column, nan_ok=True)
        else:
            assert back[name].tolist() == column.tolist()


def test_damaged_tables(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "e.csv").write_text("")
    with pytest.raises(FormatError, match="empty"):
        read_table(tmp_path / "e.csv")
    (tmp_path / "r.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(FormatError, match="row 3: 1 fields"):
        read_table(tmp_path / "r.csv")
    with pytest.raises(FormatError, match="differ in length"):
        write_table(tmp_path / "w.csv", {"a": [1], "b": [1, 2]})
