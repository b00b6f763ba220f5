"""A window is killed at any stage of a series: at most the event under way is lost."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager

import numpy as np
import pytest

from napari_segment_anything.bridge.project.project_session import ProjectSession
from napari_segment_anything.bridge.viewer_session import ViewerSession
from napari_segment_anything.projects import Project
from napari_segment_anything.projects.learning import can_resume
from napari_segment_anything.projects.learning_process import cancel_learning, learning_status

from ..tiny import tiny_model
from ..training.small import stored
from .conftest import NO_DISPLAY
from .test_project import project
from .test_project_stages import disks, give_suggestions

__all__ = ["project"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SCRIPT = """
import itertools, os, sys
import napari, napari._qt.qt_main_window, napari.settings, numpy as np
from pathlib import Path
from qtpy.QtTest import QTest
from napari_segment_anything.engine import Window
from napari_segment_anything.projects import Project
from napari_segment_anything.projects.learning_process import start_learning
from napari_segment_anything.widgets.project import ProjectWidget
from tests.tiny import tiny_model

napari.settings.get_settings().config_path = Path(os.environ["NAPARI_CONFIG"])
viewer = napari.Viewer()
widget = ProjectWidget(viewer)
viewer.window.add_dock_widget(widget)
widget.session.set_model(tiny_model())
widget.suggestions.automatic.value = False
widget.open(Project.open(sys.argv[1]))
while widget.series.now is None:
    QTest.qWait(20)
board, stage = widget.series.board, sys.argv[2]
board.threshold = 0.0
if stage == "review":
    widget.show_stage("review")
    widget.review.start()
if stage == "learn":
    start_learning(sys.argv[1], steps=500, threads=1)
    widget.show_stage("learn")
mask = np.ones((6, 6), bool)
for number in itertools.count():
    if stage in ("annotate", "learn"):
        window = Window(8 * (number // 18), 8 * (number % 18), 6, 6)
        widget.session.set_mask(mask, window)
        widget.session.planes.current.session.paint_preview(mask, window)
        widget.session.commit()
    elif not board.shown:
        QTest.qWait(60_000)
    elif stage == "review":
        while not board.asked:
            QTest.qWait(1)
        (widget.review.reject if number % 2 else widget.review.accept)()
    elif number % 2:
        board.reject(board.shown[0].id)
    else:
        board.take(board.shown[:1])
    decided = 0 if board.suggestions is None else board.suggestions.counts()["rejected"]
    print(len(widget.session.objects), decided, flush=True)
    # learning takes long to begin: a few objects at once, and one now and then until it has
    QTest.qWait(500 if stage == "learn" and number > 8 else 5)
"""


def run_and_kill(processes, project, stage: str, ready=lambda: True) -> tuple[int, int]:
    """Return how many objects and rejections the window told of before it was killed."""
    moment = random.Random(stage)
    with processes.start(SCRIPT, project.folder, stage) as running:
        try:
            said = [running.stdout.readline() for _ in range(moment.randrange(3, 8))]
            while not ready():
                said.append(running.stdout.readline())
            time.sleep(moment.uniform(0, 0.1))
        finally:
            running.kill()
        said += running.stdout.readlines()
        errors = running.stderr.read()
    assert all(said), f"the window did not open: {errors}"
    told = [tuple(map(int, line.split())) for line in said]
    return max(count for count, _ in told), max(count for _, count in told)


@contextmanager
def opened_again(project):
    """Open the project's first image in another viewer."""
    components = pytest.importorskip("napari.components")
    session = ViewerSession(components.ViewerModel(), tiny_model())
    opened = ProjectSession(session, Project.open(project.folder))
    opened.board.automatic = False
    opened.go_to("im0")
    yield opened
    opened.close()
    session.close()


@pytest.mark.skipif(NO_DISPLAY, reason="needs a display (xvfb-run)")
@pytest.mark.parametrize("stage", ["annotate", "suggestions", "review"])
def test_a_killed_window_loses_at_most_the_event_under_way(processes, project, stage) -> None:
    image = project.image("im0")
    if stage != "annotate":
        give_suggestions(image)
    done, rejected = run_and_kill(processes, project, stage)
    with opened_again(project) as opened:
        assert done <= len(opened.session.objects) <= done + 1
        labels = opened.layers.labels.data
        assert set(np.unique(labels).tolist()) - {0} == set(opened.session.objects)
        counts = opened.board.suggestions.counts()
        assert counts["taken"] == (len(opened.session.objects) if stage != "annotate" else 0)
        assert rejected <= counts["rejected"] <= rejected + 1
    assert len(np.unique(image.labels())) - 1 in (done, done + 1)


@pytest.mark.timeout(600)
@pytest.mark.skipif(NO_DISPLAY, reason="needs a display (xvfb-run)")
def test_learning_goes_on_when_the_window_is_killed(processes, project, tmp_path) -> None:
    coarse = {"grid": {"points_per_side": 8}}
    project.set_model(str(stored(tmp_path, everything=coarse)))
    with project.image("im1").lock() as editing:
        editing.write(labels=disks(), state="complete")

    def learning() -> bool:
        status = learning_status(project.folder)
        return status is not None and status.state == "running" and bool(status.losses)

    done, _ = run_and_kill(processes, project, "learn", learning)
    before = learning_status(project.folder)
    assert before.active
    with opened_again(project) as opened:
        assert done <= len(opened.session.objects) <= done + 1
    deadline = time.monotonic() + 240
    while learning_status(project.folder).done <= before.done and time.monotonic() < deadline:
        time.sleep(0.1)
    now = learning_status(project.folder)
    assert now.done > before.done
    cancel_learning(project.folder)
    while learning_status(project.folder).active and time.monotonic() < deadline:
        time.sleep(0.1)
    assert can_resume(project)
