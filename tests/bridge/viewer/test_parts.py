"""Each part of a viewer's session by itself, with a viewer without a window."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")

from napari_segment_anything.bridge.viewer.draft_canvas import DraftCanvas
from napari_segment_anything.bridge.viewer.images import SessionLayers
from napari_segment_anything.bridge.viewer.model_holder import ModelHolder
from napari_segment_anything.bridge.viewer.object_editor import ObjectEditor
from napari_segment_anything.bridge.viewer.plane_sessions import PlaneSessions
from napari_segment_anything.bridge.viewer.prompt_editor import PromptEditor
from napari_segment_anything.bridge.viewer.runners import ActionQueue, Background, Worker
from napari_segment_anything.bridge.viewer.signals import Notice, ViewerSignals
from napari_segment_anything.bridge.viewer.undo_trail import UndoTrail
from napari_segment_anything.engine import Predictor
from napari_segment_anything.errors import ImageError, ParameterError, PromptError

from ...tiny import tiny_model

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(tiny_model())


@pytest.fixture
def planes(viewer, predictor) -> PlaneSessions:
    signals, queue = ViewerSignals(), ActionQueue()
    models = ModelHolder(signals, Worker(signals.busy_changed.emit), queue, predictor=predictor)
    return PlaneSessions(SessionLayers(viewer, lambda: None), models, signals)


@pytest.fixture
def canvas(planes) -> DraftCanvas:
    queue, worker = ActionQueue(), Worker(lambda busy: None)
    models = ModelHolder(planes.signals, worker, queue, predictor=Predictor(tiny_model()))
    canvas = DraftCanvas(planes, models, worker, queue)
    planes.switched = canvas.switch
    yield canvas
    canvas.close()
    planes.close()


def stack(viewer):
    data = np.random.default_rng(0).integers(0, 255, (4, 60, 80)).astype(np.uint8)
    return viewer.add_image(data, scale=(2, 0.5, 0.5), translate=(0, 10, 20))


def test_what_is_shown_is_one_frozen_value(viewer, planes) -> None:
    image = stack(viewer)
    viewer.dims.set_current_step(0, 3)
    seen = planes.look()
    assert planes.layers.image is image and seen.plane == (3,) and seen.on is planes.current
    assert seen.points(image.data_to_world((3, 7, 9))) == pytest.approx((7, 9))
    assert seen.points([image.data_to_world((3, r, 1)) for r in (1, 2)]).shape == (2, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.plane = (0,)
    viewer.dims.order = (1, 0, 2)
    turned = planes.look()
    assert turned.on is not seen.on and turned.on.axes.displayed == (0, 2)
    assert planes.all == (seen.on, turned.on)
    planes.close()
    with pytest.raises(ParameterError, match="closed"):
        planes.look()


def test_layers_are_known_by_identity(viewer) -> None:
    heard = []
    layers = SessionLayers(viewer, lambda: heard.append(1))
    with pytest.raises(ImageError, match="open an image"):
        layers.present()
    image = stack(viewer)
    assert layers.present() == (image,) and layers.images == ()
    layers.choose((image,))
    image.name = "renamed"
    image.data = np.zeros((4, 60, 80))
    assert heard == [1]
    viewer.layers.remove(image)
    with pytest.raises(ImageError, match="removed"):
        layers.present()


def test_actions_wait_for_the_model_in_order() -> None:
    calls, done = [], []
    signals, queue = ViewerSignals(), ActionQueue()
    worker = Worker(signals.busy_changed.emit)
    worker.use(Background(calls.append))
    models = ModelHolder(signals, worker, queue, "no such model")
    failed = []
    signals.model_failed.connect(lambda source, error: failed.append(source))
    models.ask(lambda: done.append("click"), "prompt")
    queue.ask(lambda: done.append("undo"))
    assert not done and models.is_loading and worker.busy and queue.users == 2
    models.set_model(predictor=Predictor(tiny_model()))
    assert done == ["click", "undo"] and models.is_loaded and not failed
    worker.runner.close()


def test_prompts_decode_commit_and_undo(viewer, canvas) -> None:
    stack(viewer)
    prompts, trail = PromptEditor(canvas), UndoTrail(canvas)
    commits = ObjectEditor(prompts)
    canvas.planes.made = lambda new: new.session.events.history_changed.connect(
        lambda: trail.note(new)
    )
    with pytest.raises(PromptError, match="outside the image"):
        prompts.add_point((100, 5))
    prompts.add_point((30, 40))
    assert canvas.preview is not None and canvas.preview.mask.any()
    (label,) = commits.commit()
    assert commits.objects[label].plane == canvas.planes.plane
    assert commits.object_at(commits.objects[label].prompts.points[0]) in (label, None)
    viewer.dims.set_current_step(0, 3)
    assert trail.undo() == f"commit object {label}" and trail.can_redo
    assert viewer.dims.current_step[0] != 3 and not commits.objects


def test_errors_become_notifications_only_where_nobody_listens() -> None:
    signals, heard = ViewerSignals(), []
    signals.failed.connect(heard.append)
    signals.noticed.connect(heard.append)
    with signals.reporting():
        raise PromptError("no")
    signals.notice(Notice("axes"))
    assert str(heard[0]) == "no" and heard[1] == Notice("axes")
