"""The user's own layers, brush strokes, everything mode, hovering, loading, large images."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed")

import zarr

import napari_segment_anything as nsa
from napari_segment_anything.bridge import Background, ViewerSession, attach
from napari_segment_anything.engine import EmbeddingCache, Window
from napari_segment_anything.errors import CheckpointError, ParameterError, PromptError

from ..bright import bright_model
from .test_viewer_session import DISK, SQUARE, found, picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def predictor() -> nsa.Predictor:
    return nsa.Predictor(bright_model(), EmbeddingCache())


@pytest.fixture
def image(viewer):
    return viewer.add_image(picture())


@pytest.fixture
def session(viewer, predictor):
    session = ViewerSession(viewer, predictor=predictor)
    yield session
    session.close()


def test_following_points(viewer, image, session) -> None:
    mine = viewer.add_points(
        np.array([DISK]) * 2, scale=(0.5, 0.5), features={"label": ["positive"]}
    )
    session.set_image(image)
    session.follow(mine)
    mine.name = "renamed"
    assert session.source is mine
    assert session.draft.points[0].position == pytest.approx(DISK)
    mine.feature_defaults = {"label": "negative"}
    mine.add([[120, 120]])
    assert [point.positive for point in session.draft.points] == [True, False]
    session.commit()
    assert session.draft is None
    mine.feature_defaults = {"label": "positive"}
    mine.add([[2 * SQUARE[0], 2 * SQUARE[1]]])
    assert [point.position for point in session.draft.points] == [pytest.approx(SQUARE)]
    heard = []
    session.failed.connect(heard.append)
    mine.add([[900, 900]])
    assert len(session.draft.points) == 1 and "outside the image" in str(heard[0])
    viewer.layers.remove(mine)
    assert session.source is None
    session.commit()
    assert set(np.unique(session.target.data)) == {0, 1, 2}
    with pytest.raises(PromptError, match="Points or Shapes"):
        session.follow(image)


def test_following_a_batch_of_points_and_of_boxes(viewer, image, session) -> None:
    mine = viewer.add_points(np.array([DISK, SQUARE]))
    session.set_image(image)
    session.follow(mine, batch=True)
    assert session.draft.batch and len(session.preview.objects) == 2
    assert session.commit() == (1, 2)
    boxes = viewer.add_shapes(
        [[[68, 73], [68, 107], [102, 107], [102, 73]], [[12, 12], [12, 48], [48, 48], [48, 12]]],
        shape_type="rectangle",
    )
    session.set_options(overwrite=True)
    session.follow(boxes, batch=True)
    assert len(session.preview.objects) == 2
    boxes.add([[5, 60], [5, 90], [30, 90], [30, 60]], shape_type="ellipse")
    assert len(session.preview.objects) == 3
    session.follow(None)
    session.cancel()


def test_following_keeps_to_the_plane(viewer, predictor) -> None:
    viewer.add_image(np.stack([picture()] * 3))
    mine = viewer.add_points([[0, *DISK], [2, *SQUARE]])
    session = ViewerSession(viewer, predictor=predictor)
    viewer.dims.set_current_step(0, 0)
    session.follow(mine)
    assert len(session.draft.points) == 1
    session.commit()
    viewer.dims.set_current_step(0, 2)
    assert session.draft.points[0].position == pytest.approx(SQUARE)
    assert session.draft.plane == (2,)
    session.close()


def test_brush_strokes_on_the_target_can_be_undone(viewer, predictor) -> None:
    viewer.add_image(np.stack([picture()] * 3))
    session = ViewerSession(viewer, predictor=predictor)
    viewer.dims.set_current_step(0, 1)
    session.add_point(DISK)
    session.commit()
    target = session.target
    before = target.data.copy()
    target.selected_label = 9
    target.brush_size = 7
    target.paint((1, 100, 20), 9)
    target.fill((1, 1, 1), 4)
    target.data_setitem((np.array([1, 1]), np.array([5, 6]), np.array([7, 7])), 3)
    assert set(session.objects) == {1, 3, 4, 9} and session.objects[9].plane == (1,)
    assert session.undo() == "paint" and target.data[1, 5, 7] == 4
    session.undo()
    session.undo()
    assert np.array_equal(target.data, before)
    session.redo()
    assert target.data[1, 100, 20] == 9
    session.close()


def test_everything_in_a_region_of_a_plane(viewer, predictor) -> None:
    viewer.add_image(np.stack([picture()] * 2), scale=(2, 1, 1), translate=(0, 5, 5))
    session = ViewerSession(viewer, predictor=predictor)
    viewer.dims.set_current_step(0, 1)
    heard = []
    session.progressed.connect(heard.append)
    table = session.everything(region=Window(64, 64, 60, 60))
    layer = viewer.layers[-1]
    assert layer.data.shape == (1, 60, 60) and heard
    assert layer.data_to_world((0, 0, 0)) == pytest.approx((2, 69, 69))
    assert len(layer.features) == len(table.features("small")["label"])
    with pytest.raises(ParameterError, match="region"):
        session.everything(region="somewhere")
    session.close()


def test_what_is_in_sight(viewer, image, session) -> None:
    from napari_segment_anything.bridge.runs.areas import find_area

    viewer.scene.camera.center = (0, 40, 60)
    viewer.scene.camera.zoom = 20
    height = viewer.canvas.size[0]
    window = find_area(viewer, [image], "view").window
    assert window.height == pytest.approx(height / 20, abs=2)
    assert window.row + window.height / 2 == pytest.approx(40, abs=2)
    assert window.col + window.width / 2 == pytest.approx(60, abs=2)


def test_hovering_shows_a_mask_and_changes_nothing(viewer, image, session, mouse) -> None:
    from types import SimpleNamespace

    session.hover_preview = True
    session.add_point(DISK)  # the window is encoded from here on
    session.cancel()
    viewer.layers.selection.active = image
    event = SimpleNamespace(position=DISK, modifiers=())
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, event)
    assert np.asarray(session.working.masks.layer.data).any()
    assert session.draft is None and not session.working.prompts.data.size
    event.position = (-90, -90)
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, event)
    assert not np.asarray(session.working.masks.layer.data).any()


@pytest.fixture
def loaded(monkeypatch):
    """A model that is found by the name "default", and by no other."""
    from napari_segment_anything.bridge.viewer import model_holder

    def load(name, *given, **options):
        if name != "default":
            return load_model(name, *given, **options)
        return bright_model()

    load_model = model_holder.load_model
    monkeypatch.setattr(model_holder, "load_model", load)


@pytest.mark.usefixtures("loaded")
def test_a_click_waits_for_the_model(viewer, image) -> None:
    calls, arrived = [], threading.Event()

    def dispatch(call) -> None:
        calls.append(call)
        arrived.set()

    def settle() -> None:
        while session.busy:
            assert arrived.wait(60)
            arrived.clear()
            while calls:
                calls.pop(0)()

    session = ViewerSession(viewer, run=Background(dispatch))
    heard = []
    session.failed.connect(heard.append)
    session.click(DISK)
    session.click(SQUARE, positive=False)
    assert session.busy and not session.is_loaded
    settle()
    assert session.is_loaded and len(session.draft.points) == 2 and session.preview is not None
    session.set_model("no such model")
    settle()
    assert isinstance(heard[0], CheckpointError) and session.is_loaded
    assert session.preview is not None
    session.close()


@pytest.mark.usefixtures("loaded")
def test_a_model_that_does_not_exist(viewer, image) -> None:
    session = ViewerSession(viewer, model="no such model")
    with pytest.raises(CheckpointError):
        session.add_point(DISK)
    session.set_model("default")
    session.add_point(DISK)
    assert session.preview is not None
    session.close()


class Counting:
    """An array that counts the pixels read from it."""

    def __init__(self, array) -> None:
        self.array, self.read = array, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index):
        part = np.asarray(self.array[index])
        self.read += part.size
        return part

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read whole")


@pytest.mark.slow
def test_a_huge_image_is_read_around_the_click_only(viewer, predictor) -> None:
    dask = pytest.importorskip("dask.array")
    tile = dask.from_array(np.tile(picture(), (8, 8)), chunks=1024)
    levels = [dask.tile(tile[:: 4**i, :: 4**i], (50, 38)) for i in range(3)]
    layer = viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255), scale=(0.1, 0.1))
    session = ViewerSession(viewer, predictor=predictor, image=layer)
    at = (128 * 300 + DISK[0], 128 * 200 + DISK[1])
    session.add_point(at)
    window = session.preview.window
    assert max(window.shape) <= 2 * predictor.model.image_size
    assert session.working.masks.layer.data.shape == window.shape
    session.commit()
    assert session.object_at(at) == 1
    assert session.target.multiscale
    session.close()


class Endless(Counting):
    """Disks without end, computed where they are asked for; napari's look at all of it is free."""

    def __init__(self, side: int) -> None:
        self.shape, self.dtype, self.ndim, self.read = (side, side), np.dtype(np.uint8), 2, 0
        self.tile = picture()

    def __getitem__(self, index):
        spans = [range(*part.indices(n)) for part, n in zip(index, self.shape, strict=True)]
        if all(len(span) == n for span, n in zip(spans, self.shape, strict=True)):
            return np.broadcast_to(np.uint8(0), self.shape)
        self.read += len(spans[0]) * len(spans[1])
        return self.tile[np.ix_(*(np.array(span) % 128 for span in spans))]


def test_a_huge_image_without_a_pyramid_is_read_around_the_click_only(
    viewer, predictor, tmp_path
) -> None:
    pixels = Endless(51_000)
    layer = viewer.add_image(pixels, contrast_limits=(0, 255))
    session = ViewerSession(viewer, predictor=predictor, image=layer, journal=tmp_path / "j.jsonl")
    at = (128 * 300 + DISK[0], 128 * 200 + DISK[1])
    session.add_point(at)
    window = session.preview.window.height * session.preview.window.width
    sample = 1 << 20  # for the contrast of the whole image
    assert pixels.read < sample + 4 * window + 200_000
    read, began = pixels.read, time.process_time()
    assert session.commit() == (1,)
    session.undo()
    session.redo()
    assert time.process_time() - began < 2  # nothing looks at all of the labels
    assert session.object_at(at) == 1
    assert pixels.read < read + 2 * 128 * 128  # the object's own pixels, to measure it
    assert session.target.multiscale and len(session.target.data) > 4
    session.add_point((at[0] + 1280, at[1]))
    assert pixels.read < read + 4 * window
    session.close()


def test_zarr_in_and_out(viewer, predictor) -> None:
    store = zarr.storage.MemoryStore()
    array = zarr.create_array(store, data=np.stack([picture()] * 3), chunks=(1, 64, 64))
    viewer.add_image(array)
    labels = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(3, 128, 128), chunks=(1, 64, 64), dtype=np.uint16
    )
    target = viewer.add_labels(labels)
    session = attach(viewer, predictor=predictor, target=target)
    viewer.dims.set_current_step(0, 2)
    session.add_point(DISK)
    assert session.commit() == (1,)
    assert found(labels[2], 1, 1) and not labels[:2].any()
    session.undo()
    assert not labels[:].any()
    session.close()


def test_labels_too_small_for_another_object(viewer, image, predictor) -> None:
    full = np.zeros((128, 128), np.uint8)
    full[0, 0] = 255
    session = ViewerSession(viewer, predictor=predictor, target=viewer.add_labels(full))
    session.add_point(DISK)
    with pytest.raises(ParameterError, match="255"):
        session.commit()
    assert full.sum() == 255 and session.draft is not None
    session.close()


def test_new_pixels_in_the_image_begin_anew(viewer, image, session) -> None:
    session.add_point(DISK)
    session.commit()
    target = session.target
    image.data = picture()[::-1].copy()
    assert session.draft is None and session.target is target
    session.add_point((128 - DISK[0], DISK[1]))
    assert session.commit() == (2,)
    image.data = np.zeros((60, 60))
    with pytest.raises(ParameterError, match="shape"):
        session.add_point((5, 5))


def test_journal(viewer, image, predictor, tmp_path) -> None:
    session = ViewerSession(viewer, predictor=predictor, journal=tmp_path / "a.jsonl")
    session.add_point(DISK)
    session.commit()
    session.close()
    assert (tmp_path / "a.jsonl").read_text().count("\n") >= 4


def test_options(viewer, image, session) -> None:
    with pytest.raises(ParameterError, match="overwrite"):
        session.set_options(overwrit=True)
    session.add_point(DISK)
    count = len(session.preview.scores)
    session.set_options(multimask=False)
    assert len(session.preview.scores) == 1 < count
    session.set_options(window_size=64)
    assert session.draft is None
    session.add_point(DISK)
    assert session.preview.window.shape == (64, 64)
