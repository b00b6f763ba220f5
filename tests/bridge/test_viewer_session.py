"""Clicks to objects, in a viewer without a window."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("napari", reason="napari is not installed")

import napari_segment_anything as nsa
from napari_segment_anything.bridge import Background, ViewerSession, attach
from napari_segment_anything.engine import EmbeddingCache
from napari_segment_anything.errors import ImageError, ParameterError, PromptError

from ..bright import bright_model

pytestmark = pytest.mark.filterwarnings("default")

DISK, SQUARE = (30.0, 30.0), (85.0, 90.0)


def truth() -> np.ndarray:
    rows, cols = np.mgrid[:128, :128]
    labels = ((rows - 30) ** 2 + (cols - 30) ** 2 < 15**2).astype(np.uint8)
    labels[70:100, 75:105] = 2
    return labels


def picture() -> np.ndarray:
    flat = np.array([30, 200, 170])[truth()].astype(float)
    noise = np.random.default_rng(0).normal(0, 12, flat.shape)
    return np.clip(ndimage.gaussian_filter(flat, 1.5) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def predictor() -> nsa.Predictor:
    return nsa.Predictor(bright_model(), EmbeddingCache())


@pytest.fixture
def image(viewer):
    return viewer.add_image(picture(), scale=(0.5, 0.5), translate=(3, 4), units="um")


@pytest.fixture
def session(viewer, predictor):
    session = ViewerSession(viewer, predictor=predictor)
    yield session
    session.close()


def found(labels: np.ndarray, label: int, number: int) -> bool:
    """Whether a label is a part of an object; how much of it is the model's business."""
    mask, wanted = np.squeeze(labels) == label, truth() == number
    return mask.any() and (mask & wanted).sum() / mask.sum() > 0.5


@pytest.fixture(params=["bright", pytest.param("default", marks=pytest.mark.weights)])
def of_each_model(request, viewer, predictor):
    """A session with a model that sees bright things, and one with the embedded model."""
    if request.param == "default":
        predictor = nsa.Predictor(request.getfixturevalue("default_model"), EmbeddingCache())
    session = ViewerSession(viewer, predictor=predictor)
    yield session
    session.close()


def test_click_commit_undo_redo(viewer, image, of_each_model) -> None:
    session = of_each_model
    session.add_point(DISK)
    assert session.image is image and session.target is None
    assert session.preview.score > 0.3
    assert {layer.name for layer in viewer.layers} == {"Image", "preview", "prompts"}
    session.add_point((60, 60), positive=False)
    assert session.commit() == (1,)
    labels = session.target
    assert found(labels.data, 1, 1)
    assert viewer.layers.index(labels) == 1
    assert session.draft is None and len(session.working.prompts.data) == 0
    session.set_box((68, 73, 102, 107))
    assert session.commit() == (2,)
    assert found(labels.data, 2, 2)
    assert session.object_at(DISK) == 1 and session.object_at((1, 1)) is None
    assert session.undo() == "commit object 2" and labels.data.max() == 1
    assert session.preview is not None and len(session.working.boxes.data) == 1
    assert session.redo() == "commit object 2" and labels.data.max() == 2
    session.delete(1)
    assert 1 not in labels.data
    session.undo()
    session.edit(1)
    assert len(session.working.prompts.data) == 2
    session.remove_point(1)
    assert session.commit() == (1,)
    assert session.objects[1].prompts.points == (DISK,)
    assert session.can_undo and not session.can_redo


def test_mouse(viewer, image, session, mouse) -> None:
    def world(point):
        return image.data_to_world(point)

    viewer.layers.selection.active = image
    mouse.click(world(DISK))
    assert session.draft.points[0].position == pytest.approx(DISK)
    mouse.click(world((60, 60)), button=2)
    mouse.click(world((61, 60)), modifiers=("Shift",))
    assert [point.positive for point in session.draft.points] == [True, False, False]
    mouse.drag(world(DISK), world((50, 50)))  # pans
    assert len(session.draft.points) == 3
    mouse.click((-50, -50))  # beside the image
    mouse.click(world(DISK), modifiers=("Alt",))
    assert len(session.draft.points) == 3
    session.cancel()
    mouse.drag(world((68, 73)), world((80, 90)), world((102, 107)), modifiers=("Shift",))
    assert session.draft.boxes[0][1] == pytest.approx((68, 73, 102, 107))
    assert viewer.scene.camera.mouse_pan
    session.cancel()
    session.mode = "scribble"
    mouse.drag(world((30, 22)), world((30, 30)), world((30, 38)))
    assert len(session.draft.scribbles) == 1 and session.preview is not None
    session.cancel()
    mouse.drag(world((30, 2)), world((30, -8)), world((30, -20)))  # one vertex is on the image
    assert np.allclose(session.draft.scribbles[0][1].line, [[30, 2]])
    assert session.working.boxes.shape_type == ["path"]
    session.add_point(DISK)
    session.cancel()
    session.mode = "lasso"
    mouse.drag(*(world(p) for p in [(16, 16), (16, 44), (44, 44), (44, 16)]))
    assert session.draft.masks and session.preview is not None
    session.cancel()
    session.mode = "off"
    mouse.click(world(DISK))
    assert session.draft is None
    session.mode = "points"
    viewer.add_labels(np.zeros((4, 4), int))  # another layer is active
    mouse.click(world(DISK))
    assert session.draft is None


@pytest.mark.slow
def test_a_click_goes_to_the_pixel_under_it_in_every_placement(viewer, predictor, mouse) -> None:
    data = picture()
    placements = [
        {"scale": (2, 3), "translate": (-7, 5)},
        {"rotate": 35, "scale": (0.5, 0.5)},
        {"shear": [0.4], "units": "um"},
        {"affine": np.array([[0, 2, 5], [1, 0.3, -4], [0, 0, 1]])},
    ]
    for keywords in placements:
        layer = viewer.add_image(data, **keywords)
        session = ViewerSession(viewer, predictor=predictor, image=layer)
        for order in ((0, 1), (1, 0)):
            viewer.dims.order = order
            mouse.click(layer.data_to_world(DISK))
            assert session.draft.points[0].position == pytest.approx(DISK, abs=1e-6)
            (at,) = session.working.prompts.data
            assert session.working.prompts.data_to_world(at) == pytest.approx(
                layer.data_to_world(DISK)
            )
            session.commit()
            assert session.target.get_value(layer.data_to_world(DISK), world=True) is not None
            session.undo()
            session.undo()
        session.close()
        viewer.layers.clear()


def test_micrometres_beside_nanometres(viewer, image, session, mouse) -> None:
    other = viewer.add_image(np.zeros((4, 4)), units="nm")
    viewer.layers.selection.active = image
    heard = []
    session.failed.connect(heard.append)
    mouse.click(1000 * np.array(image.data_to_world(DISK)))
    assert session.image is image and other is not image
    assert session.draft.points[0].position == pytest.approx(DISK)
    assert len(heard) == 1 and "different units" in str(heard[0])


def test_planes_and_undo_across_them(viewer, predictor) -> None:
    data = np.stack([picture(), picture()[::-1], picture().T])
    layer = viewer.add_image(data, scale=(3, 1, 1))
    session = ViewerSession(viewer, predictor=predictor)
    viewer.dims.set_current_step(0, 2)
    assert session.add_point(DISK) is None and session.plane == (2,)
    viewer.dims.set_current_step(0, 0)
    with pytest.raises(PromptError, match="lies on plane"):
        session.add_point(DISK)
    assert session.add_point([2, 31, 31]) is None  # all coordinates say where
    session.commit()
    session.add_point(DISK)
    session.commit()
    assert sorted(np.unique(np.nonzero(session.target.data)[0])) == [0, 2]
    viewer.dims.set_current_step(0, 1)
    assert session.undo() == "commit object 2"
    assert viewer.dims.current_step[0] == 0  # where that was
    session.undo()
    session.undo()
    assert viewer.dims.current_step[0] == 2 and not session.target.data.any()
    session.redo(), session.redo(), session.redo()
    assert session.target.data.max() == 2
    assert session.objects[1].plane == (2,)
    session.close()
    assert layer in viewer.layers


def test_planes_along_other_axes_have_their_own_objects(viewer, predictor) -> None:
    data = np.repeat(picture()[None], 20, 0)
    viewer.add_image(data)
    session = ViewerSession(viewer, predictor=predictor)
    session.add_point(DISK)
    session.commit()
    viewer.dims.order = (1, 0, 2)  # rows are z now
    viewer.dims.set_current_step(1, 85)
    session.add_point((10, 90))
    assert session.planes.find().axes.displayed == (0, 2)
    assert session.commit() == (2,)
    viewer.dims.order = (0, 1, 2)
    session.add_point((85, 90), plane=(19,))
    assert session.commit() == (3,)
    assert set(np.unique(session.target.data)) == {0, 1, 2, 3}
    session.undo(), session.undo()
    assert session.undo() == "commit object 2"
    assert viewer.dims.displayed == (0, 2)
    assert set(np.unique(session.target.data)) == {0, 1}
    session.close()


def test_napari_tools_on_the_working_layers(viewer, image, session) -> None:
    session.add_point(DISK)
    points = session.working.prompts
    points.feature_defaults = {"label": "negative"}
    points.add([[60, 60]])
    assert [p.positive for p in session.draft.points] == [True, False]
    points.data = np.add(points.data, [[0.0, 1.0], [0, 0]])
    points.events.data(value=points.data, action="changed", data_indices=(0,), vertex_indices=())
    assert session.draft.points[0].position == (30, 31)
    points.selected_data = {1}
    points.remove_selected()
    assert len(session.draft.points) == 1
    points.add([[500, 500]])  # outside the image
    assert len(session.draft.points) == 1 and len(points.data) == 1
    session.cancel()
    shapes = session.working.ensure_boxes()
    shapes.add(np.array([[68, 73], [68, 107], [102, 107], [102, 73]]), shape_type="rectangle")
    assert session.draft.boxes[0][1] == pytest.approx((68, 73, 102, 107))
    shapes.add(np.array([[85, 80], [85, 100.0]]), shape_type="path")
    assert len(session.draft.scribbles) == 1 and len(session.draft.boxes) == 1
    assert session.preview is not None


def test_brush_on_the_preview(viewer, image, session) -> None:
    session.add_point(DISK)
    preview = session.working.masks.layer
    preview.brush_size = 9
    preview.paint((60, 60), 1)
    session.commit()
    assert session.target.data[60, 60] == 1 and session.target.data[30, 30] == 1
    assert session.objects[1].score is None


def test_deleted_and_renamed_layers(viewer, image, session) -> None:
    session.add_point(DISK)
    for layer in session.working.layers:
        layer.name = "something else"
    viewer.layers.remove(session.working.prompts)
    viewer.layers.remove(session.working.masks.layer)
    image.name = "renamed"
    session.add_point((31, 31))
    assert len(session.working.prompts.data) == 2
    session.commit()
    target = session.target
    target.name = "other"
    session.add_point(SQUARE)
    session.commit()
    viewer.layers.remove(target)
    with pytest.raises(ParameterError, match="removed from the viewer"):
        session.add_point(DISK)
    session.target = None
    session.add_point(DISK)
    session.commit()
    assert session.target is not target and session.target.data.max() == 1
    viewer.layers.remove(image)
    assert session.image is None
    with pytest.raises(ImageError, match="open an image"):
        session.add_point(DISK)


def test_existing_labels_are_kept_unless_overwritten(viewer, image, session) -> None:
    old = np.full((128, 128), 7, np.uint8)
    old[:, 30:] = 0
    labels = viewer.add_labels(old, scale=image.scale, translate=image.translate, units="um")
    session.set_image(image)
    session.target = labels
    session.add_point(DISK)
    assert session.commit() == (8,)
    assert (labels.data[:, :30] == 7).all() and (labels.data == 8).any()
    session.set_options(overwrite=True)
    session.add_point(DISK)
    session.commit()
    assert (labels.data[:, :30] == 9).any()
    with pytest.raises(ParameterError, match="do not lie"):
        session.target = viewer.add_labels(np.zeros((128, 128), int))


def test_refine_a_label(viewer, image, session) -> None:
    rough = np.zeros((128, 128), int)
    rough[20:40, 20:40] = 5
    labels = viewer.add_labels(rough, scale=(0.5, 0.5), translate=(3, 4), units="um")
    session.set_image(image)
    session.refine(labels, 5)
    assert session.preview is not None
    session.commit()
    assert found(session.target.data, 1, 1)


def test_batch(viewer, image, session) -> None:
    session.begin_batch(points=[DISK], boxes=[(68, 73, 102, 107)], negative=[(60, 60)])
    assert len(session.preview.objects) == 2
    assert session.commit() == (1, 2)
    assert found(session.target.data, 2, 2)


def test_model_switched_in_mid_object(viewer, image, session, predictor) -> None:
    session.add_point(DISK)
    other = nsa.Predictor(predictor.model)
    session.set_model(predictor=other)
    assert session.predictor is other and session.preview is not None
    assert session.draft.points[0].position == DISK
    assert session.commit() == (1,)


def test_candidates(viewer, image, session) -> None:
    session.add_point(DISK)
    before = session.preview.chosen
    session.cycle()
    assert session.preview.chosen == (before + 1) % len(session.preview.scores)
    session.choose(before)
    assert session.preview.chosen == before


def test_prompts_outside_the_image(viewer, image, session) -> None:
    with pytest.raises(PromptError, match="outside the image"):
        session.add_point((200, 3))
    with pytest.raises(PromptError, match="outside the image"):
        session.set_box((200, 200, 300, 300))
    session.set_box((68, 73, 1000, 107))
    assert session.draft.boxes[0][1][2] <= 128
    with pytest.raises(PromptError, match=r"\[row, column\]"):
        session.add_point((1, 2, 3))


def test_two_viewers(viewer, image, predictor) -> None:
    from napari.components import ViewerModel

    second = ViewerModel()
    second.add_image(picture())
    one, two = attach(viewer, predictor=predictor), attach(second, predictor=predictor)
    assert one is not two and attach(viewer) is one
    one.add_point(DISK)
    two.add_point(SQUARE)
    one.commit()
    assert two.target is None and len(second.layers) == 3
    one.close()
    assert attach(viewer, predictor=predictor) is not one
    attach(viewer).close()
    two.close()


@pytest.mark.parametrize(
    "data",
    [
        np.where(picture() < 30, np.nan, picture() / 200.0),
        np.stack([picture(), picture() // 2, picture()], -1),
        np.stack([picture(), picture().astype(np.uint16) * 9]),
        np.full((1, 1), 5, np.uint8),
        picture() > 100,
    ],
    ids=["NaN", "RGB", "channels", "one pixel", "bool"],
)
def test_kinds_of_images(viewer, predictor, data: np.ndarray) -> None:
    viewer.add_image(data)
    channels = 0 if data.shape[0] == 2 else None
    session = ViewerSession(viewer, predictor=predictor, channel_axis=channels)
    if data.size == 1:
        session.add_point((0, 0))
        assert session.preview.window.shape == (1, 1)
    else:
        session.add_point(DISK)
        session.commit()
        assert np.squeeze(session.target.data)[30, 30] == 1
    session.close()


def test_closing_leaves_nothing(viewer, image, predictor) -> None:
    drags, zooms = list(viewer.mouse_drag_callbacks), list(viewer.mouse_double_click_callbacks)
    counts = [len(e.callbacks) for e in (viewer.dims.events.order, viewer.layers.events.removed)]
    moves = list(viewer.mouse_move_callbacks)
    threads = set(threading.enumerate())
    session = ViewerSession(viewer, predictor=predictor, run=Background(lambda call: call()))
    session.add_point(DISK)
    session.close()
    session.close()
    assert set(threading.enumerate()) <= threads
    assert viewer.mouse_drag_callbacks == drags and viewer.mouse_move_callbacks == moves
    assert viewer.mouse_double_click_callbacks == zooms
    assert counts == [
        len(e.callbacks) for e in (viewer.dims.events.order, viewer.layers.events.removed)
    ]
    assert list(viewer.layers) == [image]
    with pytest.raises(ParameterError, match="closed"):
        session.add_point(DISK)
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


def test_decoding_on_a_thread(viewer, image, predictor, monkeypatch) -> None:
    calls = []
    arrived, both_there = threading.Event(), threading.Event()
    embed = predictor.embed
    monkeypatch.setattr(
        predictor, "embed", lambda *a, **options: both_there.wait(20) and embed(*a, **options)
    )

    def dispatch(call) -> None:
        calls.append(call)
        arrived.set()

    session = ViewerSession(viewer, predictor=predictor, run=Background(dispatch))
    busy = []
    session.busy_changed.connect(busy.append)
    session.add_point((60, 60))
    session.add_point(DISK)
    assert session.busy and len(session.working.prompts.data) == 2
    both_there.set()
    while session.busy:
        assert arrived.wait(20)
        arrived.clear()
        while calls:
            calls.pop(0)()
    assert session.preview is not None and busy == [True, False]
    drawn = []
    prompts, preview = session.working.prompts, session.working.masks.layer
    prompts.events.set_data.connect(lambda event: drawn.append(session.preview is not None))
    preview.events.labels_update.connect(lambda event: drawn.append("mask"))
    session.add_point((61, 58))  # its window is encoded: point and mask are drawn together
    assert session.busy and drawn == []
    while session.busy:
        assert arrived.wait(20)
        arrived.clear()
        while calls:
            calls.pop(0)()
    assert drawn == [True, "mask"] and len(prompts.data) == 3
    session.close()
