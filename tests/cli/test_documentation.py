"""Every example in the documentation runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import napari_segment_anything as nsa
from napari_segment_anything import engine
from napari_segment_anything.cli import prompt_files
from napari_segment_anything.cli.main import run

from ..tiny import tiny_model

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/getting-started.md", "docs/command-line.md")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tiny")]


@pytest.fixture
def coarse(monkeypatch, tiny):
    """The tiny model, which has no dense head, is asked with a few points unless others are given.

    Gives what loads it.
    """

    def load_model(*_, **__):
        return tiny_model(everything={"grid": {"points_per_side": 6}})

    monkeypatch.setattr(engine, "load_model", load_model)
    return load_model


def picture():
    return nsa.sample("coins").image[:160, :160]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.S | re.M)


def commands() -> list[str]:
    lines = [
        line.removeprefix("$ ").split("  #")[0]
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.splitlines()
    ]
    return sorted({line for line in lines if line.startswith("napari-sam")})


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("command", commands())
def test_commands(command, tmp_path, monkeypatch):
    import tifffile

    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    for image in ("cells.tif", "raw/cells.tif"):
        tifffile.imwrite(image, picture())
    Path("clicks.csv").write_text("row,col\n54,44\n")
    fewer = command.replace("--points-per-side 48", "--points-per-side 8")
    assert run([*shlex.split(fewer)[1:]]) == 0


@pytest.mark.parametrize("page", PAGES)
def test_python(page, coarse, monkeypatch, tmp_path):
    """The blocks of a page, one after another, as a reader would run them."""
    import tifffile

    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("cells.tif", picture())
    monkeypatch.setattr(nsa, "load_model", coarse)
    names = {"image": picture()}
    for block in blocks(page, "python"):
        if "channel_axis" in block:
            names["image"] = picture()[None].repeat(3, 0)
            block = block.replace("contrast_limits", "channel_axis=0, contrast_limits")
        exec(compile(block, page, "exec"), names)


@pytest.mark.usefixtures("coarse")
def test_a_project_from_the_shell(monkeypatch, tmp_path):
    """The tutorial step by step, with fewer and smaller images and without learning."""
    page = "docs/how-to/project-from-the-shell.md"
    monkeypatch.chdir(tmp_path)
    (made,) = blocks(page, "python")
    small = made.replace("(512, 512)", "(160, 160)").replace("range(12)", "range(7)")
    exec(compile(small, page, "exec"), {})
    steps = [
        line.removeprefix("$ ")
        for block in blocks(page, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    assert len(steps) == 9
    for step in steps:
        if "learn" not in step:
            assert run([*shlex.split(step)[1:], "-q"]) == 0, step
    assert (tmp_path / "cells" / "audits" / "audit-1" / "methods.md").exists()
    assert {path.suffix for path in (tmp_path / "report").iterdir()} == {".md", ".csv", ".png"}
    assert len(list((tmp_path / "labels" / "labels").glob("*.tif"))) >= 5


def test_prompt_files(tmp_path):
    expected = [
        {"id": 1, "points": [[54, 44], [54, 100]], "labels": [1, 0]},
        {"id": 2, "box": [37, 79, 75, 122]},
    ]
    (table,) = (block for block in blocks("docs/command-line.md", "text") if "object" in block)
    (tmp_path / "clicks.csv").write_text(table)
    assert prompt_files.read_prompts(tmp_path / "clicks.csv") == expected
    (objects,) = blocks("docs/command-line.md", "json")
    (tmp_path / "clicks.json").write_text(objects)
    expected[1]["id"] = 7
    assert prompt_files.read_prompts(tmp_path / "clicks.json") == expected
