"""`napari-sam project`: what the viewer's widget does, without it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from napari_segment_anything.cli.main import run
from napari_segment_anything.formats import write_labels


@pytest.fixture
def cells(tmp_path):
    for number in range(2):
        Image.fromarray(np.full((20, 30), number, np.uint8)).save(tmp_path / f"a{number}.png")
    labels = np.zeros((20, 30), np.uint8)
    labels[2:5, 2:5] = 3
    write_labels(tmp_path / "labels" / "a1.tif", labels)
    write_labels(tmp_path / "more" / "a0.tif", labels)
    images = [str(tmp_path / f"a{number}.png") for number in range(2)]
    made = ["project", "new", str(tmp_path / "cells"), *images, "--class", "cell=#00ff00", "-q"]
    assert run([*made, "--nudge-seconds", "10", "--pixel-size", "0.5,0.5,micrometer"]) == 0
    return tmp_path / "cells"


def test_new_import_status_export(cells, tmp_path, capsys):
    source = str(tmp_path / "labels")
    assert run(["project", "import", str(cells), source, "--state", "complete", "-q"]) == 0
    assert run(["project", "status", str(cells), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["complete"] == 1 and found["classes"] == ["cell"]
    assert found["settings"]["nudge_seconds"] == 10
    assert [image["key"] for image in found["images"]] == ["a0", "a1"]
    assert run(["project", "status", str(cells), "--images"]) == 0
    printed = capsys.readouterr().out
    assert "2, 1 todo, 1 complete" in printed and "a1" in printed
    out = str(tmp_path / "out")
    assert run(["project", "export", str(cells), "-o", f"{out}2", "--state", "complete"]) == 0
    assert "left out" not in capsys.readouterr().out
    assert run(["project", "import", str(cells), str(tmp_path / "more"), "-q"]) == 0
    assert run(["project", "export", str(cells), "-o", f"{out}3"]) == 0
    assert "labels of 1 in progress; see --state" in capsys.readouterr().out
    assert run(["project", "export", str(cells), "-o", out, "--format", "coco", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == 1
    assert run(["project", "export", str(cells), "-o", out]) == 2
    assert "exists already" in capsys.readouterr().err
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "b.png")
    assert run(["project", "add", str(cells), str(tmp_path / "b.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"added": ["b"], "images": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "nowhere"], "is not a project"),
        (["new", "p", "nothing.tif"], "there is no file or folder"),
        (["new", "p", "sample:coins", "--pixel-size", "a"], "--pixel-size is ROW,COL"),
        (["new", "p", "sample:coins", "--class", "a=red"], "the colour of a is #rrggbb"),
        (["new", "p", "sample:coins", "--held-out-share", "2"], "--held-out-share must be"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(["project", *arguments]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("napari-sam: ")]
    assert len(lines) == 1 and message in lines[0]
