"""A window is killed while a series is annotated: at most the event under way is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_segment_anything.bridge.project.project_session import ProjectSession
from napari_segment_anything.bridge.viewer_session import ViewerSession
from napari_segment_anything.projects import Project

from ..tiny import tiny_model
from .conftest import NO_DISPLAY
from .test_project import project
from .test_project_stages import give_suggestions

__all__ = ["project"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SCRIPT = """
import itertools, sys
import napari, numpy as np
from qtpy.QtTest import QTest
from napari_segment_anything.engine import Window
from napari_segment_anything.projects import Project
from napari_segment_anything.widgets.project import ProjectWidget
from tests.tiny import tiny_model

viewer = napari.Viewer()
widget = ProjectWidget(viewer)
viewer.window.add_dock_widget(widget)
widget.session.set_model(tiny_model())
widget.suggestions.automatic.value = False
widget.open(Project.open(sys.argv[1]))
while widget.series.now is None:
    QTest.qWait(20)
board = widget.series.board
board.threshold = 0.0
mask = np.ones((6, 6), bool)
for number in itertools.count():
    if sys.argv[2] == "annotate":
        window = Window(8 * (number // 18), 8 * (number % 18), 6, 6)
        widget.session.set_mask(mask, window)
        widget.session.planes.current.session.paint_preview(mask, window)
        widget.session.commit()
    elif not board.shown:
        QTest.qWait(60_000)
    elif number % 2:
        board.reject(board.shown[0].id)
    else:
        board.take(board.shown[:1])
    print(len(widget.session.objects), flush=True)
    QTest.qWait(5)
"""


@pytest.mark.skipif(NO_DISPLAY, reason="needs a display (xvfb-run)")
@pytest.mark.parametrize("stage", ["annotate", "suggestions"])
def test_a_killed_window_loses_at_most_the_event_under_way(project, tmp_path, stage) -> None:
    components = pytest.importorskip("napari.components")
    image = project.image("im0")
    if stage == "suggestions":
        give_suggestions(image)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path])}
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(project.folder), stage],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    moment = random.Random(stage)
    with running:
        try:
            said = [running.stdout.readline() for _ in range(moment.randrange(3, 8))]
            time.sleep(moment.uniform(0, 0.1))
        finally:
            running.kill()
        said += running.stdout.readlines()
    assert all(said), "the window did not open"
    done = max(map(int, said))
    viewer = components.ViewerModel()
    session = ViewerSession(viewer, tiny_model())
    opened = ProjectSession(session, Project.open(project.folder))
    opened.board.automatic = False
    opened.go_to("im0")
    assert done <= len(session.objects) <= done + 1
    labels = opened.layers.labels.data
    assert set(np.unique(labels).tolist()) - {0} == set(session.objects)
    taken = opened.board.suggestions.counts()["taken"]
    assert taken == (len(session.objects) if stage == "suggestions" else 0)
    opened.close()
    session.close()
    assert len(np.unique(image.labels())) - 1 in (done, done + 1)
