"""How many functions of this package the most frequent actions run through.

python benchmarks/hops.py              # the table
python benchmarks/hops.py --list click # the functions of one action, file by file

Counts distinct functions of the package, and the files they lie in, with the profiling hook of
the interpreter; comprehensions count as part of the function they stand in, and a function that
runs a thousand times counts once. Every action is done once before, so that nothing is counted
that only the first time needs: the embedding is cached, the layers are there, the model is warm.

Before the parts were composed: click 272 functions in 50 files, commit 154 in 33, everything 123
in 25, tile 199 in 41, crop 12 in 1.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from page import Ratio

import napari_segment_anything as nsa

PACKAGE = str(Path(nsa.__file__).parent)
INSIDE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


class Hops:
    """Collects the functions that run between `start` and `stop`, on all threads made later."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()
        self.on = False

    def hear(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take an event of the profiling hook."""
        if self.on and event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.codes.add(frame.f_code)

    def count(self, action: Callable[[], object]) -> None:
        """Count one action from its beginning to its end."""
        threading.setprofile(self.hear)
        sys.setprofile(self.hear)
        self.on = True
        try:
            action()
        finally:
            self.on = False
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]

    def by_file(self) -> dict[str, list[str]]:
        """Return names of functions by file."""
        found: dict[str, list[str]] = {}
        for code in self.codes:
            if code.co_name not in INSIDE:
                name = Path(code.co_filename).relative_to(PACKAGE).as_posix()
                found.setdefault(name, []).append(f"{code.co_qualname}:{code.co_firstlineno}")
        return {name: sorted(found[name]) for name in sorted(found)}


class Canvas:
    """A viewer without a window, a mouse over it, and a journal, as the widget keeps one."""

    def __init__(self) -> None:
        self.viewer = ViewerModel()
        self.viewer.add_image(np.asarray(nsa.sample("nuclei").image)[:256, :256])
        self._folder = TemporaryDirectory()
        journal = Path(self._folder.name) / "session.jsonl"
        self.session = nsa.attach(self.viewer, journal=journal)

    def close(self) -> None:
        """Close the session, and drop its journal."""
        self.session.close()
        self._folder.cleanup()

    def click(self, row: float, col: float) -> None:
        """Press and release the left button."""
        event = SimpleNamespace(
            type="mouse_press",
            position=(row, col),
            pos=[row, col],
            button=1,
            modifiers=(),
            handled=False,
            dims_displayed=[0, 1],
        )
        steps = [callback(self.viewer, event) for callback in self.viewer.mouse_drag_callbacks]
        running = [made for made in steps if hasattr(made, "__next__")]
        for made in running:
            next(made, None)
        event.type = "mouse_release"
        for made in running:
            next(made, None)


def click(hops: Hops) -> None:
    """A second click on an object in progress: from the mouse to the mask on the canvas."""
    canvas = Canvas()
    canvas.click(60, 60)
    canvas.click(64, 60)
    hops.count(lambda: canvas.click(60, 66))
    if canvas.session.preview is None:
        raise RuntimeError("the click made no mask")
    canvas.close()


def commit(hops: Hops) -> None:
    """A commit into labels that there are."""
    canvas = Canvas()
    for row in (60, 150):
        canvas.click(row, 60)
        canvas.session.commit()
    canvas.click(200, 200)
    hops.count(canvas.session.commit)
    canvas.close()


def everything(hops: Hops) -> None:
    """Everything mode on one image, encoder included, from the Python API."""
    image = np.asarray(nsa.sample("nuclei").image)[:256, :256]
    model = nsa.load_model("default")
    nsa.segment_everything(image, model)
    hops.count(lambda: nsa.segment_everything(image, model))


def tile(hops: Hops) -> None:
    """The tiles of a large run between the first and the last: read, segmented, kept."""
    from napari_segment_anything.large import segment_large_steps

    image = np.tile(np.asarray(nsa.sample("nuclei").image)[:256, :256], (2, 2))
    model = nsa.load_model("default")
    with TemporaryDirectory() as folder:
        steps = segment_large_steps(
            image, Path(folder) / "labels.zarr", model, tile=256, overlap=64, workers=1
        )

        def run() -> None:
            hops.on = False
            for step in steps:
                done, total = step.done, step.total
                hops.on = total > 3 and 1 <= done < total - 1
            hops.on = False

        hops.count(run)


def crop(hops: Hops) -> None:
    """One crop of a labelled image, as the trainer takes it."""
    from napari_segment_anything.training.cropping import CropConfig, CropSampler
    from napari_segment_anything.training.data import labelled_image

    sample = nsa.sample("nuclei")
    image = labelled_image("nuclei", "samples", np.asarray(sample.image), np.asarray(sample.labels))
    sampler = CropSampler([image], {"samples": 1.0}, seed=0)
    sampler.batch(0, 1, CropConfig())
    hops.count(lambda: sampler.batch(1, 1, CropConfig()))


ACTIONS = {
    "click": click,
    "commit": commit,
    "everything": everything,
    "tile": tile,
    "crop": crop,
}


def ratios(quick: bool) -> dict[str, Ratio]:
    """Functions that an action runs through; the same in every run."""
    found = {}
    for name, action in ACTIONS.items():
        hops = Hops()
        action(hops)
        count = sum(len(functions) for functions in hops.by_file().values())
        found[name] = Ratio(count, 0.0, "functions", lower=True)
    return found


def main() -> None:
    """Print the table, or the functions of one action."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", choices=ACTIONS, help="print the functions of one action")
    chosen = parser.parse_args().list
    if chosen:
        hops = Hops()
        ACTIONS[chosen](hops)
        for name, functions in hops.by_file().items():
            print(f"{name}: {len(functions)}")
            print(*(f"    {function}" for function in functions), sep="\n")
        return
    print("| action | functions | files | of them in |")
    print("|---|---|---|---|")
    for name, action in ACTIONS.items():
        hops = Hops()
        action(hops)
        files = hops.by_file()
        folders: dict[str, int] = {}
        for file, functions in files.items():
            folder = file.partition("/")[0].removesuffix(".py")
            folders[folder] = folders.get(folder, 0) + len(functions)
        parts = ", ".join(f"{folder} {count}" for folder, count in folders.items())
        print(f"| {name} | {sum(folders.values())} | {len(files)} | {parts} |", flush=True)


if __name__ == "__main__":
    main()
