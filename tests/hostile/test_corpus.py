"""Every hostile input of the corpus: refused in one line, at once, and nothing is left behind."""

from __future__ import annotations

import shutil
import time

import pytest

from napari_segment_anything.cli.main import run

from ..cli.conftest import tiny as tiny
from .corpus import CASES, image

pytestmark = pytest.mark.skipif(shutil.which("mkfifo") is None, reason="needs named pipes")


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name != ".lock")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.name}"[:60])
@pytest.mark.usefixtures("tiny")
def test_it_is_refused_in_one_line(case, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "work" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    command = case.make(folder)
    before = listing(tmp_path / "work")
    began = time.process_time()
    code = run(command)
    seconds = time.process_time() - began
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("napari-sam:")]
    assert code == 2, printed.err
    assert len(lines) == 1
    assert case.says in lines[0]
    assert listing(tmp_path / "work") == before
    assert seconds < 10


@pytest.mark.slow
def test_the_image_of_the_corpus_is_a_good_one(tmp_path, monkeypatch, tiny):
    """What is refused above is refused for its fault, not for the command around it."""
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.save("i.npy", image())
    assert run(["segment", "i.npy", "--point", "5,5", "-o", "out", "-q"]) == 0
    assert run(["large", "i.npy", "-o", "out.zarr", "-q"]) == 0
    assert run(["embed", "i.npy", "-q"]) == 0
