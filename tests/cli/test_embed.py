"""`napari-sam embed`, run as the program runs it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import zarr

from napari_segment_anything.cli.main import run
from napari_segment_anything.engine import EmbeddingCache, EncodePlan, PlaneSource, Predictor
from napari_segment_anything.session import ArrayTarget, Session

from ..tiny import tiny_model

pytestmark = pytest.mark.usefixtures("tiny")


def embed(capsys, *arguments) -> dict:
    assert run(["embed", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments) -> str:
    assert run(["embed", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("napari-sam: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def encodings(monkeypatch):
    """What the model encodes from now on."""
    done = []
    kind = type(tiny_model())
    real = kind.encode
    monkeypatch.setattr(kind, "encode", lambda self, *a: done.append(1) or real(self, *a))
    # masks of this model mean nothing: none is cut off and wants a larger window
    monkeypatch.setattr(EncodePlan, "wider", lambda *_: None)
    return done


def click(levels, folder, points, plane=(), **options):
    """Click as the viewer does, with a model of the same fingerprint."""
    source = PlaneSource(levels, **options)
    session = Session(
        Predictor(tiny_model(), EmbeddingCache(folder)),
        source,
        ArrayTarget(np.zeros((*source.plane_shape, *source.shape), int)),
    )
    for point in points:
        session.add_point(plane, point)
        session.update()
        session.cancel()


def test_a_small_image_is_encoded_whole(tmp_path, capsys, encodings):
    pixels = np.random.default_rng(0).integers(0, 4000, (200, 180), np.uint16)
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, pixels)
    first = embed(capsys, path)
    assert (first["windows"], first["encoded"], first["already_there"]) == (1, 1, 0)
    assert first["bytes"] > 0
    second = embed(capsys, path)
    assert (second["encoded"], second["already_there"], second["bytes"]) == (0, 1, 0)
    before = len(encodings)
    click(pixels, first["directory"], [(5, 5), (100, 90), (199, 179)], path=str(path))
    click(pixels, first["directory"], [(5, 5)])  # an image without a file too
    assert run(["segment", str(path), "--point", "50,50", "--cache", "--json"]) == 0
    assert len(encodings) == before == 1


@pytest.mark.slow
def test_a_large_image_in_windows(tmp_path, capsys, encodings):
    path = tmp_path / "slide.ome.zarr"
    pixels = np.random.default_rng(0).integers(0, 255, (900, 700), np.uint8)
    group = zarr.create_group(path)
    levels = [
        group.create_array(str(n), data=pixels[:: 2**n, :: 2**n], chunks=(256, 256))
        for n in range(3)
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": str(n)} for n in range(3)]}],
    }
    region = embed(capsys, path, "--region", "100,100,200,220")
    everything = embed(capsys, path)
    assert 0 < region["windows"] < everything["windows"]
    assert everything["already_there"] == region["windows"]
    assert everything["encoded"] == everything["windows"] - region["windows"]
    before = len(encodings)
    random = np.random.default_rng(1)
    click(levels, everything["directory"], random.uniform(0, (899, 699), (10, 2)), path=str(path))
    assert len(encodings) == before
    boxes = embed(capsys, path, "--boxes", "40", "--directory", tmp_path / "other")
    assert boxes["windows"] > everything["windows"]
    assert boxes["directory"] == str(tmp_path / "other")
    assert (tmp_path / "other" / "windows").is_dir()
    larger = embed(capsys, path, "--window", "400")
    assert larger["windows"] < everything["windows"]


@pytest.mark.slow
def test_stacks_and_channels(tmp_path, capsys, encodings):
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 3, 2, 150, 160), np.uint16)
    path = tmp_path / "movie.ome.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "TZCYX"})
    assert embed(capsys, path, "--channels", "1")["planes"] == 6
    assert embed(capsys, path, "--channels", "1", "--plane", "T=1")["already_there"] == 3
    one = embed(capsys, path, "--channels", "1", "--plane", "T=1,Z=-1")
    assert (one["planes"], one["already_there"]) == (1, 1)
    before = len(encodings)
    # a viewer has the channels as images of their own
    for plane in ((0, 0), (1, 2)):
        click(pixels[:, :, 1], one["directory"], [(70, 80)], plane, path=str(path))
    assert len(encodings) == before
    assert "no stack axis C" in refused(capsys, path, "--plane", "C=0")
    assert "planes 0 to 2 along Z" in refused(capsys, path, "--plane", "Z=3")
    assert "has 5 axes" in refused(capsys, path, "--channel-axis", "5")
    np.save(tmp_path / "a.npy", pixels[0, 0])
    with_axis = embed(capsys, tmp_path / "a.npy", "--channel-axis", "0")
    assert with_axis["planes"] == 1


def test_every_image_of_a_plate(tmp_path, capsys):
    plate = zarr.create_group(tmp_path / "plate.ome.zarr")
    wells = ["A/1", "B/2"]
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": w} for w in wells]}}
    for number, well in enumerate(wells):
        group = plate.create_group(well)
        group.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}]}}
        image = group.create_group("0")
        image.create_array(
            "s", data=np.full((60, 70), number + 1, np.uint8) * np.eye(60, 70, 0, np.uint8)
        )
        axes = [{"name": name, "type": "space"} for name in "yx"]
        multiscales = [{"axes": axes, "datasets": [{"path": "s"}]}]
        image.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    message = refused(capsys, tmp_path / "plate.ome.zarr", "--cache-gigabytes", "0.00004")
    assert message.startswith("napari-sam: 2 embeddings take about")
    done = embed(capsys, tmp_path / "plate.ome.zarr")
    assert (done["images"], done["windows"]) == (2, 2)


@pytest.mark.slow
def test_what_is_said(tmp_path, capsys):
    assert run(["embed", "sample:coins"]) == 0
    printed = capsys.readouterr()
    assert "1 encoded" not in printed.out
    for word in ("windows", "encoded", "folder", "embeddings"):
        assert word in printed.out
    assert "embedding" in printed.err
    assert run(["embed", "sample:coins", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert "there is no file" in refused(capsys, tmp_path / "none.tif")
    assert "above 0" in refused(capsys, "sample:coins", "--cache-gigabytes", "0")
    assert "outside the image" in refused(capsys, "sample:coins", "--region", "900,900,950,950")
    assert "raise the bound" in refused(
        capsys, "sample:coins", "--cache-gigabytes", "0.0003", "--window", "64"
    )
    assert run(["embed", "--help"]) == 0
    assert "--region" in capsys.readouterr().out
