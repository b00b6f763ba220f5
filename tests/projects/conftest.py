"""A folder of small images, and a project on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_segment_anything.projects import Project


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait half a second for whoever has an image locked: here they never let go."""
    monkeypatch.setattr("napari_segment_anything.projects.editing._WAIT", 0.02)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three pictures of 40 x 50 pixels: a0, a1, a2."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(3):
        pixels = np.full((40, 50), 40 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"a{number}.png")
    return folder


@pytest.fixture
def project(tmp_path: Path, raw: Path) -> Project:
    """A project on them, with two classes."""
    return Project.create(tmp_path / "project", raw, classes=["cell", "dead cell"])


@pytest.fixture
def labels() -> np.ndarray:
    """Two objects, 1 and 2."""
    found = np.zeros((40, 50), np.int32)
    found[3:9, 3:9], found[20:30, 20:40] = 1, 2
    return found
