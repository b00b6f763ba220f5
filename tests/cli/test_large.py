"""`napari-sam large`: one image, a plate, a plan, and what it says when something is wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import zarr

from napari_segment_anything import large
from napari_segment_anything.cli.main import run
from napari_segment_anything.errors import ImageError
from napari_segment_anything.formats.ome_zarr import label_names, open_labels
from napari_segment_anything.large.tiles import ImageTiles
from napari_segment_anything.samples import sample

from ..large.helpers import bright_objects

TILES = ["--tile", "128", "--overlap", "32"]


def ome_image(path, array) -> None:
    root = zarr.create_group(path, zarr_format=3)
    root.create_array("0", data=array, chunks=(64, 64))
    level = {
        "path": "0",
        "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}],
    }
    axes = [{"name": name, "type": "space"} for name in ("y", "x")]
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}


@pytest.fixture
def coins():
    return sample("coins").image[:150, :150]


@pytest.fixture
def bright(monkeypatch):
    """What is bright, in place of what the model finds."""
    real = large.segment_large

    def segment(image, output, model, **chosen):
        return real(image, output, bright_objects, **chosen)

    monkeypatch.setattr(large, "segment_large", segment)


@pytest.mark.slow
def test_sample_to_store_tables_and_json(tmp_path, capsys) -> None:
    out = tmp_path / "coins.ome.zarr"
    line = ["large", "sample:coins", "-o", str(out), "--tables", str(tmp_path / "t"), "--json"]
    assert run([*line, "--mode", "instances", "--crop-n-layers", "0"]) == 0
    facts = json.loads(capsys.readouterr().out)
    labels = np.asarray(open_labels(out).array[...])
    assert facts["objects"] == len(np.unique(labels)) - 1 >= 20
    assert facts["tiles"] == 1 and facts["failed"] == []
    with (tmp_path / "t" / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == np.unique(labels[labels > 0]).tolist()
    assert (tmp_path / "t" / "seams.csv").exists()


@pytest.mark.usefixtures("tiny")
def test_plan_writes_nothing(tmp_path, coins, capsys) -> None:
    np.save(tmp_path / "coins.npy", coins)
    before = sorted(tmp_path.iterdir())
    line = ["large", str(tmp_path / "coins.npy"), "--plan", "--points-per-side", "4", *TILES]
    assert run(line) == 0
    assert "tiles of 128 px, overlapping by 32" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("bright")
def test_plan_and_progress_are_said(tmp_path, coins, capsys) -> None:
    np.save(tmp_path / "coins.npy", coins)
    assert run(["large", str(tmp_path / "coins.npy"), "-o", str(tmp_path / "x.zarr"), *TILES]) == 0
    said = capsys.readouterr()
    assert "by one timed tile" in said.err.replace("\n", " ")
    assert "objects" in said.out and "labels" in said.out


@pytest.mark.usefixtures("bright")
def test_every_field_of_a_plate(tmp_path, coins, capsys) -> None:
    plate = tmp_path / "plate.ome.zarr"
    root = zarr.create_group(plate, zarr_format=3)
    wells = [{"path": f"A/{c}", "rowIndex": 0, "columnIndex": c - 1} for c in (1, 2)]
    root.attrs["ome"] = {
        "version": "0.5",
        "plate": {
            "rows": [{"name": "A"}], "columns": [{"name": "1"}, {"name": "2"}], "wells": wells,
        },
    }  # fmt: skip
    root.create_group("A")
    for column in (1, 2):
        well = root.create_group(f"A/{column}")
        well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}]}}
        ome_image(plate / "A" / str(column) / "0", coins)
    line = ["large", str(plate), "--tables", str(tmp_path / "t"), "--json", *TILES]
    assert run(line) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [f["image"] for f in facts] == ["A/1 0", "A/2 0"]
    assert facts[0]["objects"] == facts[1]["objects"] > 0
    assert label_names(plate / "A" / "2" / "0") == ["segment_anything"]
    assert len(list((tmp_path / "t").glob("*objects.csv"))) == 2
    assert run([*line, "-o", str(tmp_path / "elsewhere.zarr")]) == 2
    assert "omit --output" in capsys.readouterr().err


@pytest.mark.usefixtures("bright")
def test_failed_tiles_are_told_by_the_exit_code(tmp_path, coins, capsys, monkeypatch) -> None:
    real = ImageTiles.read

    def broken(tiles, index):
        if index == 0:
            raise ImageError("a hole in the disk")
        return real(tiles, index)

    monkeypatch.setattr(ImageTiles, "read", broken)
    np.save(tmp_path / "coins.npy", coins)
    line = ["large", str(tmp_path / "coins.npy"), "-o", str(tmp_path / "x.zarr"), *TILES]
    assert run([*line, "--tables", str(tmp_path / "t")]) == 3
    assert "a hole in the disk" in capsys.readouterr().out
    with (tmp_path / "t" / "failed.csv").open() as file:
        assert next(csv.DictReader(file))["reason"] == "a hole in the disk"
    monkeypatch.setattr(ImageTiles, "read", real)
    assert run(line) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--tile", "9"], "--tile must be between 64 and"),
        (["--overlap", "100"], "overlap lies between"),
        (["--region", "5,5,1,1"], "below and right"),
        (["--region", "900,900,950,950"], "outside"),
        (["--scheduler", "cluster"], "address of a Dask scheduler"),
        (["--scheduler", "tcp://127.0.0.1:1", "--worker-resources", "GPU"], "GPU=1"),
        (["--points-per-side", "8"], "points_per_side"),
    ],
)
def test_wrong_options_get_one_line(tmp_path, coins, capsys, more, said) -> None:
    np.save(tmp_path / "coins.npy", coins)
    line = ["large", str(tmp_path / "coins.npy"), "-o", str(tmp_path / "x.zarr"), *TILES, *more]
    assert run(line) == 2
    error = capsys.readouterr().err.strip()
    assert said in error.splitlines()[-1]


def test_without_output_the_image_must_hold_labels(tmp_path, coins, capsys) -> None:
    np.save(tmp_path / "coins.npy", coins)
    assert run(["large", str(tmp_path / "coins.npy"), *TILES]) == 2
    assert "coins.npy" in capsys.readouterr().err
