"""A project of small images, and a session on it in a viewer without a window."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_segment_anything.bridge.project.project_session import ProjectSession
from napari_segment_anything.bridge.viewer_session import ViewerSession
from napari_segment_anything.projects import Project

from ...tiny import tiny_model

SHAPE = (60, 80)


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture
def project(tmp_path):
    """Return a project of three images: a, b, c."""
    folder = tmp_path / "raw"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        tifffile.imwrite(folder / f"{name}.tif", rng.integers(0, 255, SHAPE, dtype=np.uint8))
    return Project.create(tmp_path / "project", folder, classes=["cell", "debris"])


@pytest.fixture
def opened(viewer, project, model):
    """Return a session on the project that suggests nothing by itself."""
    session = ViewerSession(viewer, model)
    made = ProjectSession(session, project, who="ann")
    made.board.automatic = False
    yield made
    made.close()
    session.close()


def click(opened, *points):
    """Make an object at each point."""
    for point in points:
        opened.session.add_point(point)
        opened.session.commit()
