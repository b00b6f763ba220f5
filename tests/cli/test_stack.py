"""`napari-sam stack`, run as the program runs it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile

import napari_segment_anything.engine as engine
from napari_segment_anything.cli.main import run
from napari_segment_anything.engine import load_model
from napari_segment_anything.formats import open_labels, read_image, read_labels, write_labels

from ..bright import bright_model
from ..families.tiny import tiny_sam2
from ..stacks.helpers import balls


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A file with two balls, and a model that sees them."""
    monkeypatch.setattr(engine, "load_model", lambda *_, **__: bright_model())
    monkeypatch.setenv("NAPARI_SEGMENT_ANYTHING_CACHE", str(tmp_path / "cache"))
    image, _ = balls((6, 48, 48), [(3, 13, 13), (3, 34, 33)], [10, 9])
    path = tmp_path / "embryo.tif"
    tifffile.imwrite(
        path, image, ome=True, metadata={
            "axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 1.0, "PhysicalSizeZUnit": "µm",
        },
    )  # fmt: skip
    return path


LIMITS = ["--contrast-limits", "20,220"]


def complaint(capsys) -> str:
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    lines = [line for line in printed.err.splitlines() if line.startswith("napari-sam: ")]
    assert len(lines) == 1
    return lines[0]


def test_everything_in_a_volume(volume, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["stack", str(volume), "-o", str(out), *LIMITS]) == 0
    printed = capsys.readouterr()
    assert "linking" in printed.err
    assert "objects" in printed.out
    assert sorted(p.name for p in out.iterdir()) == ["embryo_labels.tif", "embryo_table.csv"]
    labels = read_image(out / "embryo_labels.tif")
    assert labels.axes == "ZYX"
    np.testing.assert_allclose(labels.scale, (1, 0.5, 0.5))
    with open(out / "embryo_table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(np.unique(labels.array)) - 1 == 2
    assert run(["stack", str(volume), "-o", str(out), *LIMITS]) == 2
    assert "--overwrite" in complaint(capsys)


def test_one_click_and_json(volume, capsys):
    assert run(["stack", str(volume), "--json", "-q", *LIMITS, "--point", "3,13,13"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["objects"] == 1
    assert printed["table"][0]["label"] == 1
    assert set(printed["scores"]) == {"1"}


def test_boxes_into_a_store(volume, tmp_path, capsys):
    store = tmp_path / "labels.ome.zarr"
    tables = tmp_path / "tables"
    arguments = ["stack", str(volume), "-o", str(store), "--tables", str(tables), *LIMITS]
    boxes = ["--box", "3,3,3,24,24", "--box", "3,24,23,44,44"]
    assert run([*arguments, *boxes, "--label", "clicked"]) == 0
    group = open_labels(store, "clicked")
    assert group.axes == "ZYX"
    assert set(np.unique(group.array[3])) == {0, 1, 2}
    assert [p.name for p in tables.iterdir()] == ["embryo_table.csv"]


def test_from_a_label_image(volume, tmp_path):
    given = np.zeros((6, 48, 48), np.uint8)
    given[3, 4:22, 4:22] = 5
    write_labels(tmp_path / "given.tif", given)
    out = tmp_path / "out"
    options = ["--labels", str(tmp_path / "given.tif"), "--direction", "forward", *LIMITS]
    assert run(["stack", str(volume), "-o", str(out), *options]) == 0
    found = read_labels(out / "embryo_labels.tif")
    np.testing.assert_array_equal(found[3], given[3])
    assert not found[:3].any()
    assert set(np.unique(found)) == {0, 5}


@pytest.mark.slow
def test_by_memory(volume, tmp_path, monkeypatch, capsys):
    pytest.importorskip("transformers")
    folder = tiny_sam2(tmp_path / "sam2")
    monkeypatch.setattr(engine, "load_model", load_model)
    given = np.zeros((6, 48, 48), np.uint8)
    given[3, 4:22, 4:22] = 5
    write_labels(tmp_path / "given.tif", given)
    options = ["--labels", str(tmp_path / "given.tif"), "--model", str(folder), "-q", *LIMITS]
    assert run(["stack", str(volume), "-o", str(tmp_path / "out"), *options]) == 0
    found = read_labels(tmp_path / "out" / "embryo_labels.tif")
    np.testing.assert_array_equal(found[3], given[3])
    options += ["-o", str(tmp_path / "more"), "--stiffness", "3"]
    assert run(["stack", str(volume), *options]) == 2
    assert "method='dense' or 'decoder' only" in complaint(capsys)
    assert (
        run(["stack", str(volume), "--json", "-q", "--point", "3,9,9", "--method", "memory"]) == 2
    )
    assert "default cannot follow objects by memory" in complaint(capsys)


def test_tracks(volume, tmp_path):
    out = tmp_path / "out"
    options = ["--axes", "TYX", "--link", "track", "--no-divisions", *LIMITS]
    assert run(["stack", str(volume), "-o", str(out), *options]) == 0
    with open(out / "embryo_tracks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["track", "t", "row", "col"]
    assert {row["track"] for row in rows} == {"1", "2"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "-o FOLDER"),
        (["-o", "out", "--point", "3,4"], "PLANE,ROW,COL"),
        (["-o", "out", "--point", "3.5,4,4"], "whole number"),
        (["-o", "out", "--point", "33,4,4"], "plane 33 lies outside"),
        (["-o", "out", "--box", "3,9,9,4,4"], "no area"),
        (["-o", "out", "--point", "3,13,13", "--max-gap", "2"], "--max-gap has no effect"),
        (["-o", "out", "--point", "3,13,13", "--min-area", "2"], "--min-area has no effect"),
        (["-o", "out", "--stiffness", "3"], "--stiffness has no effect"),
        (["-o", "out", "--axis", "T"], "no axis 'T'"),
        (["-o", "out", "--max-distance", "3"], "link='track' only"),
        (["-o", "out", "--tables", "t"], "--tables is for"),
        (["-o", "out", "--point", "3,4,4", "--labels", "x.tif"], "not both"),
        (["-o", "out", "--labels", "missing.tif"], "missing.tif"),
    ],
)
def test_bad_input(volume, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(["stack", str(volume), *arguments]) == 2
    assert words in complaint(capsys)
    assert not (tmp_path / "out").exists()
