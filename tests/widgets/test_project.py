"""The widget "Annotate a series" in a real window."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import QPoint, Qt

from napari_segment_anything.projects import Project

from .conftest import picture

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(picture(), 7 * number, 0)).save(folder / f"im{number}.png")
    return Project.create(tmp_path / "series", folder, classes=["disk", "other"])


@pytest.fixture
def series(viewer, window, qtbot, project):
    widget = window.add("Annotate a series")
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    widget.open(project)
    ready(qtbot, widget, "im0")
    return widget


def ready(qtbot, widget, key):
    qtbot.waitUntil(lambda: widget.series.image is not None and widget.series.image.key == key)
    qtbot.wait(50)


def commit(qtbot, window, widget, point):
    count = len(widget.session.objects)
    window.click(widget.series.layers.images[0], point)
    qtbot.waitUntil(lambda: widget.session.preview is not None and not widget.session.busy)
    window.press("Return")
    qtbot.waitUntil(lambda: len(widget.session.objects) == count + 1)


def test_a_series_is_annotated_by_keys(qtbot, window, series, project) -> None:
    commit(qtbot, window, series, (24, 24))
    image = project.image("im0")
    qtbot.waitUntil(lambda: image.status.objects == {"": 1})
    window.press("N")
    ready(qtbot, series, "im1")
    assert not series.session.objects and image.labels().max() == 1
    assert series.list.item(0, 1).text() == "begun" and series.list.item(0, 2).text() == "1"
    window.press("Shift+N")
    ready(qtbot, series, "im0")
    assert len(series.session.objects) == 1
    window.press("Shift+Return")
    ready(qtbot, series, "im1")
    qtbot.waitUntil(lambda: "1 of 3 complete" in series.bar.counts.text())
    window.press("Shift+F")
    assert series.bar.note.isVisible()
    qtbot.keyClicks(series.bar.note, "blurred next to nothing")
    qtbot.keyClick(series.bar.note, Qt.Key.Key_Return)
    ready(qtbot, series, "im2")
    qtbot.waitUntil(lambda: project.image("im1").state == "flagged")
    assert project.image("im1").note == "blurred next to nothing"
    series.viewer.add_image(np.zeros((3, 4, 5)), name="other")
    series.viewer.dims.order, series.viewer.dims.ndisplay = (2, 0, 1), 3
    series.list.chosen.emit("im0")
    ready(qtbot, series, "im0")
    assert series.viewer.layers[0].name == "im0" and series.viewer.dims.ndisplay == 2
    assert series.viewer.dims.order == (0, 1, 2)


def test_classes_by_digit_and_colour(qtbot, window, series, project) -> None:
    window.press("2")
    commit(qtbot, window, series, (24, 24))
    assert series.session.objects[1].class_name == "other"
    colour = series.session.target.colormap.map(np.array([1]))[0]
    assert tuple(np.round(255 * colour[:3]).astype(int)) == (238, 102, 119)
    window.hover(series.series.layers.images[0], (24, 24))
    qtbot.wait(50)
    window.press("1")
    assert series.session.objects[1].class_name == "disk"
    assert series.classes.current == "other"
    qtbot.waitUntil(lambda: project.image("im0").status.objects == {"disk": 1})


def drag(qtbot, window, layer, *points):
    places = [window.at(layer, point) for point in points]
    qtbot.mousePress(window.native, Qt.MouseButton.LeftButton, pos=places[0])
    for first, second in pairwise(places):
        for share in (0.25, 0.5, 0.75, 1.0):
            along = first + (second - first) * share
            qtbot.mouseMove(window.native, QPoint(along))
            qtbot.wait(5)
    qtbot.mouseRelease(window.native, Qt.MouseButton.LeftButton, pos=places[-1])


@pytest.mark.weights
def test_split_merge_and_delete_with_the_mouse(qtbot, window, series, project) -> None:
    image = series.series.layers.images[0]
    commit(qtbot, window, series, (24, 24))
    commit(qtbot, window, series, (72, 72))
    window.press("K")
    drag(qtbot, window, image, (19, 2), (19, 46))  # well off the middle: the larger piece stays 1
    qtbot.waitUntil(lambda: len(series.session.objects) == 3)
    window.press("J")
    drag(qtbot, window, image, (30, 24), (14, 24))
    qtbot.waitUntil(lambda: len(series.session.objects) == 2)
    window.press("Shift+X")
    drag(qtbot, window, image, (50, 50), (94, 94))
    qtbot.waitUntil(lambda: set(series.session.objects) == {1})
    assert series.object_tools.value == "delete"
    series.object_tools.button("region").click()
    drag(qtbot, window, image, (2, 2), (60, 60))
    qtbot.waitUntil(lambda: len(project.image("im0").complete_regions) == 1)
    assert series.object_tools.value == ""
    series.prompting.undo()
    assert len(series.session.objects) == 2


def test_a_hint_after_half_a_minute(qtbot, window, series, project) -> None:
    now = [0.0]
    series.series.now.clock._clock = lambda: now[0]
    window.click(series.series.layers.images[0], (24, 24))
    qtbot.waitUntil(lambda: series.session.preview is not None and not series.session.busy)
    now[0] += 35
    qtbot.waitUntil(lambda: "30 s on this object" in series.status.text)
    project.configure(nudge_seconds=0)


def test_a_project_is_made_and_opened_again(qtbot, viewer, window, project, tmp_path) -> None:
    widget = window.add("Annotate a series")
    widget.start.create()
    assert "choose the images first" in widget.status.text and widget.project is None
    widget.start.images.setText(str(tmp_path / "raw"))
    widget.start.folder.setText(str(tmp_path / "fresh"))
    widget.start.classes.setText("cell, debris")
    widget.start.create()
    ready(qtbot, widget, "im0")
    assert [item.name for item in widget.project.classes] == ["cell", "debris"]
    widget.close_project()
    assert widget.start.isVisible() and widget.start.again.text() == "Open fresh"
    assert not [layer for layer in viewer.layers if layer.name.startswith("im")]
    widget.start.again.click()
    ready(qtbot, widget, "im0")
    widget.start.open(tmp_path)
    assert "is not a project" in widget.status.text and widget.series.image is not None


def test_classes_and_images_are_added_while_a_series_is_open(
    qtbot, window, series, project, tmp_path
) -> None:
    qtbot.keyClicks(series.class_buttons.new, "halo")
    qtbot.keyClick(series.class_buttons.new, Qt.Key.Key_Return)
    assert [item.name for item in Project.open(project.folder).classes] == ["disk", "other", "halo"]
    commit(qtbot, window, series, (24, 24))
    assert series.session.objects[1].class_name == "halo"
    qtbot.waitUntil(lambda: project.image("im0").status.objects == {"halo": 1})
    Image.fromarray(picture()).save(tmp_path / "raw" / "im9.png")
    series.look_for_images()
    assert series.list.rowCount() == 4 and "1 new image" in series.status.text
    assert series.list.item(3, 0).text() == "im9"
