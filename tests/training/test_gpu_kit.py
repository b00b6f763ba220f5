"""The GPU kit of the benchmarks, in miniature on a CPU."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import napari_segment_anything as nsa

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def kit(monkeypatch, tmp_path):
    """Run the kit, or one of its pieces in this process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    gpu = importlib.import_module("gpu")
    out = tmp_path / "out"

    def run(*more: str) -> int:
        line = [gpu.__file__, str(out), str(out), "--device", "cpu", "--miniature", *more]
        monkeypatch.setattr(sys, "argv", line)
        return gpu.main()

    yield run
    for name in ("gpu", "page"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pieces_survive_being_cut_and_leave_their_results(tmp_path, kit, monkeypatch):
    out, page = tmp_path / "out", tmp_path / "page.md"
    page.write_text("<!-- gpu table -->\n<!-- end of gpu table -->\n")
    assert kit("--only", "train", "--seconds", "1") == 0
    assert not json.loads((out / "train.json").read_text())["complete"]

    def here(command, check):
        """A piece's process, without a new interpreter."""
        assert command[0] == sys.executable
        return subprocess.CompletedProcess(command, kit(*command[4:]))

    monkeypatch.setattr(sys.modules["gpu"], "subprocess", SimpleNamespace(run=here))
    assert kit("--write", str(page), "--seconds", "400") == 0
    checks, speed, train = (
        json.loads((out / f"{piece}.json").read_text()) for piece in ("checks", "speed", "train")
    )
    assert checks["passed"] and train["complete"]
    assert all(row["share"] > 0 for row in speed["encoders"])
    assert speed["large run"]["objects"] > 0
    model = nsa.load_model(out / "weights.safetensors", device="cpu")
    assert model.has_dense_maps and model.focus is not None
    assert "| encoder |" in page.read_text() and "checks: `" in page.read_text()
