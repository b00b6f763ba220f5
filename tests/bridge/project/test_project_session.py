"""A project's images in a viewer: opened, saved, left, recovered."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_segment_anything.bridge.project.layers import show_window
from napari_segment_anything.bridge.project.project_session import ProjectSession
from napari_segment_anything.bridge.viewer_session import ViewerSession
from napari_segment_anything.engine import Window
from napari_segment_anything.errors import ResourceError
from napari_segment_anything.projects import Project

from .conftest import SHAPE, click


def test_objects_are_written_as_they_are_made(opened, project, viewer):
    assert opened.next()
    image = project.image("a")
    assert opened.image is image and image.locked_by().startswith("ann")
    assert [layer.name for layer in viewer.layers][:2] == ["a", "a objects"]
    assert image.state == "todo"
    opened.session.planes.current.session.class_name = "cell"
    click(opened, (20, 20))
    assert image.state == "in_progress" and image.status.objects == {"cell": 1}
    assert (image.labels() == opened.layers.labels.data).all() and image.labels().max() == 1
    (entry,) = image.objects()
    assert (entry.id, entry.who, entry.made_by, entry.model) == (1, "ann", "person", "tiny")
    first = entry.time
    click(opened, (40, 60))
    assert next(entry.time for entry in image.objects()) == first
    opened.session.undo()
    assert len(image.objects()) == 1 and image.labels().max() == 1


def test_labels_are_shown_in_a_small_type_as_long_as_they_fit(opened, project, viewer):
    opened.next()
    click(opened, (20, 20))
    layer = opened.layers.labels
    assert layer.data.dtype == np.uint16 and opened.session.planes.current.target.dtype == np.int32
    full = Window(0, 0, 2, 2)
    session = opened.session.planes.current.session
    session.target.write((), full, np.full((2, 2), 2**16))
    assert layer.data.dtype == np.int32 and (layer.data[:2, :2] == 2**16).all()
    opened.saver.labels_changed(full)
    click(opened, (40, 60))
    opened.next()
    assert layer.data.dtype == np.uint16
    opened.previous()
    labels = project.image("a").labels()
    assert (labels[:2, :2] == 2**16).all() and set(np.unique(labels)) == {0, 1, 2, 2**16}
    assert layer.data.dtype == np.int32 and (layer.data == labels).all()


def test_a_large_image_is_shown_as_a_pyramid_that_was_read_before(
    opened, project, viewer, monkeypatch
):
    module = "napari_segment_anything.bridge.project.opening"
    for name, value in {"PAINTABLE_SIDE": 50, "_SMALLEST": 25, "_STRIP": 16}.items():
        monkeypatch.setattr(f"{module}.{name}", value)
    opened.next()
    (layer,), labels = opened.layers.images, opened.layers.labels
    pixels = project.image("a").open().array
    assert layer.multiscale and labels.multiscale and not labels.editable
    assert [level.shape for level in layer.data] == [(60, 80), (30, 40), (15, 20)]
    assert (layer.data[1] == pixels[::2, ::2]).all() and (layer.data[2] == pixels[::4, ::4]).all()
    click(opened, (20, 20))
    assert labels.data[0].max() == 1 and (labels.data[1] == labels.data[0][::2, ::2]).any()
    assert (project.image("a").labels() == labels.data[0]).all()


def test_moving_on_and_back_brings_objects_with_their_prompts(opened, project, viewer):
    opened.next()
    click(opened, (20, 20))
    assert opened.complete()
    assert project.image("a").state == "complete" and opened.image.key == "b"
    assert project.image("a").locked_by() is None and not project.image("a").journal.exists()
    assert not opened.session.objects and not opened.session.can_undo
    assert opened.next_image("b").key == "c"
    assert opened.previous() and opened.image.key == "a"
    assert opened.session.objects[1].prompts.points == ((20.0, 20.0),)
    opened.session.edit(1)
    opened.session.add_point((24, 24))
    opened.session.commit()
    assert len(project.image("a").objects()[0].prompts.points) == 2
    assert project.image("a").state == "complete"
    assert sum(layer.name.startswith("b") for layer in viewer.layers) == 0


def test_an_object_in_progress_waits_for_its_image(opened):
    opened.next()
    click(opened, (20, 20))
    opened.session.add_point((40, 60))
    opened.next()
    assert opened.image.key == "b" and opened.session.draft is None
    opened.previous()
    assert len(opened.session.draft.points) == 1 and opened.session.preview is not None
    assert opened.session.commit() == (2,)


@pytest.mark.slow
def test_a_session_that_was_killed_is_recovered(opened, project, viewer, model):
    opened.next()
    image = project.image("a")
    click(opened, (20, 20))
    journal = image.journal.read_bytes()
    click(opened, (40, 60))
    opened.go_to("b")
    with image.lock("bob") as editing:  # as if it had been killed before the second was written
        editing.write(labels=np.zeros(SHAPE, np.int32), objects=())
    image.journal.write_bytes(journal)
    opened.go_to("a")
    assert opened.session.objects[1].prompts.points == ((20.0, 20.0),)
    assert opened.layers.labels.data.max() == 1 and image.labels().max() == 1
    assert opened.session.undo() and opened.session.undo()


def test_an_image_that_somebody_works_on_is_left_out(opened, project):
    failed = []
    opened.session.failed.connect(failed.append)
    with project.image("a").lock("bob"):
        assert opened.next() and opened.image.key == "b"
        opened.go_to("a")
        assert isinstance(failed[0], ResourceError) and "bob" in str(failed[0])
        assert opened.image.key == "b"


def test_flags_skips_and_the_end_of_the_series(opened, project):
    opened.next()
    assert opened.flag("out of focus")
    assert (project.image("a").state, project.image("a").note) == ("flagged", "out of focus")
    assert opened.skip() and opened.image.key == "c"
    assert not opened.complete() and opened.image.key == "c"
    assert dict(project.counts()) == {
        "todo": 0, "in_progress": 0, "complete": 1, "skipped": 1, "flagged": 1
    }  # fmt: skip


def test_complete_regions_and_time(opened, project):
    opened.next()
    now = [100.0]
    opened.now.clock._clock = lambda: now[0]
    opened.now.clock()
    start = opened.now.clock.peek()
    now[0] += 40
    opened.now.clock()
    now[0] += 400
    opened.now.clock()
    assert opened.now.clock.peek() - start == 40
    opened.session.add_point((20, 20))
    now[0] += 31
    assert opened.seconds_on_object == 31
    opened.session.commit()
    assert opened.seconds_on_object == 0 and opened.session.objects[1].seconds == 31
    opened.add_complete_region((0, 0, 30, 40))
    opened.add_complete_region((30, 0, 50, 40))
    assert len(project.image("a").complete_regions) == 2
    assert project.image("a").seconds >= 71


def test_another_image_chosen_by_hand_leaves_the_project(opened, project, viewer):
    opened.next()
    click(opened, (20, 20))
    other = viewer.add_image(np.zeros(SHAPE, np.uint8), name="other")
    opened.session.set_image(other)
    assert opened.image is None and project.image("a").locked_by() is None
    assert list(viewer.layers) == [other] or other in viewer.layers
    opened.go_to("a")
    viewer.layers.remove(opened.layers.images[0])
    assert opened.image is None and project.image("a").labels().max() == 1


def test_channels_are_layers_of_their_own(tmp_path, viewer, model):
    array = np.random.default_rng(0).integers(0, 4000, (2, *SHAPE), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "two.ome.tif", array, metadata={"axes": "CYX"})
    project = Project.create(tmp_path / "project", tmp_path / "two.ome.tif")
    session = ViewerSession(viewer, model)
    opened = ProjectSession(session, project)
    opened.board.automatic = False
    opened.next()
    assert len(opened.layers.images) == 2 and session.image is opened.layers.images[0]
    click(opened, (20, 20))
    assert project.images[0].labels().max() == 1
    opened.close()
    session.close()


def test_a_window_at_a_corner_is_shown_with_what_lies_around_it(viewer) -> None:
    image = viewer.add_image(np.zeros((300, 400), np.uint8), scale=(2, 2))
    viewer.canvas.size = (480, 480)
    show_window(viewer, image, Window(0, 396, 2, 4))
    assert viewer.scene.camera.center[-2:] == (2 * 48, 2 * (399 - 48))
    assert viewer.scene.camera.zoom == 480 / (2 * 96)
    show_window(viewer, image, Window(0, 0, 300, 400), 2.0)
    assert viewer.scene.camera.center[-2:] == (299, 399)
