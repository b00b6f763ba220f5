"""`napari-sam project suggest`: suggestions for a series, similar objects, the queue."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from napari_segment_anything.cli.main import run
from napari_segment_anything.projects import Project

from ..projects.test_similar import spots
from ..training.small import stored


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """Two images of disks, the model a small one with a dense head."""
    folder = tmp_path_factory.mktemp("untouched")
    raw = folder / "raw"
    raw.mkdir()
    for number in range(2):
        Image.fromarray(spots(seed=number)[0]).save(raw / f"s{number}.png")
    return Project.create(folder / "project", raw, model=str(stored(folder)))


@pytest.mark.slow
def test_suggests_once_lists_the_queue_and_finds_similar_ones(untouched, tmp_path, capsys):
    folder = shutil.copytree(untouched.folder.parent, tmp_path / "copy") / "project"
    project = Project.open(folder)
    project.configure(suggestion_score=0.0)
    verb = ["project", "suggest", str(project.folder), "--device", "cpu"]
    how = ["--mode", "grid", "--points-per-side", "4", "--pred-iou-thresh", "0"]
    how += ["--stability-score-thresh", "0", "--crop-n-layers", "0"]
    assert run([*verb, *how, "--queue", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["made"]) == {"s0", "s1"} and min(told["made"].values()) > 0
    assert len(told["queue"]) == 1 and 0 < told["queue"][0]["worth"] < 1
    assert run([*verb, *how, "--queue", "2"]) == 0
    out = capsys.readouterr().out
    assert "up to date   2" in out and "worth a look" in out
    assert run([*verb, *how, "--image", "s1", "--take", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["taken"]["s1"] > 0
    assert {entry.made_by for entry in project.image("s1").objects()} == {"suggestion"}
    labels = np.zeros(project.image("s0").shape, np.int32)
    spots()[1][0].paste(labels, 4)
    with project.image("s0").lock() as editing:
        editing.write(labels=labels)
    assert run([*verb, "--like", "s0:4", "--image", "s1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["made"]) == {"s1"} and not told["failed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--like", "s0"], "KEY:LABEL"),
        (["--like", "s9:1"], "no image 's9'"),
        (["--like", "s0:1", "--renew"], "leave out"),
        (["--like", "s0:1", "--take"], "leave out"),
        (["--like", "s0:1"], "no object 1"),
        (["--image", "s9"], "no image 's9'"),
        (["--points-per-side", "4", "--mode", "instances"], "no effect"),
    ],
)
def test_clear_errors(untouched, capsys, options, message):
    assert run(["project", "suggest", str(untouched.folder), "--device", "cpu", *options]) == 2
    assert message in capsys.readouterr().err
