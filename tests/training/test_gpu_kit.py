"""The GPU kit of the benchmarks, in miniature on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import napari_segment_anything as nsa

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu.py"


def kit(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(out), str(out), "--device", "cpu", "--miniature"]
    return subprocess.run([*command, *more], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pieces_survive_being_cut_and_leave_their_results(tmp_path):
    out, page = tmp_path / "out", tmp_path / "page.md"
    page.write_text("<!-- gpu table -->\n<!-- end of gpu table -->\n")
    cut = kit(out, "--only", "train", "--seconds", "1")
    assert cut.returncode == 0, cut.stderr
    assert not json.loads((out / "train.json").read_text())["complete"]

    done = kit(out, "--write", str(page), "--seconds", "400")
    assert done.returncode == 0, done.stderr
    checks, speed, train = (
        json.loads((out / f"{piece}.json").read_text()) for piece in ("checks", "speed", "train")
    )
    assert checks["passed"] and train["complete"]
    assert all(row["share"] > 0 for row in speed["encoders"])
    assert speed["large run"]["objects"] > 0
    model = nsa.load_model(out / "weights.safetensors", device="cpu")
    assert model.has_dense_maps and model.focus is not None
    assert "| encoder |" in page.read_text() and "checks: `" in page.read_text()
