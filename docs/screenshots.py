"""Take every picture of the plugin for the documentation: `python docs/screenshots.py`.

Needs a display. Without one:
`xvfb-run -a -s "-screen 0 1600x1200x24" env -u QT_QPA_PLATFORM python docs/screenshots.py`.
Names of pictures as arguments take only these; `--theme light` takes them in the light theme,
`--into FOLDER` leaves those of the documentation alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["NAPARI_SEGMENT_ANYTHING_JOURNALS"] = tempfile.mkdtemp()

import napari
import numpy as np
from napari.settings import get_settings
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

import napari_segment_anything as nsa
from napari_segment_anything import samples
from napari_segment_anything.bridge.viewer.coordinates import placement
from napari_segment_anything.measures import otsu_watershed
from napari_segment_anything.widgets.find_form import DRAW

IMAGES = Path(__file__).parent / "images"
PLUGIN = "segment-anything-napari"


class Studio:
    """A napari window with one of the widgets, and hands on its mouse.

    Parameters
    ----------
    sample : str or array-like
        What to open.
    widget : str
        Which widget to show beside it.
    theme : str
    size : (int, int)
        Of the window.
    """

    def __init__(
        self,
        sample: Any,
        widget: str,
        theme: str = "dark",
        size: tuple[int, int] = (1180, 760),
    ) -> None:
        get_settings().appearance.theme = theme
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*size)
        if isinstance(sample, str):
            self.viewer.open_sample(PLUGIN, sample)
        else:
            low, high = np.percentile(np.asarray(sample), (0.1, 99.9))
            self.viewer.add_image(sample, name="slide", contrast_limits=(low, high))
        name = sample if isinstance(sample, str) else "slide"
        self.image = next(layer for layer in self.viewer.layers if layer.name.startswith(name))
        for layer in list(self.viewer.layers):
            if layer is not self.image:
                self.viewer.layers.remove(layer)
        self.viewer.layers.selection.active = self.image
        self.dock, self.widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, widget)
        session = self.widget.session
        session.when_loaded(lambda: None)
        self.wait(lambda: session.is_loaded)
        self.fit()

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *error: object) -> None:
        self.viewer.close()
        QTest.qWait(200)

    @property
    def canvas(self) -> object:
        """The canvas' own Qt widget."""
        return self.viewer.window._qt_viewer.canvas.native

    def at(self, row: float, col: float) -> QPoint:
        """Where a pixel of the image is on the canvas."""
        camera = self.viewer.scene.camera
        world = np.array(self.image.data_to_world((row, col)))[-2:]
        native = self.canvas
        middle = np.array([native.height(), native.width()]) / 2
        y, x = middle + (world - np.array(camera.center)[-2:]) * camera.zoom
        return QPoint(round(x), round(y))

    def click(self, row: float, col: float, negative: bool = False, wait: int = 600) -> None:
        """Click into the image as the user does; with a negative `wait`, go on at once."""
        button = Qt.MouseButton.RightButton if negative else Qt.MouseButton.LeftButton
        where = self.at(row, col)
        QTest.mouseMove(self.canvas, where)
        QTest.mousePress(self.canvas, button, Qt.KeyboardModifier.NoModifier, where)
        QTest.mouseRelease(self.canvas, button, Qt.KeyboardModifier.NoModifier, where)
        if wait >= 0:
            self.settle(wait)

    def drag(self, *path: tuple[float, float], shift: bool = False, wait: int = 600) -> None:
        """Drag along points of the image."""
        keys = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        first, last = self.at(*path[0]), self.at(*path[-1])
        QTest.mousePress(self.canvas, Qt.MouseButton.LeftButton, keys, first)
        for start, stop in itertools.pairwise(path):
            for part in np.linspace(0.1, 1, 8):
                QTest.mouseMove(
                    self.canvas, self.at(*np.add(start, part * np.subtract(stop, start)))
                )
                QTest.qWait(10)
        QTest.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, keys, last)
        self.settle(wait)

    def fit(self) -> None:
        """Show all of the image, once the panel has its width."""
        QTest.qWait(700)
        self.viewer.fit_to_view()
        QTest.qWait(300)

    def settle(self, wait: int = 400) -> None:
        """Wait until nothing is computed any more and everything is drawn."""
        session = getattr(self.widget, "session", None)
        for _ in range(400):
            QTest.qWait(25)
            if session is None or (session.is_loaded and not session.busy):
                break
        QTest.qWait(wait)

    def wait(self, until: Callable[[], bool], seconds: float = 900.0) -> None:
        """Wait until something is so."""
        for _ in range(round(seconds * 40)):
            QTest.qWait(25)
            if until():
                break

    def finish_run(self, wait: int = 500) -> None:
        """Wait until everything mode is done."""
        for _ in range(1200):
            QTest.qWait(25)
            if not self.widget._jobs.running:
                break
        QTest.qWait(wait)

    def window(self) -> np.ndarray:
        """The whole window as it looks: uint8 (rows, cols, 4)."""
        QTest.qWait(150)
        return np.asarray(self.viewer.screenshot(canvas_only=False, flash=False))

    def panel(self) -> np.ndarray:
        """The widget alone."""
        QTest.qWait(100)
        picture = self.widget.grab().toImage()
        picture = picture.convertToFormat(picture.Format.Format_RGBA8888)
        pixels = picture.constBits().asarray(picture.sizeInBytes())
        array = np.frombuffer(pixels, np.uint8).reshape(picture.height(), picture.width(), 4)
        return array.copy()


@dataclass(frozen=True, slots=True)
class Album:
    """Where pictures go, and the theme they are taken in.

    Parameters
    ----------
    theme : {"dark", "light"}
        Pictures of the light theme have a name of their own.
    into : Path
    """

    theme: str
    into: Path = IMAGES

    def save(self, name: str, picture: np.ndarray) -> None:
        """Save a picture as PNG."""
        suffix = "" if self.theme == "dark" else "_light"
        path = self.into / f"{name}{suffix}.png"
        few_colours(picture).save(path, optimize=True)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")


def few_colours(picture: np.ndarray, colours: int = 256) -> Image.Image:
    """Return a picture in a palette, for a small file; small things, such as points, keep theirs.

    Parameters
    ----------
    picture : uint8 array (rows, cols, 3 or 4)
    colours : int
        Of the palette.
    """
    flat = Image.fromarray(np.ascontiguousarray(picture[..., :3]))
    method, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    return flat.quantize(colours, method=method, kmeans=2, dither=dither)


COINS = ((54, 44), (51, 104), (51, 156), (53, 213), (53, 273))


def prompt(album: Album) -> None:
    """The prompt widget: some coins in the labels, one in progress."""
    with Studio("coins", "Segment Anything", album.theme) as studio:
        studio.settle()
        for point in COINS:
            studio.click(*point)
            studio.widget.prompting.commit()
        studio.click(195, 275)
        studio.click(165, 235, negative=True)
        album.save("prompt_widget", studio.window())


def candidates(album: Album) -> None:
    """Three candidates for one click."""
    with Studio("coffee", "Segment Anything", album.theme) as studio:
        studio.settle()
        studio.click(150, 260)
        album.save("prompt_candidates", studio.window())


def tools(album: Album) -> None:
    """A box in progress."""
    with Studio("cell", "Segment Anything", album.theme) as studio:
        studio.settle()
        studio.drag((295, 343), (452, 505), shift=True)
        album.save("prompt_box", studio.window())


def everything(album: Album) -> None:
    """The everything widget with a result."""
    with Studio("nuclei", "Segment everything", album.theme) as studio:
        studio.widget.start()
        studio.finish_run()
        studio.widget.parameters.pred_iou_thresh.value = 0.6
        QTest.qWait(200)
        studio.finish_run()
        album.save("everything_widget", studio.window())
        studio.widget.parameters.pred_iou_thresh.value = None  # it would be remembered


def refine(album: Album) -> None:
    """Labels of a threshold, refined, and the list of what to review."""
    with Studio("coins", "Refine objects", album.theme) as studio:
        labels = otsu_watershed(np.asarray(studio.image.data))
        given = studio.viewer.add_labels(labels, name="threshold", **placement(studio.image))
        studio.widget.objects.value = given
        studio.widget.start()
        studio.wait(lambda: studio.widget.refined is not None and not studio.widget._jobs.running)
        given.contour = 1
        review = studio.widget.refined.review()
        number = next(
            n for n, hint in zip(review["object"], review["hint"], strict=True) if "merge" in hint
        )
        studio.widget.table.select(number)
        studio.widget.show_object(number)
        QTest.qWait(500)
        album.save("refine_widget", studio.window())


def find(album: Album) -> None:
    """The everything widget after finding what is like an example."""
    with Studio("coins", "Segment everything", album.theme) as studio:
        studio.widget.mode.value = "find"
        studio.widget.find.examples.value = DRAW
        rows = [33, 33, 75, 75]
        cols = [21, 68, 68, 21]
        studio.viewer.layers["examples"].add_rectangles(np.stack([rows, cols], axis=1))
        studio.wait(studio.widget.run_button.isEnabled)
        studio.widget.start()
        studio.finish_run()
        studio.fit()
        album.save("find_widget", studio.window())


class Mosaic:
    """Fields of generated nuclei side by side, read window by window; one chunk is damaged.

    Parameters
    ----------
    rows, cols : int
        Fields.
    empty : tuple of (int, int)
        Fields without anything.
    damaged : (int, int)
        A pixel that cannot be read.
    """

    def __init__(
        self, rows: int, cols: int, empty: tuple[tuple[int, int], ...], damaged: tuple[int, int]
    ) -> None:
        field = samples.sample("nuclei").image
        views = (field, field[::-1], field[:, ::-1], field.T)
        ground = np.full_like(field, np.median(field))
        self._pixels = np.block(
            [
                [ground if (r, c) in empty else views[(r + 2 * c) % 4] for c in range(cols)]
                for r in range(rows)
            ]
        )
        self.shape, self.ndim, self.size = self._pixels.shape, 2, self._pixels.size
        self.dtype, self.damaged, self.broken = self._pixels.dtype, damaged, False

    def __getitem__(self, key: Any) -> np.ndarray:
        pixels = self._pixels[key]
        if not self.broken:
            return pixels
        rows, cols = (part.indices(n) for part, n in zip(key[-2:], self.shape, strict=True))
        hit = rows[0] <= self.damaged[0] < rows[1] and cols[0] <= self.damaged[1] < cols[1]
        if hit and 400 < rows[1] - rows[0] < 600:
            raise OSError("chunk 3.0 is damaged")
        return pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._pixels, dtype)


def large_run(album: Album) -> None:
    """All of a large image while it runs, and a seam at its end."""
    mosaic = Mosaic(4, 4, ((0, 2), (0, 3), (1, 2), (1, 3)), (1300, 330))
    with Studio(mosaic, "Segment everything", album.theme, size=(1240, 900)) as studio:
        panel = studio.widget.large
        studio.widget.region.qt.button("all").click()
        panel.store.value = str(Path(tempfile.mkdtemp()) / "slide.ome.zarr")
        studio.fit()
        mosaic.broken = True
        studio.widget.start()
        studio.wait(
            lambda: (
                panel._last is not None
                and (panel._last.status == 3).any()
                and (panel._last.status == 0).mean() < 0.4
            )
        )
        album.save("large-run", studio.window())
        studio.wait(lambda: not panel.running)
        panel.seams.selectRow(0)
        QTest.qWait(600)
        album.save("large-seams", studio.window())


def stack(album: Album) -> None:
    """Nuclei of a volume followed from one plane, and their scores."""
    with Studio("nuclei_3d", "Segment a stack", album.theme, size=(1240, 840)) as studio:
        truth = samples.sample("nuclei_3d").labels
        middle = truth.shape[0] // 2
        ids, sizes = np.unique(truth[middle], return_counts=True)
        chosen = ids[1:][np.argsort(sizes[1:])[::-1][:10]]
        points = [[middle, *np.argwhere(truth[middle] == i).mean(0)] for i in chosen]
        layer = studio.viewer.add_points(
            points, name="seeds", size=5, face_color="gold", **placement(studio.image)
        )
        studio.viewer.dims.set_current_step(0, middle)
        studio.widget.parameters.prompts_by_slice.value = layer
        studio.widget.start()
        studio.wait(lambda: not studio.widget._jobs.running)
        studio.widget.review.table.selectRow(1)
        studio.viewer.dims.set_current_step(0, middle)
        QTest.qWait(500)
        album.save("stack", studio.window())


def stack_3d(album: Album) -> None:
    """Every nucleus of a volume, found in 3-D."""
    every_object(album, "nuclei_3d", "3d", "stack-3d")


def tracking(album: Album) -> None:
    """Dividing nuclei tracked through a time-lapse."""
    every_object(album, "divisions", "track", "tracking")


def every_object(album: Album, sample: str, task: str, name: str) -> None:
    """All objects of a stack, by one of the ways that need no prompt."""
    with Studio(sample, "Segment a stack", album.theme, size=(1240, 840)) as studio:
        studio.widget.task.qt.button(task).click()
        studio.widget.start()
        studio.wait(lambda: not studio.widget._jobs.running)
        studio.viewer.dims.set_current_step(0, 12)
        QTest.qWait(500)
        album.save(name, studio.window())


def animation(album: Album) -> None:
    """Click, see the mask, commit: the opening picture of the README."""
    frames: list[np.ndarray] = []
    durations: list[int] = []
    with Studio("coins", "Segment Anything", album.theme, size=(900, 680)) as studio:
        own = studio.viewer.window._qt_viewer
        for dock in (own.dockLayerControls, own.dockLayerList):
            dock.hide()
        studio.fit()

        def shot(milliseconds: int) -> None:
            frames.append(studio.window())
            durations.append(milliseconds)

        shot(900)
        for row, col in COINS[2:]:
            studio.click(row, col)
            shot(1100)
            studio.widget.prompting.commit()
            studio.settle()
            shot(700)
    # one palette, so that a frame holds only what changed
    palette = few_colours(np.concatenate(frames), 128)
    pictures = [
        Image.fromarray(frame[..., :3]).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    path = album.into / "click_mask_commit.gif"
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        optimize=True,
    )
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


def console(album: Album) -> None:
    """A session begun from the console, without the panel: coins in the labels, one in progress."""
    get_settings().appearance.theme = album.theme
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1150, 700)
    viewer.add_image(nsa.sample("coins").image, name="coins")
    session = nsa.attach(viewer)
    for inside in ([125, 103], [124, 206], [51, 156], [53, 273]):
        session.add_point(inside)
        session.commit()
    session.add_point([195, 275])
    session.add_point([165, 235], positive=False)
    QTest.qWait(1000)
    album.save("console", viewer.screenshot(canvas_only=False, flash=False))
    session.close()
    viewer.close()


PICTURES: dict[str, Callable[[Album], None]] = {
    "prompt": prompt,
    "candidates": candidates,
    "tools": tools,
    "everything": everything,
    "refine": refine,
    "find": find,
    "large": large_run,
    "stack": stack,
    "stack-3d": stack_3d,
    "tracking": tracking,
    "animation": animation,
    "console": console,
}


def main() -> None:
    """Take the pictures that were asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help=", ".join(PICTURES))
    parser.add_argument("--theme", choices=["dark", "light"], default="dark")
    parser.add_argument("--into", type=Path, default=IMAGES, metavar="FOLDER")
    asked = parser.parse_args()
    unknown = sorted(set(asked.pictures) - set(PICTURES))
    if unknown:
        parser.error(f"no such picture: {', '.join(unknown)}. There are: {', '.join(PICTURES)}")
    asked.into.mkdir(parents=True, exist_ok=True)
    nsa.load_model  # noqa: B018 - torch is imported before the first window
    for name in asked.pictures or PICTURES:
        PICTURES[name](Album(asked.theme, asked.into))


if __name__ == "__main__":
    main()
