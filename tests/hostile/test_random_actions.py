"""Random actions in a real window, with a new seed: `pytest -m fuzz tests/hostile`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("napari", reason="napari is not installed")


@pytest.mark.fuzz
def test_random_actions_raise_nothing_and_end_nothing() -> None:
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen" or not os.environ.get("DISPLAY"):
        pytest.skip("needs a display (xvfb-run)")
    command = [sys.executable, "-m", "tests.hostile.random_actions", str(random.randrange(10**6))]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
