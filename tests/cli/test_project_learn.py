"""`napari-sam project learn`: a new version, in the foreground and in the background."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from napari_segment_anything.cli.main import run
from napari_segment_anything.projects import Project
from napari_segment_anything.projects import learning_process as process

from ..training.small import disks, stored


@pytest.fixture
def annotated(tmp_path):
    """A project of two images, one of them labelled."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(2):
        Image.fromarray(disks(number, 96, 6)[0]).save(raw / f"d{number}.png")
    project = Project.create(tmp_path / "project", raw, model=str(stored(tmp_path)))
    with project.image("d0").lock() as editing:
        editing.write(labels=disks(0, 96, 6)[1], state="complete")
    return project


@pytest.mark.slow
def test_it_learns_and_uses_the_version(annotated, capsys):
    learn = ["project", "learn", str(annotated.folder)]
    assert run([*learn, "--steps", "2", "--device", "cpu", "--use", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "v1" and told["steps"] == 2
    annotated.reload()
    assert annotated.model == "v1"
    assert run([*learn, "--status"]) == 0
    out = capsys.readouterr().out
    assert "done" in out and "v1" in out


def test_in_the_background_it_starts_and_stops_a_process(annotated, capsys, monkeypatch):
    started = []
    monkeypatch.setattr(
        process.subprocess, "Popen", lambda command, **more: started.append(command)
    )
    learn = ["project", "learn", str(annotated.folder)]
    assert run([*learn, "--status"]) == 0 and "never started" in capsys.readouterr().out
    assert run([*learn, "--background", "--steps", "7", "--train", "decoder"]) == 0
    assert "starting" in capsys.readouterr().out
    assert started[0][3:] == [
        str(annotated.folder), "--steps=7", "--train=decoder", "--device=auto",
    ]  # fmt: skip
    assert run([*learn, "--background"]) == 2  # it runs already
    assert "already" in capsys.readouterr().err
    assert run([*learn, "--cancel"]) == 0
    assert (annotated.folder / "models" / ".learning" / "cancel").exists()


def test_contradictions_are_errors(annotated, capsys):
    assert run(["project", "learn", str(annotated.folder), "--status", "--use"]) == 2
    assert "give one of" in capsys.readouterr().err
