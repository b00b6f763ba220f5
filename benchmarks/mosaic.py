"""Make an image of any size from labelled images, with true labels, as an OME-Zarr store.

    python benchmarks/mosaic.py DATA STORE --side 4096

Each cell of 512 px is a labelled image or a piece of a larger one; small images are enlarged by 2.
Every image is stretched by its own contrast limits, and cells are separated by black. Held-out
images come first, in an order that depends only on the seed, so that a mosaic contains the cells of
every smaller one. Cells are ordered from dark to bright backgrounds, so that neighbours are similar
as on a slide or plate; --shuffled orders them at random.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from sets import SPLIT
from skimage.segmentation import relabel_sequential
from skimage.transform import resize

from napari_segment_anything.datasets import Entry, find_entries, read_planes, select_split
from napari_segment_anything.engine import open_image
from napari_segment_anything.engine.contrast import resolve_contrast_limits, stretch
from napari_segment_anything.formats.ome_zarr import create_labels

CELL = 512
GUTTER = 16
CONTENT = CELL - GUTTER
PIECES = 4
SMALLEST = 128
WEAK = {"chula_rbc_weak", "usiigaci_t98g_timelapse", "neubias_small"}


@dataclass(frozen=True)
class Cell:
    """One cell of the mosaic.

    Parameters
    ----------
    pixels : uint8 array (512, 512, 3)
        Stretched, with a black border.
    labels : uint16 array (512, 512)
        True objects, 1 ... n.
    source : str
        Set, file and plane.
    validation : bool
        Whether the default model was not trained on it.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    source: str
    validation: bool


def cells_of(entry: Entry, validation: bool, seed: int) -> Iterator[Cell]:
    """Cells of an image: several of a large one, none of one that is too small."""
    for plane in read_planes(entry):
        if min(plane.labels.shape) < SMALLEST:
            continue
        source = open_image(plane.image, channel_axis=plane.channel_axis)
        limits = resolve_contrast_limits(source)
        everything = slice(None), slice(None)
        shown = np.rint(stretch(source.read(0, *everything), limits)).astype(np.uint8)
        labels = plane.labels
        if min(labels.shape) < CONTENT:
            twice = (2 * labels.shape[0], 2 * labels.shape[1])
            enlarged = resize(shown, twice, order=1, preserve_range=True, anti_aliasing=False)
            shown = np.rint(enlarged).astype(np.uint8)
            labels = labels.repeat(2, axis=0).repeat(2, axis=1)
        if shown.ndim == 2:
            shown = np.repeat(shown[..., None], 3, axis=2)
        counts = [max(1, side // CONTENT) for side in labels.shape]
        starts = [
            [max(0, side - count * CONTENT) // 2 + i * CONTENT for i in range(count)]
            for side, count in zip(labels.shape, counts, strict=True)
        ]
        corners = [(r, c) for r in starts[0] for c in starts[1]]
        rng = np.random.default_rng([seed, *plane.name.encode()])
        for at in sorted(rng.permutation(len(corners))[:PIECES]):
            cut = tuple(slice(start, start + CONTENT) for start in corners[at])
            held = labels[cut]
            if not held.any():
                continue
            place = tuple(slice((CELL - n) // 2, (CELL - n) // 2 + n) for n in held.shape)
            pixels = np.zeros((CELL, CELL, 3), np.uint8)
            truth = np.zeros((CELL, CELL), np.uint16)
            pixels[place], truth[place] = shown[cut], relabel_sequential(held)[0]
            yield Cell(pixels, truth, f"{plane.name}@{corners[at]}", validation)


class Cells:
    """The cells in order, made when needed and kept in a Zarr store.

    Parameters
    ----------
    data : Path
        Folder of the sets.
    store : Path
        Store of the cells.
    seed : int
        Seed of their order.
    """

    def __init__(self, data: Path, store: Path, seed: int = 0) -> None:
        self.data, self.store, self.seed = data, store, seed
        if not store.exists():
            group = zarr.open_group(store, mode="w")
            settings = {"chunks": (1, CELL, CELL), "shape": (0, CELL, CELL)}
            group.create_array("labels", dtype="u2", **settings)
            group.create_array(
                "pixels", dtype="u1", shape=(0, CELL, CELL, 3), chunks=(1, CELL, CELL, 3)
            )
            group.attrs.update({"cells": [], "parts": []})

    @property
    def known(self) -> list[tuple[str, bool]]:
        """Source of each cell made so far, and whether it is from a validation image."""
        return [tuple(item) for item in zarr.open_group(self.store, mode="r").attrs["cells"]]

    def need(self, count: int) -> None:
        """Make cells until there are `count`."""
        for part in ("validation", "train"):
            if len(self.known) < count:
                self._add(part)
        group = zarr.open_group(self.store, mode="r+")
        have = len(self.known)
        if have < count:
            filling = [i for i, (_, validation) in enumerate(self.known) if not validation]
            known = self.known
            for turn in range(1, 4):
                for i in filling:
                    pixels, labels = group["pixels"][i], group["labels"][i]
                    cell = np.rot90(pixels, turn), np.rot90(labels, turn)
                    self._append(group, [Cell(*cell, f"{known[i][0]} turned {turn}", False)])
                    have += 1
                    if have >= count:
                        return
            raise SystemExit(f"{self.data} gives {have} cells; {count} are needed")

    def _add(self, part: str) -> None:
        group = zarr.open_group(self.store, mode="r+")
        if part in group.attrs["parts"]:
            return
        entries = select_split(find_entries([self.data]), part, SPLIT)
        entries = [entry for entry in entries if entry.set not in WEAK]
        cells = [c for e in entries for c in cells_of(e, part == "validation", self.seed)]
        order = np.random.default_rng(self.seed).permutation(len(cells))
        self._append(group, [cells[i] for i in order])
        group.attrs["parts"] = [*group.attrs["parts"], part]

    @staticmethod
    def _append(group: zarr.Group, cells: Sequence[Cell]) -> None:
        at = group["labels"].shape[0]
        for name in ("pixels", "labels"):
            array = group[name]
            array.resize((at + len(cells), *array.shape[1:]))
            for i, cell in enumerate(cells):
                array[at + i] = getattr(cell, name)
        group.attrs["cells"] = group.attrs["cells"] + [(c.source, c.validation) for c in cells]


def layout(store: Path) -> list[int]:
    """Index of the cell at each place of a mosaic, row by row."""
    return list(zarr.open_group(store, mode="r").attrs["layout"])


def by_background(cells: Cells, count: int) -> list[int]:
    """Order cells from dark to bright backgrounds, every other row from right to left."""
    made = zarr.open_group(cells.store, mode="r")
    levels = []
    for index in range(count):
        pixels, labels = made["pixels"][index], made["labels"][index]
        inner = (slice(GUTTER, -GUTTER), slice(GUTTER, -GUTTER))
        around = pixels[inner][labels[inner] == 0]
        levels.append(float(np.median(around.mean(axis=1))) if len(around) else 128.0)
    order = np.argsort(levels, kind="stable").reshape(-1, round(count**0.5))
    order[1::2] = order[1::2, ::-1]
    return [int(i) for i in order.ravel()]


def write_mosaic(cells: Cells, store: Path, side: int, shuffled: bool = False) -> Path:
    """Write a mosaic with its labels "truth", unless it exists."""
    across = side // CELL
    if across * CELL != side:
        raise SystemExit(f"a side is a multiple of {CELL}, not {side}")
    if store.exists() and zarr.open_group(store, mode="r").attrs.get("complete"):
        return store
    cells.need(across * across)
    made = zarr.open_group(cells.store, mode="r")
    group = zarr.open_group(store, mode="w", zarr_format=3)
    image = group.create_array(
        "0", shape=(3, side, side), dtype="u1", chunks=(3, CELL, CELL),
        dimension_names=("c", "y", "x"),
    )  # fmt: skip
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"name": "mosaic", "axes": axes, "datasets": [level]}],
    }
    truth = create_labels(
        store, "truth", shape=(side, side), axes="YX", dtype=np.uint32, chunks=(CELL, CELL)
    ).array
    first = 0
    order = list(range(across * across)) if shuffled else by_background(cells, across * across)
    group.attrs["layout"] = order
    for spot, index in enumerate(order):
        place = window(spot, across)
        labels = made["labels"][index].astype(np.uint32)
        image[(slice(None), *place)] = np.moveaxis(made["pixels"][index], -1, 0)
        truth[place] = np.where(labels > 0, labels + first, 0)
        first += int(labels.max())
    group.attrs["complete"] = True
    return store


def window(index: int, across: int) -> tuple[slice, slice]:
    """Rows and columns of a place of a mosaic."""
    row, col = divmod(index, across)
    return slice(row * CELL, (row + 1) * CELL), slice(col * CELL, (col + 1) * CELL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("store", type=Path, help="OME-Zarr store to write")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffled", action="store_true", help="cells in random order")
    options = parser.parse_args()
    cells = Cells(options.data, options.store.with_suffix(".cells.zarr"), options.seed)
    write_mosaic(cells, options.store, options.side, options.shuffled)


if __name__ == "__main__":
    main()
