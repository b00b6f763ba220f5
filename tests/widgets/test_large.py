"""All of a large image from the widget: tiles on the image, cancel, go on, seams."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_segment_anything.bridge.runs import live_labels
from napari_segment_anything.bridge.runs.large import LargeDone, LargeSource, LargeStep
from napari_segment_anything.bridge.runs.large_layers import LargeLayers
from napari_segment_anything.bridge.runs.live_labels import LiveLabels
from napari_segment_anything.bridge.viewer.images import axes_of
from napari_segment_anything.formats.ome_zarr import create_labels, open_labels
from napari_segment_anything.large import LargePlan, LargeResult, TileGrid, TileStatus
from napari_segment_anything.large.runners import cores
from napari_segment_anything.widgets.everything import EverythingWidget

from .conftest import at_rest, ours, picture

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.weights]


@pytest.fixture
def opened(qtbot, viewer, tmp_path):
    pixels = picture()
    pixels[4:156, 130:] = 30
    noise = np.random.default_rng(1).normal(0, 12, (148, 18))
    pixels[6:154, 136:154] = 180 + noise.clip(-60, 60)  # longer than a tile
    layer = viewer.add_image(pixels, name="disks", scale=(2.0, 0.5))
    widget = EverythingWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Segment everything")
    widget.region.qt.button("all").click()
    panel = widget.large
    panel.store.value = str(tmp_path / "disks.ome.zarr")
    panel.tile.value = 128
    panel.overlap.value = 32
    qtbot.waitUntil(lambda: widget.session.is_loaded)
    at_rest(qtbot, viewer)
    yield viewer, layer, widget
    widget.settings.set("everything", region="plane")  # napari keeps settings between windows


def test_stop_go_on_and_review(qtbot, opened, tmp_path) -> None:
    viewer, image, widget = opened
    panel = widget.large
    assert "4 tiles of 128 px, overlapping by 32" in panel.plan.text()
    widget.start()
    qtbot.waitUntil(
        lambda: panel._last is not None and (panel._last.status == TileStatus.DONE).any()
    )
    widget.start()  # the button says Stop
    assert not panel.running and "Run again to resume" in widget.status.text
    assert panel.layers.labels in viewer.layers
    qtbot.waitUntil(lambda: not panel.jobs._scheduler._running)
    finished = int((open_labels(tmp_path / "disks.ome.zarr").group["run/status"][...] > 0).sum())
    assert finished >= 1
    panel._outline()
    assert f"{finished} of 4 tiles" in panel.plan.text()
    widget.start()
    qtbot.waitUntil(lambda: not panel.running)
    done = panel.done
    assert done is not None, widget.status.text
    labels = panel.layers.labels
    assert labels.name == "disks everything" and tuple(labels.scale) == (2.0, 0.5)
    data = np.asarray(labels.data)
    assert len(np.unique(data)) - 1 == done.result.count == len(labels.features)
    assert 5 <= done.result.count <= 14
    assert labels.get_value((48.0, 12.0), world=True) == data[24, 24] > 0
    # the map: a pixel a tile, on the image's pixels
    tiles = panel.layers.map
    assert not tiles.visible
    tiles.visible = True
    assert np.allclose(tiles.extent.world, image.extent.world, atol=6)
    tile = [tiles.get_value(image.data_to_world(p), world=True) for p in ((2, 2), (150, 150))]
    assert tile == [s + 1 for s in done.result.status[0].diagonal()]
    assert f"{(done.result.status == TileStatus.DONE).sum()} done" in panel.legend.text()
    # seams
    rows = panel.seams.rowCount()
    assert rows == len(done.seams["seam"]) >= 1
    assert len(panel.layers.seams.data) == rows
    panel.seams.selectRow(0)
    assert panel.layers.seams.selected_data == {0} or rows > 1
    number = panel.selected_seam
    panel.decode_again()
    qtbot.waitUntil(lambda: not panel.running)
    assert f"Seam {number} decoded again" in widget.status.text
    at = list(panel.done.seams["seam"]).index(number)
    assert panel.done.seams["kind"][at] == "redecoded"
    assert panel.selected_seam == number
    # other settings on the same store
    panel.tile.value = 96
    widget.start()
    qtbot.waitUntil(lambda: not panel.running)
    assert "other settings" in widget.status.text and "Start over" in widget.status.text


def test_a_tile_that_fails_is_seen(qtbot, opened) -> None:
    viewer, _image, widget = opened

    class Broken:
        shape, ndim, dtype = (160, 160), 2, np.dtype(np.uint8)
        size = 160 * 160
        broken = False
        pixels = picture()

        def __getitem__(self, key):
            rows, cols = key[-2:]
            if self.broken and rows.stop == 160 and cols.stop == 160 and rows.start == 32:
                raise OSError("chunk 3 is damaged")
            return self.pixels[key]

        def __array__(self, dtype=None, copy=None):
            return self.pixels

    broken = Broken()
    viewer.layers.clear()
    viewer.add_image(broken, name="broken", contrast_limits=(0, 255))
    broken.broken = True
    widget.start()
    qtbot.waitUntil(lambda: not widget.large.running)
    assert "1 tile failed" in widget.status.text and "damaged" in widget.status.text
    tiles = widget.large.layers.map
    assert tiles.visible and tiles.data[-1, -1] == TileStatus.FAILED + 1
    assert tiles.data[0, 0] != TileStatus.FAILED + 1
    assert "1 failed" in widget.large.legend.text()


def test_a_stack_with_channels_and_closing_while_it_runs(qtbot, opened) -> None:
    viewer, _image, widget = opened
    viewer.layers.clear()
    plane = picture()
    stack = np.stack([np.stack([plane, plane // 2]), np.zeros((2, 160, 160), np.uint8)])
    viewer.add_image(stack, name="stack")
    widget.shared.images.choose(widget.images.layers, 1)
    widget.images.changed.emit(widget.images.value)
    panel = widget.large
    qtbot.waitUntil(lambda: panel.plan.text().startswith("2 planes of 160 x 160"))
    widget.start()
    qtbot.waitUntil(lambda: panel.layers.map is not None)
    assert panel.layers.map.data.shape[:2] == (2, 1)
    assert panel.layers.labels.data.shape == (2, 1, 160, 160)
    qtbot.waitUntil(lambda: (panel._last.status == TileStatus.DONE).any())
    viewer.close()
    qtbot.waitUntil(lambda: not ours())


def test_large_planes_are_seen_from_reduced_copies(qtbot, viewer, tmp_path, monkeypatch) -> None:
    """Labels too large to be read whole: a view of all of it reads memory, not the disk."""
    monkeypatch.setattr(live_labels, "WHOLE_BYTES", 1 << 16)
    monkeypatch.setattr(live_labels, "_SMALLEST", 64)
    image = viewer.add_image(np.zeros((2, 512, 640), np.uint8), name="wide")
    source = LargeSource.of((image,), axes_of(viewer, image))
    group = create_labels(
        tmp_path / "wide.ome.zarr", shape=(2, 512, 640), axes="ZYX", chunks=(1, 96, 96)
    )
    grid = TileGrid.over((512, 640), (2,), 128, 32)
    live = LiveLabels(group.array, grid)
    assert live.step == 8
    assert [level.shape for level in live.levels] == [
        (2, 512, 640), (2, 256, 320), (2, 128, 160), (2, 64, 80)
    ]  # fmt: skip
    status = np.zeros((2, *grid.counts), np.uint8)
    plan = LargePlan.of(grid, 0, 1)
    layers = LargeLayers(viewer)

    def show() -> None:
        layers.show(source, LargeStep(live, grid, status.copy(), plan, True, group.path))
        qtbot.wait(20)

    show()
    core = grid.core(0)
    group.array[0, core.row : core.row + core.height, core.col : core.col + core.width] = 7
    status[0, 0, 0] = TileStatus.DONE
    live.update(status)
    show()
    assert live.levels[3][0, :12, :12].min() == 7 and not live.levels[3][0, 12:].any()
    assert np.array_equal(live.levels[1][0], group.array[0, ::2, ::2])
    assert not live.levels[3][1].any()
    group.array[1] = 9
    status[1] = TileStatus.DONE
    live.update(status)  # the plane was looked at
    assert (live.levels[3][1] == 9).all()
    assert layers.labels.multiscale and layers.labels.data[3].shape == (2, 64, 80)
    for _ in group.build_pyramid():
        pass
    result = LargeResult(group, grid, status, ())
    layers.finish(source, LargeDone(result, {"label": np.array([7, 9])}, {}))
    qtbot.wait(50)
    shapes = [level.shape for level in layers.labels.data]
    assert shapes == [level.shape for level in group.levels] and len(shapes) < 4
    assert list(layers.labels.features["index"]) == [7, 9]


def test_what_tiles_write_is_seen_in_the_window(qtbot, viewer, tmp_path) -> None:
    side = 1500
    image = viewer.add_image(np.zeros((side, side), np.uint8), name="wide")
    viewer.fit_to_view()
    source = LargeSource.of((image,), axes_of(viewer, image))
    group = create_labels(
        tmp_path / "wide.ome.zarr", shape=(side, side), axes="YX", chunks=(448, 448)
    )
    grid = TileGrid.over((side, side), (), 512, 64)
    live, status = LiveLabels(group.array, grid), np.zeros((1, *grid.counts), np.uint8)
    layers, plan = LargeLayers(viewer), LargePlan.of(grid, 0, 1)
    seen = []
    for done in (0, 1, 2):
        if done:
            core = grid.core(done - 1)
            group.array[core.row : core.row + core.height, core.col : core.col + core.width] = done
            status.flat[done - 1] = TileStatus.DONE
            live.update(status)
        layers.show(source, LargeStep(live, grid, status.copy(), plan, True, group.path))
        layers.map.visible = False
        qtbot.wait(150)
        picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
        seen.append(int((np.ptp(picture.astype(int), axis=-1) > 40).sum()))  # pixels in colour
    assert seen[0] < seen[1] < seen[2]


def test_drawing_a_run_again_takes_the_event_loop_little(qtbot, viewer, tmp_path) -> None:
    """What is drawn every second is what the canvas shows, from memory: not all of the labels."""
    side = 2048
    image = viewer.add_image(np.zeros((side, side), np.uint8), name="wide")
    source = LargeSource.of((image,), axes_of(viewer, image))
    group = create_labels(
        tmp_path / "wide.ome.zarr", shape=(side, side), axes="YX", chunks=(448, 448)
    )
    group.array[...] = np.arange(side * side, dtype=np.uint32).reshape(side, side) // 5000
    grid = TileGrid.over((side, side), (), 512, 64)
    live = LiveLabels(group.array, grid)
    status = np.full((1, *grid.counts), TileStatus.DONE, np.uint8)
    live.levels[0][:8, :8]  # somebody looks at it
    live.update(status)
    assert np.array_equal(live.levels[0][:, :], group.array[...])
    layers, plan = LargeLayers(viewer), LargePlan.of(grid, 0, 1)
    step = LargeStep(live, grid, status, plan, True, group.path)
    layers.show(source, step)
    qtbot.wait(200)

    def cost() -> float:
        before = time.thread_time()
        layers.show(source, step)
        return time.thread_time() - before

    assert np.median([cost() for _ in range(7)]) < 0.05
    for _ in group.build_pyramid():
        pass
    labels = layers.labels
    layers.finish(source, LargeDone(LargeResult(group, grid, status, ()), {"label": [7]}, {}))
    assert labels not in viewer.layers and layers.labels.name == labels.name
    assert not layers.labels.multiscale and layers.labels.editable  # for napari's brush
    assert viewer.layers.selection.active is image


def test_tiles_leave_a_core_to_the_window(qtbot, opened) -> None:
    _viewer, _image, widget = opened
    widget.start()
    qtbot.waitUntil(lambda: widget.large._last is not None)
    assert widget.large._last.plan.workers == max(1, cores() - 1)
    widget.stop()
